"""`nbdebug.watch(val=)`: validated after each pass, while nothing of the loop moves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.training.own_loop.loops import (
    AccumulationWithAverage,
    EarlyBreak,
    FromAStream,
    OwnClippingAndSchedule,
    OwnGenerator,
    OwnLoop,
    TwoUpdates,
    X,
    Y,
)


def loss_of(model: nn.Module) -> dict[str, Any]:
    assert not model.training
    assert not torch.is_grad_enabled()
    torch.rand(3)
    loss = functional.mse_loss(model(X), Y)
    return {"loss": loss, "error": loss.sqrt()}


class DropsLast(OwnLoop):
    def make(self) -> None:
        super().make()
        self.loader = DataLoader(TensorDataset(X, Y), batch_size=20, shuffle=True, drop_last=True)


class OfAList(OwnLoop):
    def make(self) -> None:
        super().make()
        self.loader = [(X[i : i + 16], Y[i : i + 16]) for i in range(0, 96, 16)]


KINDS: dict[type[OwnLoop], list[int]] = {
    OwnLoop: [5, 11, 17],
    OwnClippingAndSchedule: [5, 11, 17],
    AccumulationWithAverage: [1, 3, 5],
    FromAStream: [5, 11, 17],
    DropsLast: [3, 7, 11],
    OfAList: [5, 11, 17],
    OwnGenerator: [5, 11, 17],
    TwoUpdates: [5, 11, 17],
    # The last pass is left, and no other one begins.
    EarlyBreak: [3, 7],
}


class Bare:
    """What is written down without nbdebug, at the end of each pass."""

    def __init__(self, kind: type[OwnLoop]) -> None:
        self.loop, self.values = kind(), list[float]()
        self.loop.run(self.epochs, iter)

    def epochs(self, count: int) -> Any:
        for number in range(count):
            yield number
            self.loop.model.eval()
            with torch.no_grad(), torch.random.fork_rng():
                self.values.append(float(functional.mse_loss(self.loop.model(X), Y)))
            self.loop.model.train()


@pytest.mark.parametrize("kind", KINDS)
def test_each_pass_is_validated_and_the_loop_is_the_same_to_the_bit(kind: type[OwnLoop]) -> None:
    plain, loop = Bare(kind), kind()
    with nbd.watch(loop.model, loop.optimizer, val=loss_of, runs=None) as dbg:
        loop.run(dbg.epochs, dbg.batches)
        assert dbg.wait(10)
        found = dbg.history.frame(["val_loss", "val_error"]).dropna()
    assert loop.losses == plain.loop.losses
    assert bitwise_equal(loop.state(), plain.loop.state())
    assert found.index.tolist() == KINDS[kind]
    assert found["val_loss"].tolist() == plain.values[: len(KINDS[kind])]


def test_it_is_called_every_so_many_steps() -> None:
    plain = OwnLoop()
    plain.run(range, iter)
    loop = OwnLoop()
    with nbd.watch(loop.model, loop.optimizer, val=loss_of, val_every=4, runs=None) as dbg:
        loop.run(dbg.epochs, dbg.batches)
        assert dbg.wait(10)
        assert dbg.history.frame("val_loss").dropna().index.tolist() == [3, 7, 11, 15]
    assert loop.losses == plain.losses


@pytest.mark.parametrize("kind", [OwnLoop, DropsLast, FromAStream])
def test_values_come_again_after_a_rewind_and_a_replay_is_equal(kind: type[OwnLoop]) -> None:
    loop, frames = kind(), list[Any]()
    steps = KINDS[kind][-1] + 1
    with nbd.watch(loop.model, loop.optimizer, val=loss_of, runs=None) as dbg:
        dbg.break_when(f"step >= {steps - 1}")
        dbg.run(lambda: loop.run(dbg.epochs, dbg.batches))
        assert dbg.wait(20)
        frames.append(dbg.history.frame("val_loss").dropna())
        assert dbg.replay().equal
        dbg.clear_breakpoints()
        dbg.rewind(2)
        dbg.run(steps=steps - 3)
        frames.append(dbg.history.frame("val_loss").dropna())
        dbg.rewind(4)
        fork = dbg.fork(steps=5, lr=dbg.controls["lr"])
    assert len(frames[0]) == 2
    assert frames[0].equals(frames[1])
    assert not fork.difference.any()


def test_its_series_drives_the_rules() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 256), nn.ReLU(), nn.Linear(256, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    noise = torch.randn(24, 1)

    def held_out(model: nn.Module) -> torch.Tensor:
        return functional.mse_loss(model(X[24:]), Y[24:])

    with nbd.watch(model, optimizer, val=held_out, runs=None) as dbg:
        for _ in dbg.epochs(150):
            for (x, y), extra in dbg.batches([((X[:24], Y[:24]), noise)] * 4):
                optimizer.zero_grad()
                functional.mse_loss(model(x), y + extra).backward()
                optimizer.step()
        assert dbg.wait(10)
        assert "overfitting" in [one.name for one in dbg.findings]


def test_a_loop_that_validates_by_itself_logs_another_name() -> None:
    loop = OwnLoop()
    with nbd.watch(loop.model, loop.optimizer, val=loss_of, runs=None) as dbg:
        loop.run(dbg.epochs, dbg.batches)
        with pytest.raises(nbd.ArgumentError, match="val_loss is measured"):
            dbg.log(val_loss=1.0)
    own = OwnLoop()
    with nbd.watch(own.model, own.optimizer, runs=None) as dbg:
        for _ in dbg.epochs(2):
            own.run(lambda _: [0], dbg.batches)
            dbg.log(val_loss=1.0)
        dbg.wait(10)
        assert dbg.history.frame("val_loss").dropna().index.tolist() == [5, 11]


@pytest.mark.parametrize("kind", [OwnLoop, DropsLast])
def test_one_that_raises_pauses_once_and_training_goes_on(kind: type[OwnLoop]) -> None:
    loop, calls = kind(), list[int]()

    def fails(model: nn.Module) -> float:
        calls.append(1)
        if len(calls) < 3:
            raise ValueError("no data")
        return 1.0

    with nbd.watch(loop.model, loop.optimizer, val=fails, runs=None) as dbg:
        dbg.run(lambda: loop.run(dbg.epochs, dbg.batches))
        assert dbg.wait(10)
        assert dbg.failure is not None
        assert "no data" in dbg.failure.text
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=100)
        steps = KINDS[kind]
        assert dbg.history.status.step == steps[-1] + 1
        assert dbg.history.frame("val_loss").dropna().index.tolist() == steps[1:]


@pytest.mark.parametrize(
    ("given", "why"),
    [({"val": 3}, "val"), ({"val": loss_of, "val_every": 0}, "val_every")],
)
def test_what_is_no_validation_is_refused(given: dict[str, Any], why: str) -> None:
    loop = OwnLoop()
    with pytest.raises(nbd.ArgumentError, match=why):
        nbd.watch(loop.model, loop.optimizer, runs=None, **given)
