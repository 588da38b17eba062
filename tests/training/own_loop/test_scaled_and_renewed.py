"""Clipping of scaled gradients, and optimizers that are made anew, are findings of a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.core.results.findings import Finding
from tests.training.own_loop.loops import X, Y

RULES = {"scaled_clipping", "scaled_update", "early_clipping", "renewed_optimizer"}
Step = Callable[["Loop", torch.Tensor], Any]


class Loop:
    """A model, its optimizer and a scaler."""

    def __init__(self, kind: Any = torch.optim.SGD, **options: Any) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(X.shape[1], 8), nn.Tanh(), nn.Linear(8, 1))
        self.kind, self.options = kind, {"lr": 0.01, **options}
        self.optimizer = self.anew()
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)

    def anew(self) -> torch.optim.Optimizer:
        made: torch.optim.Optimizer = self.kind(self.model.parameters(), **self.options)
        return made

    def findings(self, step: Step, epochs: int = 3, each: Any = None, **more: Any) -> list[Finding]:
        loader = DataLoader(TensorDataset(X, Y), 16)
        with nbd.watch(self.model, self.optimizer, runs=None, **more) as dbg:
            for _ in dbg.epochs(epochs):
                if each is not None:
                    each(self)
                for x, y in dbg.batches(loader):
                    step(self, functional.mse_loss(self.model(x), y))
            return [found for found in dbg.findings if found.name in RULES]


def clip(loop: Loop, by_value: bool = False) -> None:
    if by_value:
        nn.utils.clip_grad_value_(loop.model.parameters(), 0.1)
    else:
        nn.utils.clip_grad_norm_(loop.model.parameters(), 0.1)


def scaled(early: bool, by_value: bool = False, by_hand: bool = False) -> Step:
    def step(loop: Loop, loss: torch.Tensor) -> None:
        loop.optimizer.zero_grad()
        loop.scaler.scale(loss).backward()
        if by_hand:
            for parameter in loop.model.parameters():
                parameter.grad /= loop.scaler.get_scale()  # type: ignore[operator]
        elif not early:
            loop.scaler.unscale_(loop.optimizer)
        clip(loop, by_value)
        if by_hand:
            loop.optimizer.step()
        else:
            loop.scaler.step(loop.optimizer)
            loop.scaler.update()

    return step


@pytest.mark.parametrize("registered", [True, False])
@pytest.mark.parametrize("by_value", [True, False])
def test_scaled_gradients_that_are_clipped_are_named(registered: bool, by_value: bool) -> None:
    loop = Loop()
    more = {"scaler": loop.scaler} if registered else {}
    (found,) = loop.findings(scaled(True, by_value), **more)
    assert found.name == "scaled_clipping"
    assert "4,096 times too large" in found.seen
    assert "test_scaled_and_renewed.py" in found.seen
    assert "unscale_(optimizer)" in found.remedies[0].text


@pytest.mark.parametrize("by_hand", [True, False])
def test_gradients_that_are_unscaled_before_are_not(by_hand: bool) -> None:
    assert not Loop().findings(scaled(False, by_hand=by_hand))


def past_the_scaler(unscaled: str = "", halves: bool = False) -> Step:
    """Steps of the optimizer itself, with gradients of a scaled loss."""

    def step(loop: Loop, loss: torch.Tensor) -> None:
        loop.optimizer.zero_grad()
        if halves:
            loop.scaler.scale(0.5 * loss).backward(retain_graph=True)
            loop.scaler.scale(0.5 * loss).backward()
        else:
            loop.scaler.scale(loss).backward()
        if unscaled == "by the scaler":
            loop.scaler.unscale_(loop.optimizer)
        elif unscaled == "by hand":
            for parameter in loop.model.parameters():
                parameter.grad /= loop.scaler.get_scale()  # type: ignore[operator]
        loop.optimizer.step()
        loop.scaler.update() if unscaled == "by the scaler" else None

    return step


@pytest.mark.parametrize("registered", [True, False])
@pytest.mark.parametrize("halves", [True, False])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_updates_past_the_scaler_are_named(kind: Any, halves: bool, registered: bool) -> None:
    loop = Loop(kind)
    more = {"scaler": loop.scaler} if registered else {}
    (found,) = loop.findings(past_the_scaler(halves=halves), **more)
    assert found.name == "scaled_update"
    assert "4,096 times too large" in found.seen
    assert "loop.optimizer.step()" in found.seen
    assert "scaler.step(optimizer)" in found.remedies[0].text


@pytest.mark.parametrize("unscaled", ["by the scaler", "by hand"])
def test_updates_with_gradients_that_were_unscaled_are_not(unscaled: str) -> None:
    assert not Loop().findings(past_the_scaler(unscaled))


def test_updates_by_the_scaler_are_not() -> None:
    def step(loop: Loop, loss: torch.Tensor) -> None:
        loop.optimizer.zero_grad()
        loop.scaler.scale(loss).backward()
        loop.scaler.step(loop.optimizer)
        loop.scaler.update()

    for kind in (torch.optim.SGD, torch.optim.Adam):
        assert not Loop(kind).findings(step)


def test_a_loss_that_was_not_scaled_beside_one_that_was_is_not() -> None:
    def step(loop: Loop, loss: torch.Tensor) -> None:
        loop.optimizer.zero_grad()
        loop.scaler.scale(loss.detach())
        loss.backward()
        loop.optimizer.step()

    assert not Loop().findings(step)


@pytest.mark.parametrize("scaled", [True, False])
def test_of_several_optimizers_the_one_is_named_that_steps_past_it(scaled: bool) -> None:
    torch.manual_seed(0)
    parts = {"a": nn.Linear(X.shape[1], 1), "b": nn.Linear(X.shape[1], 1)}
    optimizers = {n: torch.optim.SGD(part.parameters(), lr=1e-6) for n, part in parts.items()}
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    with nbd.watch(parts, optimizers, runs=None) as dbg:
        for x, y in dbg.batches(DataLoader(TensorDataset(X, Y), 16)):
            for part, optimizer in zip(parts.values(), optimizers.values(), strict=True):
                optimizer.zero_grad()
                loss = functional.mse_loss(part(x), y)
                if part is parts["a"]:
                    scaler.scale(loss).backward()
                    scaler.step(optimizer)
                elif scaled:
                    scaler.scale(loss).backward()
                    optimizer.step()
                else:
                    loss.backward()
                    optimizer.step()
            scaler.update()
        names = [one.name for one in dbg.findings if one.name in RULES]
    assert names == (["scaled_update"] if scaled else [])


def test_a_scaler_that_is_switched_off_is_none() -> None:
    loop = Loop()
    loop.scaler = torch.amp.GradScaler("cpu", enabled=False)
    assert not loop.findings(scaled(True))


def anew(loop: Loop, loss: torch.Tensor) -> None:
    optimizer = loop.anew()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def plainly(loop: Loop, loss: torch.Tensor) -> None:
    loop.optimizer.zero_grad()
    loss.backward()
    loop.optimizer.step()


@pytest.mark.parametrize(
    ("kind", "options"),
    [(torch.optim.Adam, {}), (torch.optim.SGD, {"momentum": 0.9}), (torch.optim.RMSprop, {})],
)
def test_an_optimizer_that_is_made_for_each_batch_is_named(kind: Any, options: Any) -> None:
    (found,) = Loop(kind, **options).findings(anew)
    assert found.name == "renewed_optimizer"
    assert kind.__name__ in found.seen


def test_one_that_gathers_nothing_is_not() -> None:
    assert not Loop(torch.optim.SGD).findings(anew)


def test_one_for_each_epoch_is_not() -> None:
    def renew(loop: Loop) -> None:
        loop.optimizer = loop.anew()

    assert not Loop(torch.optim.Adam).findings(plainly, 12, renew)


def cleared(loop: Loop, loss: torch.Tensor) -> None:
    loop.optimizer.state.clear()
    plainly(loop, loss)


def loaded(loop: Loop, loss: torch.Tensor) -> None:
    empty = {**loop.optimizer.state_dict(), "state": {}}
    loop.optimizer.load_state_dict(empty)
    plainly(loop, loss)


def every_second(loop: Loop, loss: torch.Tensor) -> None:
    if not int(loop.optimizer.state.get(next(loop.model.parameters()), {}).get("step", 0)) % 40:
        loop.optimizer.state.clear()
    plainly(loop, loss)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad])
@pytest.mark.parametrize("step", [cleared, loaded])
def test_a_state_that_is_cleared_before_each_update_is_named(kind: Any, step: Step) -> None:
    if kind is torch.optim.Adagrad and step is cleared:
        pytest.skip("Adagrad makes its state with the optimizer")
    (found,) = Loop(kind).findings(step, 8, overhead=1.0)
    assert found.name == "renewed_optimizer"
    assert "one update" in found.seen


@pytest.mark.parametrize("step", [plainly, every_second])
def test_a_state_that_grows_is_not(step: Step) -> None:
    assert not Loop(torch.optim.Adam).findings(step, 12, overhead=1.0)


def test_a_step_fn_that_clears_it_is_named() -> None:
    model = nn.Sequential(nn.Linear(X.shape[1], 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters())
    for clears in (True, False):

        def step(model: nn.Module, batch: Any, clears: bool = clears) -> torch.Tensor:
            if clears:
                optimizer.state.clear()
            return functional.mse_loss(model(batch[0]), batch[1])

        with nbd.Debugger(model, (X, Y), step_fn=step, optimizer=optimizer, runs=None) as dbg:
            dbg.run(steps=60)
            names = [found.name for found in dbg.findings]
        assert ("renewed_optimizer" in names) is clears
