"""Updates that the watched optimizer does not make are counted, and said in one notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.training.own_loop.loops import OwnLoop, TwoOptimizers, X, Y, mlp

TITLE = "The watched optimizer makes no update"


class Anew(OwnLoop):
    """Makes its optimizer anew at a step, or updates in another way from there on."""

    at = 8

    def anew(self) -> Any:
        return torch.optim.SGD(self.model.parameters(), lr=0.05)

    def run(self, epochs: Any, batches: Any) -> None:
        step = 0
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                if step == self.at:
                    self.optimizer = self.anew()
                self.optimizer.zero_grad()
                loss = functional.mse_loss(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                self.losses.append(loss.item())
                step += 1


class EachEpoch(Anew):
    """As who lowers the learning rate by a new optimizer for each epoch."""

    def run(self, epochs: Any, batches: Any) -> None:
        for epoch in epochs(self.epochs):
            if epoch:
                self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1**epoch)
            OwnLoop.run(self, lambda _: [0], batches)


class OtherKind(Anew):
    def anew(self) -> Any:
        return torch.optim.AdamW(self.model.parameters(), lr=0.01)


class OnePart(Anew):
    """Trains the last layer only from there on."""

    def anew(self) -> Any:
        return torch.optim.SGD(self.model[3].parameters(), lr=0.05)  # type: ignore[index]


class ByLbfgs(Anew):
    def run(self, epochs: Any, batches: Any) -> None:
        other = torch.optim.LBFGS(self.model.parameters(), max_iter=2)
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):

                def closure(x: torch.Tensor = x, y: torch.Tensor = y) -> torch.Tensor:
                    other.zero_grad()
                    loss = functional.mse_loss(self.model(x), y)
                    loss.backward()
                    return loss

                self.losses.append(other.step(closure).item())


@pytest.mark.parametrize("kind", [Anew, EachEpoch, OtherKind, OnePart, ByLbfgs])
def test_the_series_goes_on_and_one_notice_says_why(kind: type[OwnLoop]) -> None:
    plain = kind()
    plain.run(range, iter)
    loop = kind()
    with nbd.watch(loop.model, loop.optimizer, runs=None) as dbg:
        loop.run(dbg.epochs, dbg.batches)
        assert dbg.wait(10)
        frame = dbg.history.frame(["loss", "grad_norm", "lr"])
        told = [one for one in dbg.history.notices if one.title == TITLE]
    assert loop.losses == plain.losses
    assert bitwise_equal(loop.model.state_dict(), plain.model.state_dict())
    assert len(frame) == 18
    if kind is not ByLbfgs:
        assert frame["loss"].tolist() == plain.losses
    assert frame["grad_norm"].notna().all()
    assert frame["lr"].iloc[-1:].isna().all()
    assert len(told) == 1
    assert "nbd.watch" in told[0].text


def test_such_steps_go_back_too() -> None:
    plain = OwnLoop()
    plain.optimizer = torch.optim.SGD(plain.model.parameters(), lr=0.05, momentum=0.9)
    plain.run(range, iter)
    loop = OwnLoop()
    with nbd.watch(loop.model, loop.optimizer, runs=None) as dbg:
        loop.optimizer = torch.optim.SGD(loop.model.parameters(), lr=0.05, momentum=0.9)
        dbg.break_when("step >= 14")
        dbg.run(lambda: loop.run(dbg.epochs, dbg.batches))
        assert dbg.wait(10)
        dbg.clear_breakpoints()
        dbg.rewind(4)
        dbg.run(steps=11)
        assert dbg.replay().equal
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=100)
    assert bitwise_equal(loop.state(), plain.state())


class ByHand(OwnLoop):
    """Plain gradient descent, without an optimizer."""

    epochs = 20
    update: Callable[[Any], None]

    def run(self, epochs: Any, batches: Any) -> None:
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                self.model.zero_grad()
                loss = functional.mse_loss(self.model(x), y)
                loss.backward()
                for parameter in self.model.parameters():
                    self.update(parameter)
                self.losses.append(loss.item())


class ByData(ByHand):
    def update(self, parameter: Any) -> None:  # type: ignore[override]
        parameter.data -= 0.05 * parameter.grad


class WithoutGrad(ByHand):
    def update(self, parameter: Any) -> None:  # type: ignore[override]
        with torch.no_grad():
            parameter.sub_(0.05 * parameter.grad)


@pytest.mark.parametrize("kind", [ByData, WithoutGrad])
def test_weights_that_are_changed_by_hand_are_seen(kind: type[OwnLoop]) -> None:
    plain = kind()
    plain.run(range, iter)
    loop, replays = kind(), list[Any]()
    with nbd.watch(loop.model, loop.optimizer, runs=None) as dbg:
        dbg.break_when("step >= 70")
        dbg.run(lambda: loop.run(dbg.epochs, dbg.batches))
        assert dbg.wait(20)
        replays.append(dbg.replay())
        dbg.clear_breakpoints()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=1000)
        frame = dbg.history.frame(["loss", "grad_norm", "lr"])
        told = [one for one in dbg.history.notices if one.title == TITLE]
    assert replays[0].equal
    assert bitwise_equal(loop.model.state_dict(), plain.model.state_dict())
    # The first step is made of all batches until it was seen, and has no loss.
    assert frame["loss"].dropna().tolist() == plain.losses[40:]
    assert frame["grad_norm"].dropna().gt(0).all()
    assert frame["lr"].isna().all()
    assert len(told) == 1


class WithoutBackward(ByHand):
    def run(self, epochs: Any, batches: Any) -> None:
        weights = list(self.model.parameters())
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                loss = functional.mse_loss(self.model(x), y)
                grads = torch.autograd.grad(loss, weights)
                with torch.no_grad():
                    for weight, grad in zip(weights, grads, strict=True):
                        weight.sub_(0.05 * grad)


def test_weights_that_are_changed_without_a_backward_pass_are_said_too() -> None:
    loop = WithoutBackward()
    with nbd.watch(loop.model, loop.optimizer, runs=None) as dbg:
        loop.run(dbg.epochs, dbg.batches)
        dbg.wait(10)
        # A loss is not seen; a step is made of the batches until it is looked again.
        assert dbg.history.status.step == 3
        assert len([one for one in dbg.history.notices if one.title == TITLE]) == 1


@pytest.mark.parametrize("kind", [ByData, WithoutGrad, WithoutBackward])
def test_a_loop_that_ends_before_it_is_seen_is_said_too(kind: type[OwnLoop]) -> None:
    loop = kind()
    loop.epochs = 2
    with nbd.watch(loop.model, loop.optimizer, runs=None) as dbg:
        loop.run(dbg.epochs, dbg.batches)
        dbg.wait(10)
        told = [one for one in dbg.history.notices if one.title == TITLE]
        assert dbg.history.status.step == 0
    assert len(told) == 1
    assert "in 12 batches" in told[0].text


class OnlyLooks(ByHand):
    """Computes gradients and changes nothing."""

    def update(self, parameter: Any) -> None:  # type: ignore[override]
        pass


def test_a_loop_that_changes_no_weight_is_not() -> None:
    loop = OnlyLooks()
    loop.epochs = 2
    with nbd.watch(loop.model, loop.optimizer, runs=None) as dbg:
        loop.run(dbg.epochs, dbg.batches)
        dbg.wait(10)
        assert not [one for one in dbg.history.notices if one.title == TITLE]


class LongAccumulation(OwnLoop):
    def run(self, epochs: Any, batches: Any) -> None:
        number = 0
        for _ in epochs(20):
            for x, y in batches(self.loader):
                functional.mse_loss(self.model(x), y).backward()
                number += 1
                if number % 50 == 0:
                    self.optimizer.step()
                    self.optimizer.zero_grad()
                    self.losses.append(0.0)


class Lookahead(torch.optim.Optimizer):
    """Wraps the watched optimizer, whose step it calls."""

    def __init__(self, inner: Any) -> None:
        super().__init__([p for g in inner.param_groups for p in g["params"]], {"lr": 0.1})
        self.inner = inner

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        return self.inner.step(closure)


class Wrapped(OwnLoop):
    def make(self) -> None:
        super().make()
        self.outer = Lookahead(self.optimizer)

    def run(self, epochs: Any, batches: Any) -> None:
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                self.outer.zero_grad()
                loss = functional.mse_loss(self.model(x), y)
                loss.backward()
                self.outer.step()
                self.losses.append(loss.item())


class WatchesOuter(Wrapped):
    def make(self) -> None:
        super().make()
        self.optimizer = self.outer


class Averages(OwnLoop):
    """Other weights move beside: an average, and a probe with an optimizer of its own."""

    def run(self, epochs: Any, batches: Any) -> None:
        average, probe = AveragedModel(self.model), mlp()
        other = torch.optim.SGD(probe.parameters(), lr=0.1)
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                other.zero_grad()
                functional.mse_loss(probe(x), y).backward()
                other.step()
                self.optimizer.zero_grad()
                loss = functional.mse_loss(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                average.update_parameters(self.model)
                self.losses.append(loss.item())


@pytest.mark.parametrize(
    ("kind", "steps"),
    [
        (OwnLoop, 18), (TwoOptimizers, 18), (LongAccumulation, 2), (Wrapped, 18),
        (WatchesOuter, 18), (Averages, 18),
    ],
)  # fmt: skip
def test_nothing_is_said_of_loops_whose_watched_optimizer_steps(
    kind: type[OwnLoop], steps: int
) -> None:
    loop = kind()
    with nbd.watch(loop.model, loop.optimizer, runs=None) as dbg:
        loop.run(dbg.epochs, dbg.batches)
        dbg.wait(10)
        assert dbg.history.status.step == steps
        assert not [one for one in dbg.history.notices if one.title == TITLE]
        assert dbg.history.frame("lr")["lr"].notna().all()


def test_a_script_whose_loop_makes_no_update_goes_on() -> None:
    model, batches = mlp(), [(X[:4], Y[:4])] * 1003
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen = 0
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in dbg.epochs(1):
            for _ in dbg.batches(batches):
                seen += 1
        dbg.wait(10)
        assert [one for one in dbg.history.notices if one.title == TITLE]
    assert seen == 1003
