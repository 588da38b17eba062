"""Rewind reaches any step, and rerun steps are bit-identical."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nbdebug as nbd
from tests.draw import crossed
from tests.inside import checkpoints_of
from tests.training.timeline.timelines import (
    KINDS,
    change_everything,
    equal,
    make,
    state,
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_replay_of_everything_ends_in_the_same_bits(kind: str) -> None:
    with KINDS[kind]() as dbg:
        change_everything(dbg)
        before, controls = state(dbg), dict(dbg.controls)
        losses = dbg.history.frame("loss")
        found = dbg.replay()
        assert found.equal, str(found)
        assert (found.start, found.step, found.compared) == (0, 39, 39)
        assert found.end_equal
        assert equal(before, state(dbg))
        assert dbg.controls == controls
        assert dbg.history.frame("loss").equals(losses)


@pytest.mark.soak
@pytest.mark.parametrize(("kind", "step"), crossed(KINDS, [0, 10, 22, 31]))
def test_what_follows_a_rewind_is_what_followed_before(kind: str, step: int) -> None:
    with KINDS[kind]() as dbg, KINDS[kind]() as straight:
        change_everything(dbg)
        assert dbg.rewind(step).equal
        assert dbg.history.status.step == step
        # A training that stopped there.
        for made in _stretches(step):
            straight.run(steps=made.steps)
            if made.changes:
                straight.set(**made.changes)
        if step < 27:
            assert equal(state(dbg), state(straight))
            dbg.run(steps=20)
            straight.run(steps=20)
            assert equal(state(dbg), state(straight))
        assert dbg.replay().equal


class _Stretch:
    def __init__(self, steps: int, **changes: Any) -> None:
        self.steps, self.changes = steps, changes


def _stretches(step: int) -> list[_Stretch]:
    """State after `change_everything` up to a step, without the changes at that step."""
    if step <= 7:
        return [_Stretch(step)]
    begun = [_Stretch(7, lr=3e-3)]
    if step <= 13:
        return [*begun, _Stretch(step - 7)]
    begun.append(_Stretch(6, batch_size=8, clip_mode="norm", clip_threshold=0.5))
    return [*begun, _Stretch(min(step, 22) - 13)]


def test_to_rewind_is_to_have_what_was_then(dbg: nbd.Debugger) -> None:
    states = []
    for _ in range(30):
        states.append(state(dbg))
        dbg.step()
    for step in (29, 17, 16, 3, 0):
        assert dbg.rewind(step).equal
        assert equal(state(dbg), states[step])


def test_without_any_checkpoint_but_the_first(dbg: nbd.Debugger) -> None:
    with make(checkpoint_memory=0) as poor:
        change_everything(poor)
        change_everything(dbg)
        assert checkpoints_of(poor) == [0]
        found = poor.rewind(21)
        assert (found.start, found.equal) == (0, True)
        dbg.rewind(21)
        assert equal(state(poor), state(dbg))
        assert any(n.title == "No room for checkpoints" for n in poor.history.notices)


def test_changes_at_the_step_gone_back_to_are_undone(dbg: nbd.Debugger) -> None:
    dbg.run(steps=5)
    dbg.set(lr=0.5)
    dbg.run(steps=5)
    dbg.rewind(5, why="too fast")
    assert dbg.controls["lr"] == 1e-3
    assert dbg.changes["status"].tolist() == ["undone", "applied"]
    last = dbg.changes.iloc[-1]
    assert (last["control"], last["why"]) == ("timeline", "too fast")
    assert (last["old"], last["new"]) == (10, 5)


def test_a_name_brings_back_what_was_done_before_it_at_that_step(dbg: nbd.Debugger) -> None:
    dbg.run(steps=5)
    dbg.set(lr=0.5)
    assert dbg.checkpoint("fast") == 5
    dbg.set(dropout=0.0)
    before = state(dbg)
    dbg.run(steps=9)
    dbg.rewind("fast")
    assert equal(state(dbg), before)
    assert (dbg.controls["lr"], dbg.controls["dropout"]) == (0.5, 0.3)
    with pytest.raises(nbd.ArgumentError, match=r"no checkpoint 'slow'; there are: fast\."):
        dbg.rewind("slow")


def test_several_changes_of_a_schedule_at_one_step_are_replayed_as_one(dbg: nbd.Debugger) -> None:
    dbg.run(steps=4)
    dbg.set(schedule="cosine")
    dbg.set(schedule_steps=30)
    dbg.set(schedule="one_cycle")
    dbg.run(steps=10)
    dbg.set(lr=5e-3)
    dbg.set(lr=2e-3)
    dbg.run(steps=10)
    assert dbg.replay().equal
    assert dbg.rewind(20).equal


@pytest.mark.parametrize("target", [-3, 7])
def test_steps_are_counted_from_either_end(dbg: nbd.Debugger, target: int) -> None:
    dbg.run(steps=10)
    dbg.rewind(target)
    assert dbg.history.status.step == 7


@pytest.mark.parametrize("target", [11, -11, True])
def test_there_is_nothing_ahead(dbg: nbd.Debugger, target: int) -> None:
    dbg.run(steps=10)
    before = state(dbg)
    with pytest.raises(nbd.ArgumentError, match="from 0 to 10"):
        dbg.rewind(target)
    assert equal(before, state(dbg))


def test_history_goes_back_too_and_keeps_the_branch(dbg: nbd.Debugger) -> None:
    dbg.run(steps=20)
    losses = dbg.history.frame("loss")
    dbg.rewind(12)
    assert dbg.history.frame("loss").equals(losses.iloc[:12])
    assert dbg.history.last("loss") == losses["loss"].iloc[11]
    (branch,) = dbg.history.snapshot().branches
    assert (branch.at, branch.until) == (12, 20)
    assert branch.series["loss"].last.tolist() == losses["loss"].iloc[12:].tolist()


def test_rows_lost_in_a_merged_bucket_are_filled_up_again() -> None:
    with make(checkpoint_memory=0) as dbg:
        dbg.history.buckets = 16
        dbg.history.clear()
        dbg.run(steps=100)
        copied = dbg.history.snapshot(["loss"]).series["loss"]
        assert copied.count.max() == 8
        dbg.rewind(53)
        series = dbg.history.snapshot(["loss"]).series["loss"]
        assert int(series.count.sum()) == 53
        assert int(series.step[-1]) == 52
        dbg.run(steps=47)
        again = dbg.history.snapshot(["loss"]).series["loss"]
        for one, other in ((copied.mean, again.mean), (copied.last, again.last)):
            assert np.array_equal(one, other)


def test_reset_forgets_the_timeline(dbg: nbd.Debugger) -> None:
    dbg.run(steps=10)
    dbg.set(lr=0.1)
    dbg.checkpoint("here")
    dbg.reset()
    assert [(m.step, m.kind) for m in dbg.timeline.marks] == [(0, "checkpoint")]
    with pytest.raises(nbd.ArgumentError):
        dbg.rewind("here")
    dbg.run(steps=5)
    assert dbg.replay().equal


def test_training_with_checkpoints_is_training_without(dbg: nbd.Debugger) -> None:
    with make(checkpoint_memory=0) as other:
        for each in (dbg, other):
            change_everything(each)
        assert equal(state(dbg), state(other))


def test_a_rewind_while_training_runs_pauses_there(dbg: nbd.Debugger) -> None:
    dbg.start()
    dbg.history.wait_until(lambda status: status.step >= 200)
    dbg.rewind(50)
    assert (dbg.state, dbg.history.status.step) == ("paused", 50)
