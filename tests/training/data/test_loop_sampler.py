"""A batch that was read ahead of a loop, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from nbdebug.model.training_state import Batching
from nbdebug.training.data.loops.rng import LoopRng
from nbdebug.training.data.loops.sampler import LoopSampler

ROWS = torch.arange(24)


class OneLoop:
    """A loop that waits inside of its pass over a loader."""

    cut, why_not, in_pass = False, "", True
    ahead_seconds = 0.0

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def next_loader(self) -> Any:
        return self._loader

    def pass_ends(self) -> None:
        pass

    def end_pass(self) -> None:
        pass

    def close(self) -> None:
        pass


def sampler(loader: Iterable[Any]) -> tuple[LoopSampler, Batching]:
    made = Batching(8, None)
    return LoopSampler(OneLoop(loader), LoopRng(), made), made


@pytest.mark.parametrize("ahead", [False, True])
def test_a_batch_size_holds_from_the_next_batch_on(ahead: bool) -> None:
    found, batching = sampler(DataLoader(list(ROWS), 8))  # type: ignore[arg-type]
    assert found.next().data.tolist() == ROWS[:8].tolist()
    if ahead:
        assert found.prepare()
    batching.size = 4
    given = [found.next().data.tolist() for _ in range(4)]
    assert given == [part.tolist() for part in ROWS[8:].split(4)]


@pytest.mark.parametrize("ahead", [False, True])
def test_a_batch_that_is_read_once_is_given_whatever_is_set(ahead: bool) -> None:
    found, batching = sampler(iter(ROWS.split(8)))
    found.next()
    if ahead:
        assert found.prepare()
    batching.size = 4
    assert [found.next().data.tolist() for _ in range(2)] == [
        part.tolist() for part in ROWS[8:].split(8)
    ]


def test_the_place_before_the_last_batch_of_an_iterator_can_be_sought() -> None:
    found, _ = sampler(iter(ROWS.split(8)))
    for part in ROWS.split(8):
        for _ in range(2):
            position = found.position()
            assert found.next().data.tolist() == part.tolist()
            found.seek(position)
        found.next()
