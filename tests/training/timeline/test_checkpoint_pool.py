"""Checkpoints stay in their budget, dense for the recent past and sparse for the old."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, cast

from nbdebug.training.timeline.checkpoint import Checkpoint
from nbdebug.training.timeline.checkpoint_pool import (
    MAX_CHECKPOINTS,
    CheckpointPool,
    default_budget,
)


@dataclass
class Fake:
    step: int
    size: int = 10


def ring(budget: int, steps: int, every: int = 1) -> CheckpointPool:
    made = CheckpointPool(cast(Checkpoint, Fake(0)), budget)
    for step in range(every, steps, every):
        made.add(cast(Checkpoint, Fake(step)))
        assert made.size <= budget
    return made


def test_the_first_and_the_newest_stay() -> None:
    kept = [c.step for c in ring(100, 5000).checkpoints]
    assert (kept[0], kept[-1], len(kept)) == (0, 4999, 10)


def test_gaps_grow_with_age() -> None:
    kept = [c.step for c in ring(200, 10_000).checkpoints]
    gaps = [later - earlier for earlier, later in itertools.pairwise(kept[1:])]
    assert gaps[-1] <= 4
    assert max(gaps) > 500
    for place, gap in enumerate(gaps):
        assert gap <= 10_000 - kept[place + 1]


def test_there_is_no_room_for_a_second_one() -> None:
    tight: Any = ring(19, 2)
    assert tight.too_small
    assert [c.step for c in tight.checkpoints] == [0]


def test_the_number_is_limited_too() -> None:
    assert len(ring(10**9, 3000).checkpoints) == MAX_CHECKPOINTS


def test_the_nearest_earlier_one_is_found() -> None:
    made = ring(10**6, 100, every=10)
    assert [made.before(step).step for step in (0, 9, 10, 55, 99)] == [0, 0, 10, 50, 90]
    made.drop_after(40)
    assert made.before(99).step == 40


def test_the_default_is_at_most_two_gigabytes() -> None:
    assert 0 < default_budget() <= 2 * 2**30
