"""Any step can be gone back to, and everything repeats itself to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.training.timeline import Timeline
from tests.training.timelines import (
    KINDS,
    N,
    X,
    Y,
    change_everything,
    equal,
    go_on_to,
    make,
    net,
    state,
)


@pytest.fixture
def dbg() -> Iterator[nbd.Debugger]:
    with make() as made:
        yield made


def timeline(dbg: nbd.Debugger) -> Timeline:
    return dbg._worker._timeline


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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [0, 10, 22, 31])
def test_what_follows_a_rewind_is_what_followed_before(kind: str, step: int) -> None:
    with KINDS[kind]() as dbg, KINDS[kind]() as straight:
        change_everything(dbg)
        assert dbg.rewind(step).equal
        assert dbg.history.status.step == step
        # A training that never went farther than that.
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
    """What `change_everything` does before a step, changes at that step left out."""
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
        assert [c.step for c in timeline(poor)._ring.kept] == [0]
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
    with pytest.raises(nbd.ArgumentError, match=r"no checkpoint 'slow'; named are: fast\."):
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


def test_a_batch_left_out_is_left_out_again() -> None:
    broken = X.clone()
    broken[40] = torch.nan
    with make(data=(broken, Y), val_data=None) as dbg:
        go_on_to(dbg, 20)
        before = state(dbg)
        assert len(timeline(dbg).journal.events) >= 3
        assert dbg.replay().equal
        assert dbg.rewind(3).equal
        go_on_to(dbg, 20)
        assert equal(before, state(dbg))


def test_a_scaler_goes_back_too() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**4, growth_interval=5)
    with make(scaler=scaler) as dbg:
        dbg.run(steps=23)
        assert dbg.replay().equal
        scale = scaler.get_scale()
        dbg.rewind(3)
        assert scaler.get_scale() < scale
        dbg.run(steps=20)
        assert scaler.get_scale() == scale


def test_groups_that_an_optimizer_took_in_are_given_back() -> None:
    model = net()
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    rest = [p for p in model.parameters() if p.requires_grad]
    with make(model=model, optimizer=torch.optim.Adam(rest, lr=1e-3)) as dbg:
        dbg.run(steps=5)
        dbg.set(frozen="trainable")
        dbg.run(steps=5)
        assert dbg.replay().equal
        assert len(dbg._worker._loop.session.optimizer.param_groups) == 2
        dbg.rewind(5)
        assert len(dbg._worker._loop.session.optimizer.param_groups) == 1
        assert not model[0].weight.requires_grad


def test_relatives_among_optimizers_go_on_sharing_their_state(dbg: nbd.Debugger) -> None:
    dbg.run(steps=3)
    dbg.set(optimizer="adamw")
    dbg.run(steps=3)
    dbg.set(optimizer="sgd")
    dbg.run(steps=3)
    dbg.rewind(8)
    dbg.set(optimizer="adam")
    dbg.run(steps=3)
    assert dbg.replay().equal


def test_undoing_a_reinitialisation_is_replayed(dbg: nbd.Debugger) -> None:
    dbg.run(steps=5)
    dbg.set(reinit={"0": "xavier"})
    dbg.run(steps=5)
    dbg.checkpoint()
    dbg.set(reinit="undo")
    dbg.run(steps=5)
    before = state(dbg)
    assert dbg.replay().equal
    dbg.rewind(12)
    dbg.run(steps=3)
    assert equal(before, state(dbg))


def test_estimating_statistics_anew_is_replayed(dbg: nbd.Debugger) -> None:
    dbg.run(steps=5)
    dbg.reestimate_batchnorm()
    dbg.run(steps=5)
    assert dbg.replay().equal


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
    # The changes that were made on the way come again with neither of them.
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
    with pytest.raises(nbd.ArgumentError, match="a way that training has left"):
        fork.keep()
    dbg.set(lr=0.01)
    dbg.run(steps=20)
    with pytest.raises(nbd.ArgumentError, match="a way that training has left"):
        fork.keep()
    assert dbg.history.status.step == 30
    other = dbg.fork(5, lr=0.1)
    dbg.reset()
    with pytest.raises(nbd.ArgumentError, match="a way that training has left"):
        other.keep()


def test_several_values_are_tried_in_all_combinations(dbg: nbd.Debugger) -> None:
    fork = dbg.fork(3, lr=[1e-3, 1e-2], dropout=[0.0, 0.5])
    assert list(fork.frame().columns) == [
        "no change", "lr=0.001, dropout=0", "lr=0.001, dropout=0.5", "lr=0.01, dropout=0",
        "lr=0.01, dropout=0.5",
    ]  # fmt: skip
    with pytest.raises(nbd.ArgumentError, match="at most 16 ways"):
        dbg.fork(3, lr=[1e-3] * 17)
    with pytest.raises(nbd.ControlValueError):
        dbg.fork(3, lr=-1.0)


def test_a_fork_that_explodes_says_so_and_moves_nothing(dbg: nbd.Debugger) -> None:
    before = state(dbg)
    fork = dbg.fork(200, optimizer="sgd", lr=1e30)
    assert "not finite after" in repr(fork)
    assert equal(before, state(dbg))


class Clock(nn.Module):
    """Draws random numbers that nobody can restore."""

    def __init__(self) -> None:
        super().__init__()
        self.own = torch.Generator()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.1 * torch.randn(x.shape, generator=self.own)


def test_randomness_of_ones_own_is_found_and_named() -> None:
    model = nn.Sequential(net(), nn.Linear(3, 3), Clock())
    with make(model=model) as dbg:
        dbg.run(steps=10)
        found = dbg.replay()
    assert not found.equal
    assert found.difference is not None
    assert found.difference.step == 0
    assert "2 (Clock) gives two answers to the same input" in str(found)


class Drifting(torch.utils.data.Dataset[Any]):
    """Gives another value each time it is read."""

    def __init__(self) -> None:
        self.own = torch.Generator()

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        return X[index] + torch.randn(6, generator=self.own), Y[index]


def test_data_that_cannot_be_read_twice_is_named() -> None:
    with make(data=Drifting()) as dbg:
        dbg.run(steps=10)
        assert "The data gives other values when it is read again" in str(dbg.rewind(5))


def test_weights_changed_by_hand_are_noticed(dbg: nbd.Debugger) -> None:
    dbg.run(steps=5)
    with torch.no_grad():
        dbg.model[0].weight.mul_(1.5)
    dbg.run(steps=5)
    found = dbg.replay()
    assert found.difference is not None
    assert found.difference.step == 5
    assert "something outside training was changed" in str(found)


def test_a_stream_that_is_gone_is_refused_and_nothing_moves() -> None:
    with KINDS["stream"]() as dbg:
        sampler: Any = dbg._worker._loop.session.sampler
        sampler.limit = 5 * 16 * 32
        dbg.run(steps=30)
        before = state(dbg)
        with pytest.raises(nbd.DataError, match="a stream that cannot be read again"):
            dbg.replay()
        assert equal(before, state(dbg))
        dbg.run(steps=1)


CHANGES: list[dict[str, Any]] = [
    {"clip_overrides": {"0": 0.1}, "clip_mode": "layer"}, {"dropout": {"3": 0.6}},
    {"activation": "tanh"}, {"bn_momentum": 0.5}, {"bn_statistics": "freeze"},
    {"frozen": {"0": "frozen"}}, {"layer_order": "dropout_norm"},
    {"weight_decay": 0.1, "momentum": 0.5, "beta2": 0.9}, {"optimizer": "rmsprop"},
    {"schedule": "one_cycle", "schedule_steps": 40, "warmup_steps": 3},
    {"lr_change": "continue", "schedule": "step", "schedule_factor": 0.5, "lr": 0.1},
    {"clip_mode": "adaptive", "clip_percentile": 50.0, "clip_norm_type": 1.0},
    {"batch_size": 5}, {"reinit": "default"},
]  # fmt: skip


@pytest.mark.parametrize("changes", CHANGES, ids=lambda c: next(iter(c)))
def test_every_control_goes_back_and_comes_again(changes: dict[str, Any]) -> None:
    with make() as dbg:
        dbg.run(steps=9)
        controls, before = dict(dbg.controls), state(dbg)
        dbg.set(**changes)
        dbg.run(steps=9)
        assert dbg.replay().equal
        after = state(dbg)
        dbg.rewind(9)
        assert (dict(dbg.controls), equal(state(dbg), before)) == (controls, True)
        dbg.set(**changes)
        dbg.run(steps=9)
        assert equal(state(dbg), after)
        dbg.reset()
        assert dict(dbg.controls) == controls


def test_reset_forgets_the_timeline(dbg: nbd.Debugger) -> None:
    dbg.run(steps=10)
    dbg.set(lr=0.1)
    dbg.checkpoint("here")
    dbg.reset()
    assert [(m.step, m.kind) for m in dbg.history.marks] == [(0, "checkpoint")]
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
