"""Gradients that a loop carries from one step to the next go back with the training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.training.own_loop.loops import Batches, Epochs, OwnLoop, mlp


class NeverCleared(OwnLoop):
    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                loss = functional.mse_loss(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                self.losses.append(loss.item())


class Momentum(OwnLoop):
    """Gradients of the step before are made smaller, and added to."""

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                for parameter in self.model.parameters():
                    if parameter.grad is not None:
                        parameter.grad.mul_(0.9)
                loss = functional.mse_loss(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                self.losses.append(loss.item())


class SetToZero(OwnLoop):
    """Nothing is carried: the gradients that stay are zeros."""

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                self.optimizer.zero_grad(set_to_none=False)
                loss = functional.mse_loss(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                self.losses.append(loss.item())


class UpdatesFirst(OwnLoop):
    """The update of a step is made in the next one."""

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                self.optimizer.step()
                self.optimizer.zero_grad()
                loss = functional.mse_loss(self.model(x), y)
                loss.backward()
                self.losses.append(loss.item())


class OneAccumulates(OwnLoop):
    """The second of two optimizers adds up the gradients of steps of the first one."""

    def make(self) -> None:
        super().make()
        self.other, self.scale = mlp(dropout=0.0), nn.Parameter(torch.ones(1))
        held = [*self.other.parameters(), self.scale]
        self.slow = torch.optim.SGD(held, lr=1e-2, momentum=0.5)
        self.count = torch.zeros(1)

    def extra(self) -> dict[str, Any]:
        return {"other": self.other, "slow": self.slow, "scale": self.scale}

    def watched(self) -> tuple[Any, Any]:
        return (
            {"fast": self.model, "slow": self.other},
            {"fast": self.optimizer, "slow": self.slow},
        )

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                self.optimizer.zero_grad()
                loss = functional.mse_loss(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                functional.mse_loss(self.scale * self.other(x), y).backward()
                self.count += 1
                if self.count % 3 == 0:
                    self.slow.step()
                    self.slow.zero_grad()
                self.losses.append(loss.item())


KINDS: list[type[OwnLoop]] = [NeverCleared, Momentum, SetToZero, UpdatesFirst, OneAccumulates]


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_that_carries_gradients_goes_back(kind: type[OwnLoop]) -> None:
    plain = kind()
    plain.run(range, iter)
    loop = kind()
    given = loop.watched() if isinstance(loop, OneAccumulates) else (loop.model, loop.optimizer)
    with nbd.watch(*given, runs=None) as dbg:
        dbg.break_when("step >= 8")
        dbg.run(lambda: loop.run(dbg.epochs, dbg.batches))
        assert dbg.wait(30)
        dbg.clear_breakpoints()
        here = dbg.history.status.step
        assert dbg.replay().equal
        for step in (here - 1, 4, 0):
            dbg.rewind(step)
            dbg.run(steps=here - step)
            assert dbg.replay().equal
        found = dbg.fork(4, lr=[dbg.controls["lr"]])
        assert not np.nan_to_num(found.difference).any()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=10_000)
    assert bitwise_equal(loop.state(), plain.state())


@pytest.mark.parametrize("whole", [True, False])
def test_a_check_leaves_gradients_outside_of_the_model_alone(whole: bool) -> None:
    """Of a parameter that an optimizer holds, and of a network that the loop reaches."""
    loop = OneAccumulates()
    given = loop.watched() if whole else (loop.model, loop.optimizer)
    with nbd.watch(*given, runs=None) as dbg:
        dbg.break_when("step >= 7")
        dbg.run(lambda: loop.run(dbg.epochs, dbg.batches))
        assert dbg.wait(30)
        held = [*loop.other.parameters(), loop.scale]
        before = [p.grad.clone() for p in held if p.grad is not None]
        assert len(before) == len(held)
        dbg.check()
        assert bitwise_equal([p.grad for p in held], before)
