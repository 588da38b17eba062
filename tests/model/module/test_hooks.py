"""Hooks that come and go while another thread calls the model or trains another one."""

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

import nbdebug as nbd
from nbdebug.model.module.hooks import (
    Handle,
    after_any_forward,
    after_any_step,
    after_forward,
    before_any_forward,
    before_any_step,
    before_forward,
    forward_in,
)
from tests.hanging import in_time
from tests.inside import replica

X = torch.linspace(-1, 1, 64).reshape(16, 4)
Register = Callable[[nn.Module, Callable[..., None]], Handle]
OF_FORWARD: dict[str, Register] = {
    "before": lambda model, note: before_forward(model, note),
    "before, keywords": lambda model, note: before_forward(model, note, with_kwargs=True),
    "after": lambda model, note: after_forward(model, note),
    "after, keywords": lambda model, note: after_forward(model, note, with_kwargs=True),
    "before any": lambda _, note: before_any_forward(note),
    "after any": lambda _, note: after_any_forward(note),
    "after any, keywords": lambda _, note: after_any_forward(note, with_kwargs=True),
}
of_forward = pytest.mark.parametrize("register", OF_FORWARD.values(), ids=OF_FORWARD)


def in_thread(call: Callable[[], Any]) -> None:
    """Call in another thread, and raise here what it raises."""
    if (raised := in_time(call)) is not None:
        raise raised


@of_forward
def test_a_call_in_another_thread_is_not_seen(register: Register) -> None:
    model, seen = nn.Linear(4, 2), []
    handle = register(model, lambda *given: seen.append(given))
    in_thread(lambda: model(X))
    assert not seen
    model(X)
    assert len(seen) == 1
    handle.remove()
    handle.remove()
    model(X)
    assert len(seen) == 1


@of_forward
def test_a_call_in_the_thread_of_the_loop_is_seen(register: Register) -> None:
    model, seen = nn.Linear(4, 2), []
    handle = register(model, lambda *given: seen.append(given))

    def loop() -> None:
        held.set()
        go_on.wait(10)
        model(X)

    held, go_on = threading.Event(), threading.Event()
    thread = threading.Thread(target=loop)
    thread.start()
    held.wait(10)
    with forward_in(thread.ident or 0):
        in_thread(lambda: model(X))
        go_on.set()
        thread.join()
    handle.remove()
    assert len(seen) == 1


@of_forward
def test_a_hook_that_goes_during_a_call_does_not_end_it(register: Register) -> None:
    # torch calls the hooks that were there when the forward pass ended.
    model = nn.Linear(4, 2)
    handles: list[Handle] = []

    def leave(*_: Any) -> None:
        for handle in handles:
            handle.remove()

    first = register_module_forward_hook(leave)
    try:
        handles.append(register(model, lambda *_: None))
        assert model(X).shape == (16, 2)
    finally:
        first.remove()


def test_copies_in_other_threads_of_data_parallel_are_seen() -> None:
    model, seen = nn.Linear(4, 2), []
    handle = after_forward(model, lambda module, *_: seen.append(module))
    copied = replica(model)
    in_thread(lambda: copied(X))
    handle.remove()
    assert seen == [copied]


def test_a_copy_of_a_module_is_free_of_hooks() -> None:
    model, seen = nn.Linear(4, 2), []
    handle = before_forward(model, lambda *_: seen.append(1))
    copy.deepcopy(model)(X)
    handle.remove()
    assert not seen


@pytest.mark.parametrize("register", [before_any_step, after_any_step])
def test_a_hook_that_goes_during_a_step_does_not_end_it(
    register: Callable[[Callable[..., None]], Handle],
) -> None:
    model, seen = nn.Linear(4, 2), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(X).sum().backward()

    def note(one: torch.optim.Optimizer) -> None:
        seen.append(one)
        in_thread(first.remove)
        others.append(register(lambda _: None))

    others: list[Handle] = []
    first = register(note)
    before = model.weight.detach().clone()
    optimizer.step()
    optimizer.step()
    for one in others:
        one.remove()
    assert seen == [optimizer]
    assert not torch.equal(model.weight, before)


def trained(calls: bool) -> tuple[Any, dict[str, torch.Tensor]]:
    """Record and weights of 60 steps, in which another thread calls the model or does not."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    inside, done = threading.Event(), threading.Event()

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        # The other thread calls the model after each forward pass of the training.
        if calls:
            inside.set()
            done.wait(10)
            done.clear()
        return (output - target).square().mean()

    def cell() -> None:
        while inside.wait(10) and not ended.is_set():
            inside.clear()
            model(1000 * X)
            done.set()

    ended, thread = threading.Event(), threading.Thread(target=cell)
    dbg = nbd.Debugger(
        model=model, optimizer=optimizer, loss_fn=loss, train_data=(X, X.sum(1, keepdim=True)),
        batch_size=8, runs=None, seed=0,
    )  # fmt: skip
    if calls:
        thread.start()
    dbg.run(steps=60)
    ended.set()
    inside.set()
    if calls:
        thread.join()
    frame = dbg.history.frame()
    dbg.close()
    return frame, model.state_dict()


def test_a_cell_that_calls_the_model_while_it_trains_does_not_change_the_record() -> None:
    alone, weights = trained(calls=False)
    with_cell, others = trained(calls=True)
    measured = [n for n in alone.columns if n.startswith(("activation", "near_zero", "dead"))]
    assert measured
    for name in ["loss", *measured]:
        assert alone[name].equals(with_cell[name]), name
    assert all(torch.equal(weights[name], others[name]) for name in weights)
