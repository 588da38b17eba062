"""A mirror that is filled from a feed holds to the bit what the History holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdebug.core.history.feed import HistoryFeed
from nbdebug.core.history.history import MAX_CHANGES, MAX_NOTICES, History
from nbdebug.core.history.mirrored import MirroredHistory
from nbdebug.core.records import ControlChange, Histogram, Notice, Reading, Status, StepRecord
from nbdebug.core.results.findings import Findings
from nbdebug.core.results.timeline import ActiveBreakpoints

NAMES = ("loss", "samples", "epoch", "grad_norm")


def record(step: int, value: float) -> StepRecord:
    """Two groups of series; the second is measured at every third step."""
    readings = [Reading(NAMES[:3], np.array([value, 32.0 * step, step / 10]))]
    if step % 3 == 0:
        readings.append(Reading(NAMES[3:], np.array([-value])))
    return StepRecord(step, tuple(readings))


def notice(step: int) -> Notice:
    return Notice(step, "info", f"at {step}", "said")


def change(step: int) -> ControlChange:
    return ControlChange(step, 32 * step, 0.0, "lr", 1e-3, 1e-4, "api", "", "applied")


def parts(one: Any) -> Any:
    """A record with its arrays as bytes, so that it can be compared, NaN and all."""
    if isinstance(one, np.ndarray):
        # Counts without a row are narrower.
        one = one.astype(np.int64) if one.dtype.kind == "i" else one
        return one.dtype.str, one.shape, one.tobytes()
    if dataclasses.is_dataclass(one) and not isinstance(one, type):
        return type(one), [parts(getattr(one, f.name)) for f in dataclasses.fields(one)]
    if isinstance(one, dict):
        return [(key, parts(value)) for key, value in one.items()]
    if isinstance(one, list | tuple):
        return [parts(value) for value in one]
    return np.float64(one).tobytes() if isinstance(one, float) else one


def content(history: History) -> Any:
    found = history.snapshot(("*",))
    fields = ("status", "latest", "series", "histograms", "changes", "notices", "notes", "branches")
    return [parts(getattr(found, name)) for name in fields] + [dict(found.results)]


class Pair:
    """A History and its mirror."""

    def __init__(self, buckets: int = 8) -> None:
        self.there = History(buckets)
        self.here = MirroredHistory(buckets)
        self.feed = HistoryFeed(self.there)
        self.step = 0

    def append(self, value: float = 1.0) -> None:
        self.there.append(record(self.step, value))
        self.step += 1
        self.there.set_status(Status("running", self.step, 32 * self.step, self.step / 10))

    def rewind(self, by: int) -> None:
        until, self.step = self.step, max(self.step - by, 0)
        start = max(self.step - 20, 0)
        records = [record(step, 7.0) for step in range(start, self.step)]
        self.there.rewind(self.step, until, records)
        self.there.set_status(Status("paused", self.step))

    def clear(self) -> None:
        self.there.clear(keep_curve=True)
        self.step = 0

    def look(self) -> None:
        update = self.feed.changes()
        if update is not None:
            self.here.take(update)

    def check(self) -> None:
        self.look()
        assert content(self.here) == content(self.there)
        assert self.here.series == self.there.series
        assert self.here.begun == self.there.begun


ACTS: dict[str, Callable[[Pair, int], object]] = {
    "append": lambda pair, n: [pair.append(np.sin(pair.step + n)) for _ in range(n)],
    "nan": lambda pair, n: pair.append(float("nan") if n % 2 else float("inf")),
    "rewind": lambda pair, n: pair.rewind(n),
    "clear": lambda pair, n: pair.clear(),
    "notice": lambda pair, n: pair.there.add_notice(notice(n)),
    "change": lambda pair, n: pair.there.add_change(change(n)),
    "note": lambda pair, n: pair.there.add_note(f"note {n}"),
    "result": lambda pair, n: pair.there.set_result(ActiveBreakpoints((str(n),))),
    "gone": lambda pair, n: pair.there.drop_result(ActiveBreakpoints),
    "histogram": lambda pair, n: pair.there.add_histograms(
        [Histogram(f"h{n % 3}", n, 0.0, 1.0, np.arange(3.0))]
    ),
    "look": lambda pair, n: pair.look(),
}


@given(st.lists(st.tuples(st.sampled_from(sorted(ACTS)), st.integers(1, 40)), max_size=40))
def test_whatever_happens_the_mirror_holds_the_same(acts: list[tuple[str, int]]) -> None:
    pair = Pair()
    for name, number in acts:
        ACTS[name](pair, number)
    pair.check()


def test_a_mirror_of_a_long_run_stays_bounded_and_equal() -> None:
    pair = Pair(16)
    for step in range(5000):
        pair.append(np.cos(step))
        if step % 37 == 0:
            pair.check()
    pair.check()
    assert len(pair.here.snapshot(("loss",)).series["loss"]) <= 16


def test_a_mirror_can_be_mirrored() -> None:
    pair = Pair()
    second, feed = MirroredHistory(8), HistoryFeed(pair.here)
    for act in ("append", "notice", "rewind", "append", "clear", "append"):
        ACTS[act](pair, 23)
        pair.check()
        update = feed.changes()
        assert update is not None
        second.take(update)
        assert content(second) == content(pair.there)


def test_an_update_holds_only_what_changed() -> None:
    pair = Pair(64)
    for _ in range(50):
        pair.append()
    pair.there.add_notice(notice(1))
    pair.there.set_result(Findings())
    pair.check()
    assert pair.feed.changes() is None

    pair.append()
    update = pair.feed.changes()
    assert update is not None
    assert [(one.names, one.start, one.total) for one in update.blocks] == [((), 50, 51)]
    assert (update.lists, update.results, update.histograms) == ({}, (), ())


def test_full_lists_go_on() -> None:
    pair = Pair()
    for number in range(MAX_NOTICES + 30):
        pair.there.add_notice(notice(number))
        if number % 50 == 0:
            pair.check()
    pair.check()
    assert len(pair.here.notices) == MAX_NOTICES
    assert MAX_CHANGES > MAX_NOTICES


def test_two_readers_do_not_disturb_each_other() -> None:
    pair = Pair()
    other, feed = MirroredHistory(8), HistoryFeed(pair.there)
    for number in range(40):
        pair.append(number)
        if number % 3 == 0:
            pair.check()
        if number % 7 == 0 and (update := feed.changes()):
            other.take(update)
            assert content(other) == content(pair.there)


def test_notices_of_this_side_stay_behind_those_of_the_other() -> None:
    pair = Pair()
    pair.there.add_notice(notice(1))
    pair.look()
    pair.here.add_notice(notice(100))
    pair.there.add_notice(notice(2))
    pair.look()

    assert [one.step for one in pair.here.notices] == [1, 2, 100]
    assert [one.step for one in pair.there.notices] == [1, 2]


@pytest.mark.parametrize("lost", [True, False])
def test_an_end_closes_the_mirror_and_keeps_what_it_holds(lost: bool) -> None:
    pair = Pair()
    pair.append(3.0)
    pair.check()
    pair.here.end(notice(9), lost)

    assert pair.here.status.state == "closed"
    assert pair.here.status.step == 1
    assert (pair.here.status.failure == notice(9)) is lost
    assert pair.here.last("loss") == 3.0
    assert pair.here.notices[-1] == notice(9)


def test_a_note_goes_to_the_other_side() -> None:
    pair = Pair()
    pair.here.note_there = pair.there.add_note
    pair.here.add_note("seen from here")
    assert pair.here.snapshot(()).notes == ()
    pair.check()
    assert [one.text for one in pair.here.snapshot(()).notes] == ["seen from here"]
