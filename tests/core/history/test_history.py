"""History as its readers see it."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest

from nbdebug.core.history.history import MAX_CHANGES, MAX_NOTICES, History
from nbdebug.core.records import (
    ControlChange,
    Histogram,
    Notice,
    Reading,
    Status,
    StepRecord,
)
from nbdebug.errors import SeriesError


def record(step: int, **values: float) -> StepRecord:
    """One reading per series."""
    return StepRecord(
        step, tuple(Reading((name,), np.array([value])) for name, value in values.items())
    )


def change(step: int) -> ControlChange:
    return ControlChange(step, 32 * step, 0.0, "lr", 1e-3, 1e-4, "api", "", "applied")


@pytest.fixture
def history() -> History:
    history = History()
    for step in range(10):
        history.append(record(step, loss=float(step), samples=32.0 * (step + 1)))
    return history


def test_fewer_than_two_buckets_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2, got 1"):
        History(buckets=1)


def test_last_is_the_newest_value(history: History) -> None:
    assert history.last("loss") == 9.0
    assert history.series == ("loss", "samples")


def test_an_unknown_series_names_those_there_are(history: History) -> None:
    with pytest.raises(SeriesError, match=r"no series 'los'. Did you mean 'loss'\?.*samples"):
        history.last("los")
    with pytest.raises(SeriesError, match="no series 'nothing'"):
        history.frame("nothing")
    assert history.series == ("loss", "samples")


def test_a_series_belongs_to_one_group(history: History) -> None:
    double = Reading(("other", "loss"), np.zeros(2))
    with pytest.raises(ValueError, match="'loss' is already measured"):
        history.append(StepRecord(10, (double,)))
    assert history.series == ("loss", "samples")


def test_frame_has_a_row_a_step_and_nan_where_nothing_was_measured(history: History) -> None:
    history.append(record(12, val_loss=0.5))
    frame = history.frame()
    assert list(frame.columns) == ["loss", "samples", "val_loss"]
    assert frame.index.name == "step"
    assert frame.index.tolist() == [*range(10), 12]
    assert frame["loss"].tolist()[:10] == [float(step) for step in range(10)]
    assert frame["val_loss"].notna().sum() == 1
    assert frame.loc[12, "val_loss"] == 0.5
    assert np.isnan(frame.loc[12, "loss"])


def test_frame_of_one_series_and_of_several(history: History) -> None:
    assert list(history.frame("loss").columns) == ["loss"]
    assert list(history.frame(["samples", "loss"]).columns) == ["samples", "loss"]
    assert History().frame().empty


def test_rows_of_a_long_run_are_means() -> None:
    history = History(buckets=4)
    values = np.random.default_rng(0).normal(size=16)
    for step, value in enumerate(values):
        history.append(record(step, loss=value))
    frame = history.frame("loss")
    assert frame.index.tolist() == [3, 7, 11, 15]
    np.testing.assert_allclose(frame["loss"], values.reshape(4, 4).mean(1), rtol=1e-12)


def test_a_pattern_copies_whole_series_and_the_rest_comes_with_its_last_value() -> None:
    history = History()
    names = ("grad_norm/a", "grad_norm/b", "loss", "samples", "epoch")
    history.append(StepRecord(0, (Reading(names, np.arange(5.0)),)))
    snapshot = history.snapshot(["grad_norm/*"])
    assert set(snapshot.series) == {"grad_norm/a", "grad_norm/b", "samples", "epoch"}
    assert snapshot.latest == dict(zip(names, range(5), strict=True))
    assert set(history.snapshot().series) == set(names)


def test_steps_at_which_a_series_was_not_measured_are_no_points_of_it() -> None:
    history = History()
    names = ("loss", "rare")
    for step in range(6):
        rare = 1.0 if step % 3 == 0 else np.nan
        history.append(StepRecord(step, (Reading(names, np.array([0.5, rare])),)))
    series = history.snapshot().series
    assert series["rare"].step.tolist() == [0, 3]
    assert series["loss"].step.tolist() == list(range(6))


def test_only_the_newest_histogram_of_a_name_is_kept() -> None:
    history = History()
    for step in range(3):
        counts = np.full(4, float(step))
        histogram = Histogram("gradient/w", step, -1.0, 1.0, counts)
        history.append(StepRecord(step, (), (histogram,)))
    assert history.snapshot().histograms["gradient/w"].step == 2


def test_a_snapshot_stays_as_it_was(history: History) -> None:
    history.add_change(change(3))
    snapshot = history.snapshot()
    length, latest = len(snapshot.series["loss"]), dict(snapshot.latest)
    for step in range(10, 600):
        history.append(record(step, loss=-1.0, samples=0.0))
    history.add_change(change(4))
    history.clear()
    assert len(snapshot.series["loss"]) == length == 10
    assert snapshot.series["loss"].mean.tolist() == [float(step) for step in range(10)]
    assert snapshot.latest == latest
    assert len(snapshot.changes) == 1


def test_a_snapshot_cannot_be_written_to_nor_reach_history(history: History) -> None:
    snapshot = history.snapshot()
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.version = 0  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.series["loss"].name = "other"  # type: ignore[misc]
    snapshot.series["loss"].mean[:] = 99.0
    assert history.snapshot().series["loss"].mean.tolist() == [float(step) for step in range(10)]


def test_equal_versions_hold_equal_content(history: History) -> None:
    versions = [history.version]
    for change_something in (
        lambda: history.append(record(10, loss=0.0)),
        lambda: history.add_change(change(1)),
        lambda: history.add_notice(Notice(1, "info", "title", "text")),
        lambda: history.set_status(Status(step=3)),
        history.clear,
    ):
        change_something()
        versions.append(history.version)
    assert versions == sorted(set(versions))
    history.snapshot()
    assert history.version == versions[-1]


def test_changes_and_notices_are_bounded_and_keep_the_newest() -> None:
    history = History()
    for step in range(MAX_CHANGES + 5):
        history.add_change(change(step))
    for step in range(MAX_NOTICES + 5):
        history.add_notice(Notice(step, "info", "title", "text"))
    assert len(history.changes) == MAX_CHANGES
    assert history.changes[-1].step == MAX_CHANGES + 4
    assert len(history.notices) == MAX_NOTICES
    assert history.notices[0].step == 5


def test_clear_forgets_everything_but_the_status(history: History) -> None:
    history.set_status(Status("running", step=7))
    history.add_change(change(3))
    history.add_notice(Notice(1, "info", "title", "text"))
    history.clear()
    snapshot = history.snapshot()
    assert history.series == ()
    assert not snapshot.series
    assert not snapshot.latest
    assert not snapshot.changes
    assert not snapshot.notices
    assert snapshot.status == Status("running", step=7)
    history.append(record(0, loss=4.0))
    assert history.frame("loss").index.tolist() == [0]


def test_a_curve_that_is_kept_is_a_branch_over_all_steps(history: History) -> None:
    history.clear(keep_curve=True)
    (branch,) = history.snapshot().branches
    assert (branch.at, branch.until) == (0, 10)
    assert branch.series["loss"].mean.tolist() == [float(step) for step in range(10)]
    history.clear(keep_curve=True)
    assert history.snapshot().branches == ()


def test_wait_until_returns_when_the_status_comes() -> None:
    history = History()
    seen: list[bool] = []
    waiting = threading.Thread(
        target=lambda: seen.append(history.wait_until(lambda status: status.step == 2, 60))
    )
    waiting.start()
    for step in range(3):
        history.set_status(Status(step=step))
    waiting.join()
    assert seen == [True]


def test_wait_until_gives_up_after_its_time() -> None:
    history = History()
    assert history.wait_until(lambda status: status.state == "running", timeout=0.0) is False
    assert history.wait_until(lambda status: status.state == "paused", timeout=0.0) is True


def test_readers_see_whole_rows_while_the_worker_writes() -> None:
    history = History(buckets=64)
    steps = 5_000
    done = threading.Event()
    wrong: list[str] = []
    read: list[int] = []

    def write() -> None:
        for step in range(steps):
            values = np.array([float(step), -float(step), float(step)])
            history.append(StepRecord(step, (Reading(("up", "down", "samples"), values),)))
        done.set()

    def look() -> None:
        while not done.is_set():
            snapshot = history.snapshot()
            if not snapshot.series:
                continue
            up, down = snapshot.series["up"], snapshot.series["down"]
            whole = (
                np.array_equal(up.last, up.step)
                and np.array_equal(up.mean, -down.mean)
                and int(up.count.sum()) == int(up.step[-1]) + 1
                and snapshot.latest["up"] == -snapshot.latest["down"] == up.last[-1]
                and len(up) <= 64
                and history.last("up") >= up.last[-1]
            )
            if not whole:
                wrong.append(f"after step {up.step[-1]}")
            read.append(len(up))

    threads = [threading.Thread(target=look) for _ in range(3)] + [threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert read
    assert history.last("up") == steps - 1


@pytest.mark.parametrize("axis", ["samples", "epoch"])
def test_positions_follow_the_moving_batch_size(axis: str) -> None:
    history = History()
    sizes = [32, 32, 64, 64, 16]
    reached = np.cumsum(sizes) * (1.0 if axis == "samples" else 0.01)
    for step, place in enumerate(reached):
        history.append(record(step, **{axis: float(place)}))
    steps = np.array([0, 2, 4])
    positions = history.snapshot(()).position(steps, axis)  # type: ignore[arg-type]
    assert positions.tolist() == reached[steps].tolist()


def test_positions_in_steps_are_the_steps(history: History) -> None:
    steps = np.array([1, 5])
    assert history.snapshot().position(steps, "step").tolist() == [1.0, 5.0]
    assert History().snapshot().position(steps, "epoch").tolist() == [1.0, 5.0]


def test_members_come_by_name_in_the_order_of_the_model() -> None:
    history = History()
    names = ("grad_norm/0.weight", "grad_norm/0.bias", "grad_norm", "grad_norm_clipped")
    history.append(StepRecord(0, (Reading(names, np.array([1.0, 2.0, 3.0, 4.0])),)))
    members = history.snapshot(()).members("grad_norm")
    assert list(members.items()) == [("0.weight", 1.0), ("0.bias", 2.0)]
    assert history.snapshot(()).members("update_ratio") == {}


def test_very_many_series_share_a_number_of_buckets() -> None:
    names = tuple(f"grad_norm/{i}" for i in range(3000))
    history, plain = History(), []
    for step in range(900):
        row = np.sin(np.arange(3000) * 0.1 + step)
        plain.append(row)
        history.append(StepRecord(step, (Reading(names, row),)))
    series = history.snapshot(("grad_norm/0", "grad_norm/2999")).series
    for name, column in (("grad_norm/0", 0), ("grad_norm/2999", 2999)):
        copy, values = series[name], np.array(plain)[:, column]
        assert 128 <= len(copy) <= 2**20 // 3000
        assert (copy.minimum.min(), copy.maximum.max()) == (values.min(), values.max())
        assert int(copy.count.sum()) == 900
        np.testing.assert_allclose(np.average(copy.mean, weights=copy.count), values.mean())
