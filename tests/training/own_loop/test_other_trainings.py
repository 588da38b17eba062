"""A thread that a loop starts and that trains something else: it is left alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd

BATCHES = torch.linspace(-1, 1, 8 * 8 * 4).reshape(8, 8, 4)
UPDATES = 40
VERBS: dict[str, Callable[[nbd.Debugger], Any]] = {
    "breakpoint": lambda dbg: None, "check": lambda dbg: dbg.check(),
    "rewind": lambda dbg: dbg.rewind(4), "fork": lambda dbg: dbg.fork(2, lr=[0.2]).discard(),
}  # fmt: skip


def net() -> tuple[nn.Linear, torch.optim.Adam]:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    return model, torch.optim.Adam(model.parameters(), lr=0.05)


def update(model: nn.Module, optimizer: torch.optim.Optimizer, batch: torch.Tensor) -> float:
    optimizer.zero_grad()
    loss = model(batch).square().mean()
    loss.backward()
    optimizer.step()
    return loss.item()


def run(verb: Callable[[nbd.Debugger], Any] | None) -> tuple[Any, ...]:
    """Weights of the loop, of the other thread, and its losses."""
    model, optimizer = net()
    other, its_optimizer = net()
    losses, go_on, done = list[float](), threading.Semaphore(0), threading.Semaphore(0)

    def train() -> None:
        for number in range(UPDATES):
            go_on.acquire()
            losses.append(update(other, its_optimizer, BATCHES[number % 8]))
            done.release()

    def some(count: int) -> None:
        """Let the other thread make some updates."""
        for _ in range(count):
            go_on.release()
            assert done.acquire(timeout=20)

    def loop(epochs: Callable[[int], Iterator[int]], batches: Callable[[Any], Any]) -> None:
        thread = threading.Thread(target=train, daemon=True)
        thread.start()
        for _ in epochs(3):
            for batch in batches(BATCHES):
                update(model, optimizer, batch)

    if verb is None:
        loop(range, iter)  # type: ignore[arg-type]
        some(UPDATES)
    else:
        with nbd.watch(model, optimizer, runs=None) as dbg:
            dbg.break_when("step >= 11")
            dbg.run(lambda: loop(dbg.epochs, dbg.batches))
            assert dbg.wait(60)
            dbg.clear_breakpoints()
            # What the verb copied is older than what the thread has now.
            some(10)
            verb(dbg)
            some(10)
            with suppress(nbd.LoopLeft):
                dbg.run(steps=1000)
            some(UPDATES - 20)
    return model.weight.tolist(), other.weight.tolist(), losses


@pytest.mark.parametrize("verb", VERBS)
def test_another_training_goes_on_as_it_is(verb: str) -> None:
    assert run(VERBS[verb]) == run(None)


def test_a_thread_that_averages_the_weights_goes_back_with_the_loop() -> None:
    """A copy of the model that a thread of the loop's writes is part of the training."""
    model, optimizer = net()
    average, order = net()[0], threading.Semaphore(0)
    made = threading.Semaphore(0)

    def keep() -> None:
        while True:
            order.acquire()
            with torch.no_grad():
                average.weight.lerp_(model.weight, 0.5)
            made.release()

    def loop(epochs: Any, batches: Any) -> None:
        threading.Thread(target=keep, daemon=True).start()
        for _ in epochs(2):
            for batch in batches(BATCHES):
                loss = update(model, optimizer, batch) + float(average.weight.detach().sum())
                order.release()
                assert made.acquire(timeout=20)
                assert loss == loss

    loop(range, iter)
    expected = average.weight.tolist()
    model, optimizer = net()
    average = net()[0]
    with nbd.watch(model, optimizer, runs=None) as dbg:
        dbg.break_when("step >= 6")
        dbg.run(lambda: loop(dbg.epochs, dbg.batches))
        assert dbg.wait(60)
        dbg.clear_breakpoints()
        dbg.rewind(2)
        with suppress(nbd.LoopLeft):
            dbg.run(steps=1000)
    assert average.weight.tolist() == expected
