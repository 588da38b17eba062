"""What val_data hold: validations move it, looks do not, and it goes back and on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.training.timeline import timelines
from tests.training.timeline.timelines import Items, X, Y, state

EVERY, STEPS = 3, 12


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Stream(IterableDataset[Any]):
    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.change = change

    def __iter__(self) -> Any:
        return ((self.change(x), y) for x, y in zip(X, Y, strict=True))


class Noise:
    def __init__(self) -> None:
        self.random, self.count = np.random.default_rng(1), 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return x + 0.1 * float(self.random.normal()) + 0.001 * self.count


def counting() -> Callable[[torch.Tensor], torch.Tensor]:
    count = 0

    def change(x: torch.Tensor) -> torch.Tensor:
        nonlocal count
        count += 1
        return x * (1 + 0.01 * (count % 7))

    return change


def ordered() -> DataLoader[Any]:
    """Batches whose order counts, since the last ones are more."""
    generator = torch.Generator().manual_seed(0)
    return DataLoader(Items(counting()), 7, shuffle=True, generator=generator)


MADE: dict[str, Callable[[], Any]] = {
    "a transform": lambda: Items(Noise()),
    "a transform of a loader": lambda: DataLoader(Items(Noise()), 16),
    "a variable of the function around": lambda: DataLoader(Items(counting()), 16),
    "the order of a loader": ordered,
    "a stream": lambda: DataLoader(Stream(counting()), 16),
    "a stream with a generator": lambda: DataLoader(Stream(Noise()), 16),
}


def debugger(kind: str, make: Callable[..., nbd.Debugger] = nbd.Debugger, *name: str) -> Any:
    torch.manual_seed(0)
    return make(
        *name, timelines.net(), (X, Y), nn.CrossEntropyLoss(), val_data=MADE[kind](),
        val_every=EVERY, overhead=0.0, runs=None,
    )  # fmt: skip


def found(dbg: nbd.Debugger) -> Any:
    return dbg.history.frame("val_loss")["val_loss"].tolist(), state(dbg)


def expected(kind: str, steps: int = STEPS) -> Any:
    with debugger(kind) as dbg:
        dbg.run(steps=steps)
        return found(dbg)


@pytest.mark.parametrize("kind", MADE)
def test_looks_and_rewinds_leave_it_as_it_was(kind: str) -> None:
    with debugger(kind) as dbg:
        dbg.check()
        dbg.run(steps=5)
        dbg.check()
        dbg.predictions()
        dbg.worst_samples()
        dbg.fork(2, lr=0.1).discard()
        assert dbg.replay().equal
        dbg.run(steps=STEPS - 5)
        wanted = expected(kind)
        assert bitwise_equal(found(dbg), wanted)
        assert len(wanted[0]) == STEPS // EVERY
        assert dbg.rewind(4).equal
        dbg.run(steps=STEPS - 4)
        assert bitwise_equal(found(dbg), wanted)


@pytest.mark.parametrize("kind", MADE)
def test_a_resume_goes_on_with_it(kind: str) -> None:
    def named(*args: Any, **options: Any) -> nbd.Debugger:
        return nbd.Debugger(*args, name="n", **options)

    with debugger(kind, named) as dbg:
        dbg.run(steps=5)
    with debugger(kind, nbd.Debugger.resume, "n") as dbg:
        dbg.run(steps=STEPS - 5)
        values, weights = found(dbg)
    wanted = expected(kind)
    assert bitwise_equal((values, weights), (wanted[0][5 // EVERY :], wanted[1]))
