"""What a dataset, its transforms and its collate_fn hold goes back and on with the training."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Sampler, Subset, default_collate

import nbdebug as nbd
from tests.training.timeline import timelines
from tests.training.timeline.timelines import Items, N, X, Y, state

BEFORE, AFTER = 7, 9


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Noise:
    def __init__(self) -> None:
        self.random, self.numpy, self.count = random.Random(1), np.random.default_rng(1), 0
        self.torch, self.shift = torch.Generator().manual_seed(1), torch.zeros(1)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        self.shift += 0.001
        noise = self.random.random() + self.numpy.normal() + torch.randn(1, generator=self.torch)
        return x + 0.1 * noise + self.shift + 0.001 * self.count


class NoiseModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.noise = Noise()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.noise(x)  # type: ignore[no-any-return]


class Steps:
    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        for step in self.steps:
            x = step(x)
        return x


class Log(Items):
    """Items that depend on those read before."""

    def __init__(self) -> None:
        super().__init__(lambda x: x)
        self.seen: list[int] = []

    def __getitem__(self, index: int) -> Any:
        self.seen.append(index)
        return X[index] * (1 + 0.001 * len(self.seen)), Y[index]


def drawing_closure() -> Callable[[Any], Any]:
    generator = np.random.default_rng(3)

    def collate(items: Any) -> Any:
        x, y = default_collate(items)
        return x + float(generator.normal()), y

    return collate


class CountingCollate:
    count = 0

    def __call__(self, items: Any) -> Any:
        self.count += 1
        x, y = default_collate(items)
        return x + 0.01 * self.count, y


def plain_items() -> Items:
    return Items(lambda x: x)


def concat() -> Dataset[Any]:
    parts = Subset(Items(Noise()), range(30)), Subset(Log(), range(30))
    return ConcatDataset(parts)


DATASETS: dict[str, Callable[[], Any]] = {
    "a transform": lambda: Items(Noise()),
    "a loader's transform": lambda: DataLoader(Items(Noise()), batch_size=8, shuffle=True),
    "a module in a list of transforms": lambda: Items(Steps(NoiseModule(), torch.tanh)),
    "a sequence of modules": lambda: Items(nn.Sequential(NoiseModule(), nn.Tanh())),
    "a list": Log,
    "datasets in datasets": concat,
    "a closure": lambda: DataLoader(plain_items(), batch_size=8, collate_fn=drawing_closure()),
    "a collate object": lambda: DataLoader(
        plain_items(), batch_size=8, collate_fn=CountingCollate()
    ),
}


class Order(Sampler[int]):
    def __len__(self) -> int:
        return N


class ClassGenerator(Order):
    drawn = random.Random(0)

    def __init__(self) -> None:
        type(self).drawn = random.Random(0)

    def __iter__(self) -> Iterator[int]:
        return iter(self.drawn.sample(range(N), N))


GLOBAL = random.Random(0)


class GlobalGenerator(Order):
    def __init__(self) -> None:
        GLOBAL.seed(0)

    def __iter__(self) -> Iterator[int]:
        return iter(GLOBAL.sample(range(N), N))


class EpochOfClass(Order):
    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.epoch)
        return iter(torch.randperm(N, generator=generator).tolist())


class MadeWhenRead(Order):
    def __iter__(self) -> Iterator[int]:
        self.order = getattr(self, "order", torch.arange(N)).roll(3)
        return iter(self.order.tolist())


SAMPLERS = [ClassGenerator, GlobalGenerator, EpochOfClass, MadeWhenRead]


def sampled(kind: Any) -> Callable[[], Any]:
    return lambda: DataLoader(plain_items(), batch_size=8, sampler=kind())


ALL = DATASETS | {kind.__name__: sampled(kind) for kind in SAMPLERS}


def net() -> nn.Module:
    torch.manual_seed(0)
    return timelines.net()


def losses(dbg: nbd.Debugger) -> list[float]:
    found: list[float] = dbg.history.frame("loss")["loss"].tolist()
    return found


def made(data: Any, **options: Any) -> nbd.Debugger:
    return nbd.Debugger(net(), data, nn.CrossEntropyLoss(), overhead=0.0, runs=None, **options)


@pytest.mark.parametrize("kind", ALL)
def test_a_resume_equals_an_uninterrupted_run(kind: str) -> None:
    with made(ALL[kind]()) as dbg:
        dbg.run(steps=BEFORE + AFTER)
        expected, weights = losses(dbg), state(dbg)
    with made(ALL[kind](), name="n") as dbg:
        dbg.run(steps=BEFORE)
    found = expected[:BEFORE]
    for steps in (AFTER // 2, AFTER - AFTER // 2):
        data = ALL[kind]()
        with nbd.Debugger.resume(
            "n", net(), data, nn.CrossEntropyLoss(), overhead=0.0, runs=None
        ) as dbg:
            dbg.run(steps=steps)
            found += losses(dbg)[-steps:]
            there = state(dbg)
    assert found == expected
    assert all(torch.equal(there[name], weights[name]) for name in weights)


@pytest.mark.parametrize("kind", DATASETS)
def test_looks_rewinds_forks_and_resets_leave_the_data_as_it_was(kind: str) -> None:
    with made(DATASETS[kind]()) as dbg:
        dbg.run(steps=BEFORE)
        expected = losses(dbg)
    with made(DATASETS[kind]()) as dbg:
        dbg.check()
        dbg.run(steps=4)
        dbg.fork(2, lr=0.1).discard()
        dbg.check("seeds")
        assert dbg.replay().equal
        assert dbg.rewind(2).equal
        dbg.worst_samples()
        dbg.run(steps=BEFORE - 2)
        assert losses(dbg) == expected
        dbg.reset()
        dbg.run(steps=BEFORE)
        assert losses(dbg) == expected


class Failing(Items):
    """Its third batch raises once, halfway."""

    failed = False

    def __getitem__(self, index: int) -> Any:
        x, y = super().__getitem__(index)
        if self.change.count == 20 and not self.failed:  # type: ignore[attr-defined]
            self.failed = True
            raise ConnectionError("The disk is away.")
        return x, y


def test_a_batch_that_is_read_again_draws_the_same_numbers() -> None:
    with made(Items(Noise()), batch_size=8) as dbg:
        dbg.run(steps=6)
        expected = losses(dbg)
    data = Failing(Noise())
    with made(data, batch_size=8) as dbg:
        with pytest.raises(ConnectionError):
            dbg.run(steps=6)
        # What the item set before it failed is undone with the batch.
        data.failed = True
        dbg.run(steps=6 - len(losses(dbg)))
        assert losses(dbg) == expected


class Opening(Items):
    """Opens its file with the first item."""

    def __init__(self, path: Path) -> None:
        super().__init__(lambda x: x)
        self.path, self.file, self.opened = path, None, list[int]()

    def __getitem__(self, index: int) -> Any:
        if self.file is None:
            self.file = self.path.open()  # type: ignore[assignment]
            self.opened.append(1)
        assert self.file is not None
        assert not self.file.closed
        return super().__getitem__(index)


def test_what_the_first_item_opens_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("")
    data = Opening(path)
    with made(data) as dbg:
        dbg.check()
        dbg.run(steps=3)
        assert dbg.rewind(0).equal
        dbg.run(steps=3)
    file: Any = data.file
    assert not file.closed
    file.close()


class Phase(Items):
    phase = "early"

    def __getitem__(self, index: int) -> Any:
        self.phase = f"item {index}"
        return super().__getitem__(index)


def test_a_state_that_no_file_may_write_is_told_and_not_written(tmp_path: Path) -> None:
    with made(Phase(lambda x: x), name="n") as dbg:
        dbg.run(steps=3)
        assert dbg.rewind(1).equal
    texts = [notice.text for notice in dbg.history.notices if "No checkpoint" in notice.title]
    assert len(texts) == 1
    assert "holds the text" in texts[0]
    assert not list(tmp_path.glob("nbdebug-checkpoints/*.pt"))
