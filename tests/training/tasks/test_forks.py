"""A fork trains variants on the same batches and does not change training."""

from __future__ import annotations

import pytest

import nbdebug as nbd
from tests.training.timeline.timelines import (
    KINDS,
    change_everything,
    equal,
    state,
)


def test_a_fork_without_a_change_differs_by_exactly_nothing(dbg: nbd.Debugger) -> None:
    dbg.run(steps=5)
    fork = dbg.fork(40)
    assert not fork.difference.any()
    assert "exactly the same" in repr(fork)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fork_tries_what_training_would_do_and_moves_nothing(kind: str) -> None:
    with KINDS[kind]() as dbg, KINDS[kind]() as other:
        dbg.run(steps=8)
        before, controls = state(dbg), dict(dbg.controls)
        fork = dbg.fork(12, clip_mode="norm", clip_threshold=0.1)
        assert equal(before, state(dbg))
        assert dbg.controls == controls
        assert len(dbg.changes) == 0
        other.run(steps=8)
        other.set(clip_mode="norm", clip_threshold=0.1)
        other.run(steps=12)
        assert other.history.frame("loss")["loss"].tolist()[8:] == fork.changed.tolist()
        dbg.run(steps=12)
        assert dbg.history.frame("loss")["loss"].tolist()[8:] == fork.base.tolist()
        assert fork.difference.any()


@pytest.mark.parametrize("kind", ["cosine", "exponential"])
@pytest.mark.parametrize("start", [None, "named"])
def test_a_schedule_is_as_long_when_its_fork_is_kept_later(
    dbg: nbd.Debugger, kind: str, start: int | str | None
) -> None:
    dbg.run(epochs=0.5)
    dbg.checkpoint("named")
    dbg.run(steps=12)
    fork = dbg.fork(10, start=start, schedule=kind)
    dbg.run(steps=3)
    dbg.run(epochs=0.1)
    fork.keep()
    losses = dbg.history.frame("loss")["loss"].tolist()
    assert losses[fork.result.step :] == fork.changed.tolist()
    assert dbg.replay().equal
    dbg.rewind(fork.result.step + 5)
    dbg.run(steps=5)
    assert dbg.history.frame("loss")["loss"].tolist() == losses


def test_to_keep_a_fork_is_to_go_on_with_its_change(dbg: nbd.Debugger) -> None:
    dbg.run(steps=8)
    fork = dbg.fork(12, lr=[1e-4, 1e-2], dropout=[0.0])
    dbg.run(steps=3)
    fork.keep(1)
    assert dbg.history.status.step == 20
    assert (dbg.controls["lr"], dbg.controls["dropout"]) == (1e-2, 0.0)
    kept = fork.result.trials[1]
    assert dbg.history.frame("loss")["loss"].tolist()[8:] == kept.loss.tolist()
    assert dbg.replay().equal
    with pytest.raises(nbd.ArgumentError, match="from 0 to 1"):
        fork.keep(2)


def test_a_fork_may_begin_earlier(dbg: nbd.Debugger) -> None:
    change_everything(dbg)
    before, losses = state(dbg), dbg.history.frame("loss")["loss"].tolist()
    fork = dbg.fork(6, start=-6, lr=0.1)
    assert fork.result.step == 33
    # Neither variant repeats the changes that were made on the way.
    assert fork.base[0] == losses[33]
    assert equal(before, state(dbg))
    fork.keep()
    assert dbg.history.status.step == 39
    assert dbg.history.frame("loss")["loss"].tolist()[33:] == fork.changed.tolist()
    assert dbg.replay().equal


def test_a_fork_on_a_way_that_was_left_cannot_be_kept(dbg: nbd.Debugger) -> None:
    dbg.run(steps=20)
    fork = dbg.fork(5, lr=0.1)
    dbg.rewind(10)
    with pytest.raises(nbd.ArgumentError, match="a branch you rewound past"):
        fork.keep()
    dbg.set(lr=0.01)
    dbg.run(steps=20)
    with pytest.raises(nbd.ArgumentError, match="a branch you rewound past"):
        fork.keep()
    assert dbg.history.status.step == 30
    other = dbg.fork(5, lr=0.1)
    dbg.reset()
    with pytest.raises(nbd.ArgumentError, match="a branch you rewound past"):
        other.keep()


def test_several_values_are_tried_in_all_combinations(dbg: nbd.Debugger) -> None:
    fork = dbg.fork(3, lr=[1e-3, 1e-2], dropout=[0.0, 0.5])
    assert list(fork.frame().columns) == [
        "no change", "lr=0.001, dropout=0", "lr=0.001, dropout=0.5", "lr=0.01, dropout=0",
        "lr=0.01, dropout=0.5",
    ]  # fmt: skip
    with pytest.raises(nbd.ArgumentError, match="at most 16 variants"):
        dbg.fork(3, lr=[1e-3] * 17)
    with pytest.raises(nbd.ControlValueError):
        dbg.fork(3, lr=-1.0)


def test_a_fork_that_explodes_says_so_and_moves_nothing(dbg: nbd.Debugger) -> None:
    before = state(dbg)
    fork = dbg.fork(200, optimizer="sgd", lr=1e30)
    assert "NaN or Inf after" in repr(fork)
    assert equal(before, state(dbg))
