"""Batches that the workers of a DataLoader fetch ahead."""

from __future__ import annotations

import multiprocessing
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import nbdebug as nbd
from nbdebug.model.training_state import Batching
from nbdebug.training.data.samplers import make_sampler
from nbdebug.training.data.sources import as_source
from tests.problems import Numbers, blobs, tiny_mlp

LENGTH = len(Numbers())


class Pairs(Dataset[Any]):
    """The toy samples, one of which may be broken."""

    def __init__(self, broken: int | None = None) -> None:
        self.X, self.y = blobs()
        self.broken = broken

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, index: int) -> Any:
        if index == self.broken:
            raise OSError("cannot read the file")
        return self.X[index], self.y[index]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_walk_the_same_permutation_and_a_new_size_comes_late(workers: int) -> None:
    loader = DataLoader(Numbers(), batch_size=5, shuffle=True, num_workers=workers)
    batching = Batching(5, LENGTH)
    sampler = make_sampler(as_source(loader, torch.float32), loader, batching, seed=3)
    assert batching.ahead == 2 * workers
    batches = [sampler.next() for _ in range(3)]
    batching.size = 2
    batches += [sampler.next() for _ in range(30)]
    sizes = [batch.samples for batch in batches]
    late = sizes.index(2) - 3
    assert late == batching.ahead
    assert set(sizes[: 3 + late]) == {5}
    assert set(sizes[3 + late :]) <= {2, 1}
    generator = torch.Generator().manual_seed(3)
    left = torch.cat([torch.randperm(LENGTH, generator=generator) for _ in range(2)]).tolist()
    walked = torch.cat([batch.data for batch in batches]).tolist()
    assert walked == left[: len(walked)]
    assert len(walked) > LENGTH
    assert [b.epoch for b in batches] == [
        (sum(sizes[:place]) // LENGTH) for place in range(len(sizes))
    ]
    sampler.reset()
    assert sampler.next().data.tolist() == left[:2]
    sampler.close()
    sampler.close()


def test_the_delay_of_a_new_size_is_told() -> None:
    loader = DataLoader(Pairs(), batch_size=20, num_workers=1)
    with nbd.Debugger(tiny_mlp(), loader, nn.CrossEntropyLoss()) as dbg:
        dbg.run(steps=2)
        dbg.set(batch_size=10)
        dbg.run(steps=4)
        [change] = dbg.history.changes
        assert "2 batches of the old size" in change.note
        assert dbg.history.frame("batch_size")["batch_size"].tolist() == [20.0] * 4 + [10.0] * 2


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_sample_that_cannot_be_read_pauses_and_the_next_batch_goes_on(workers: int) -> None:
    loader = DataLoader(Pairs(broken=25), batch_size=20, num_workers=workers)
    with nbd.Debugger(tiny_mlp(), loader, nn.CrossEntropyLoss()) as dbg:
        with pytest.raises(OSError, match="cannot read the file"):
            dbg.run(steps=3)
        assert dbg.failure is not None
        assert "cannot read the file" in dbg.failure.traceback
        dbg.run(steps=2)
        assert dbg.history.frame("samples")["samples"].tolist() == [20.0, 40.0, 60.0]
        assert dbg.history.last("epoch") == pytest.approx(0.4)


@pytest.mark.slow
def test_workers_end_with_the_debugger() -> None:
    before = set(multiprocessing.active_children())
    loader = DataLoader(Pairs(), batch_size=20, num_workers=2)
    dbg = nbd.Debugger(tiny_mlp(), loader, nn.CrossEntropyLoss())
    dbg.run(steps=2)
    assert len(set(multiprocessing.active_children()) - before) == 2
    dbg.close()
    assert set(multiprocessing.active_children()) - before == set()
