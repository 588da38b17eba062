"""The order of data goes on after a restart, or a training says at its start that it cannot."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    Sampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import nbdebug as nbd
from tests.training.timeline.timelines import Augmented, N, Stream, X, Y, equal, make, net, state


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(11)


class Drawn(Sampler[int]):
    """Indices from a generator of the sampler, of any kind."""

    def __init__(self, drawn: Any) -> None:
        self.drawn = drawn

    def __iter__(self) -> Iterator[int]:
        if isinstance(self.drawn, random.Random):
            return iter([self.drawn.randrange(N) for _ in range(40)])
        return iter(self.drawn.choice(N, 40).tolist())

    def __len__(self) -> int:
        return 40


class Counted:
    """No class of torch; its order depends on how often it was asked."""

    def __init__(self) -> None:
        self.asked, self.seen = 0, {"last": [0]}

    def __iter__(self) -> Iterator[int]:
        self.asked += 1
        self.seen["last"] = [*self.seen["last"], self.asked][-3:]
        return iter([(i * (2 * self.asked + 1) + sum(self.seen["last"])) % N for i in range(37)])

    def __len__(self) -> int:
        return 37


class Curriculum(Sampler[int]):
    """Weights that change from epoch to epoch, and a sampler inside."""

    def __init__(self) -> None:
        self.weights = torch.ones(N)
        self.inner = RandomSampler(range(N), replacement=True, generator=generator())

    def __iter__(self) -> Iterator[int]:
        self.weights = self.weights + torch.arange(N)
        order = list(self.inner)
        return iter(sorted(order, key=lambda index: float(self.weights[index]))[::-1])


class Batches:
    """Batches of its own, from a sampler inside."""

    def __init__(self) -> None:
        self.sampler = RandomSampler(range(N), generator=generator())

    def __iter__(self) -> Iterator[list[int]]:
        order = list(self.sampler)
        return iter([order[start : start + 10] for start in range(0, 50, 10)])

    def __len__(self) -> int:
        return 5


ORDERS: dict[str, Callable[[], dict[str, Any]]] = {
    "weighted": lambda: {"sampler": WeightedRandomSampler(torch.arange(N) + 1.0, N)},
    "weighted, generator": lambda: {
        "sampler": WeightedRandomSampler(torch.arange(N) + 1.0, N, generator=generator())
    },
    "replacement": lambda: {"sampler": RandomSampler(range(N), replacement=True)},
    "replacement, generator": lambda: {
        "sampler": RandomSampler(range(N), replacement=True, generator=generator())
    },
    "fewer": lambda: {"sampler": RandomSampler(range(N), num_samples=30)},
    "subset": lambda: {"sampler": SubsetRandomSampler(range(10, 50))},
    "subset, generator": lambda: {
        "sampler": SubsetRandomSampler(range(10, 50), generator=generator())
    },
    "list": lambda: {"sampler": [*range(60, 0, -1)]},
    "numpy": lambda: {"sampler": Drawn(np.random.default_rng(5))},
    "numpy, old": lambda: {"sampler": Drawn(np.random.RandomState(5))},
    "python": lambda: {"sampler": Drawn(random.Random(5))},
    "counted": lambda: {"sampler": Counted()},
    "curriculum": lambda: {"sampler": Curriculum()},
    "batch sampler": lambda: {
        "batch_sampler": BatchSampler(
            WeightedRandomSampler(torch.ones(N), N, generator=generator()), 16, drop_last=True
        )
    },
    "batches": lambda: {"batch_sampler": Batches()},
    "shuffled": lambda: {"shuffle": True},
    "in sequence": dict,
}


def loader(order: str, data: Any = None, **options: Any) -> DataLoader[Any]:
    found = ORDERS[order]()
    size = {} if "batch_sampler" in found else {"batch_size": 16}
    return DataLoader(data or TensorDataset(X, Y), **size, **found, **options)


def open_(data: Any) -> nbd.Debugger:
    return make(data=data, name="n", runs=None, val_data=None, batch_size=None)


def resume(data: Any) -> nbd.Debugger:
    return nbd.Debugger.resume("n", net(), data, nn.CrossEntropyLoss(), runs=None)


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_goes_on_in_a_new_process(order: str) -> None:
    with open_(loader(order)) as straight:
        straight.run(steps=21)
        wanted = state(straight)
    with open_(loader(order)) as dbg:
        dbg.run(steps=8)
        dbg.timeline.save()
    with resume(loader(order)) as dbg:
        dbg.run(steps=4)
    with resume(loader(order)) as dbg:
        assert dbg.history.status.step == 12
        dbg.run(steps=9)
        assert equal(state(dbg), wanted)
        assert dbg.replay().equal
        dbg.rewind(13)
        dbg.run(steps=8)
        assert equal(state(dbg), wanted)
        dbg.reset()
        dbg.run(steps=9)
        assert equal(state(dbg), wanted)


CHANGED = [(0, 2), (2, 0), (2, 1)]


@pytest.mark.parametrize(("before", "after"), CHANGED)
@pytest.mark.parametrize("order", ["shuffled", "weighted, generator"])
def test_loader_workers_may_come_and_go(before: int, after: int, order: str) -> None:
    with open_(loader(order, Augmented())) as straight:
        straight.run(steps=20)
        wanted = state(straight)
    # With workers the next batches are prefetched, those of the next epoch too.
    with open_(loader(order, Augmented(), num_workers=before)) as dbg:
        dbg.run(steps=11)
    with resume(loader(order, Augmented(), num_workers=after)) as dbg:
        dbg.run(steps=9)
        assert equal(state(dbg), wanted)
        assert dbg.replay().equal


class Endless:
    """Its state is that of an iterator."""

    def __init__(self) -> None:
        self.indices = iter(lambda: random.randrange(N), -1)

    def __iter__(self) -> Iterator[int]:
        return iter([next(self.indices) for _ in range(20)])

    def __len__(self) -> int:
        return 20


def test_an_order_that_cannot_be_recorded_is_told_at_the_start() -> None:
    data = DataLoader(TensorDataset(X, Y), batch_size=16, sampler=Endless())
    with open_(data) as dbg:
        (notice,) = [n for n in dbg.history.notices if n.title == "No checkpoint on disk"]
        assert "restart" in notice.text
        dbg.run(steps=5)
        with pytest.raises(nbd.CheckpointError, match="iterator"):
            dbg.timeline.save()
    assert not Path("nbdebug-checkpoints").exists()
    with pytest.raises((nbd.CheckpointError, nbd.DataError)):
        resume(data)


def test_another_sampler_than_before_is_refused() -> None:
    with open_(loader("weighted, generator")) as dbg:
        dbg.run(steps=5)
    for other in ("python", "counted"):
        with pytest.raises((nbd.CheckpointError, nbd.DataError), match=r"sampler|Drawn|Counted"):
            resume(loader(other))


def test_without_workers_no_name_means_no_notice() -> None:
    with make(data=Stream(), runs=None) as dbg:
        assert not [n for n in dbg.history.notices if n.title == "No checkpoint on disk"]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("share", [0.0, 1.5, 2.5, 3.5])
def test_a_budget_without_room_for_a_checkpoint_gives_one_notice(
    share: float, optimizer: str
) -> None:
    size = sum(tensor.nbytes for tensor in net().state_dict().values())
    # The optimizer's state comes with the first step: a checkpoint of Adam is three times as large.
    room = {"sgd": share >= 2, "adam": share >= 4}[optimizer]
    with make(
        optimizer=optimizer, runs=None, checkpoint_memory=int(size * share), val_data=None
    ) as dbg:
        for _ in range(4):
            dbg.run(steps=1)
            dbg.checkpoint()
        titles = [n.title for n in dbg.history.notices]
        assert titles.count("No room for checkpoints") == (0 if room else 1)
        assert dbg.rewind(2).equal
