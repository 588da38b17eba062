"""Loops of the user's own are watched, and give the same numbers to the bit."""

from __future__ import annotations

import random

import pytest

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.training.own_loop.loops import LOOPS, EarlyBreak, OwnLoop
from tests.training.own_loop.tasks import TASKS


def bare(kind: type[OwnLoop]) -> OwnLoop:
    """The loop without nbdebug."""
    loop = kind()
    loop.run(range, iter)
    return loop


@pytest.mark.parametrize("kind", [*LOOPS, *TASKS, EarlyBreak])
def test_a_watched_loop_equals_the_bare_one(kind: type[OwnLoop]) -> None:
    plain, loop = bare(kind), kind()
    with nbd.watch(loop.model, loop.optimizer, **loop.registered) as dbg:
        loop.run(dbg.epochs, dbg.batches)
        steps = dbg.history.status.step

    assert loop.losses == plain.losses
    assert bitwise_equal(loop.state(), plain.state())
    assert steps == len(plain.losses)


@pytest.mark.parametrize("kind", [*LOOPS, *TASKS])
def test_a_loop_that_was_rewound_and_forked_equals_the_bare_one(kind: type[OwnLoop]) -> None:
    plain, loop = bare(kind), kind()
    steps = len(plain.losses)
    with nbd.watch(loop.model, loop.optimizer, **loop.registered) as dbg:
        dbg.break_when(f"step >= {steps // 2}")
        dbg.run(lambda: loop.run(dbg.epochs, dbg.batches))
        assert dbg.wait(60)
        dbg.clear_breakpoints()
        assert dbg.replay().equal
        middle = dbg.history.status.step
        for step in random.Random(kind.__name__).sample(range(middle), min(5, middle)):
            dbg.rewind(step)
            dbg.run(steps=middle - step)
        assert dbg.replay().equal
        assert not dbg.fork(2, lr=[dbg.controls["lr"]]).difference.any()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=10_000)

    assert bitwise_equal(loop.state(), plain.state())
