from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from nbdebug.core.history.history import Cursor, History
from nbdebug.core.records import Reading, StepRecord
from nbdebug.runs.record.journal import Frame, Journal, read_frames
from nbdebug.runs.record.run_data import RunData, rows_to_frame
from tests.inside import file_of, write_into

NAMES = ("loss", "samples")


def append(history: History, start: int, stop: int, offset: float = 0.0) -> None:
    for step in range(start, stop):
        values = np.array([offset + np.sin(step) * step, 64.0 * (step + 1)])
        readings = [Reading(NAMES, values)]
        if step % 7 == 0:
            readings.append(Reading(("val_loss",), np.array([offset - step])))
        history.append(StepRecord(step, tuple(readings)))


def assert_same(bundle: RunData, history: History) -> None:
    snapshot = history.snapshot()
    assert set(bundle.series) == set(snapshot.series)
    for name, expected in snapshot.series.items():
        found = bundle.series[name]
        assert found.count.sum() == expected.count.sum(), name
        # Buckets may be finer than those of History, which merged them later.
        ends = np.searchsorted(found.step, expected.step)
        starts = np.concatenate([[0], ends[:-1] + 1])
        np.testing.assert_array_equal(found.step[ends], expected.step)
        np.testing.assert_array_equal(np.minimum.reduceat(found.minimum, starts), expected.minimum)
        np.testing.assert_array_equal(np.maximum.reduceat(found.maximum, starts), expected.maximum)
        np.testing.assert_array_equal(found.last[ends], expected.last)
        total = np.add.reduceat(found.mean * found.count, starts)
        np.testing.assert_allclose(total / expected.count, expected.mean, rtol=1e-12)


class Writer:
    """Writes what is new in a History into a journal; keeps its own cursor."""

    def __init__(self, history: History, journal: Journal) -> None:
        self.history, self.journal = history, journal
        self._cursor: Cursor | None = None

    def write(self) -> None:
        rows, self._cursor = self.history.changed_rows(self._cursor)
        self.journal.append(rows_to_frame(part) for part in rows)

    def rewrite(self) -> None:
        rows, self._cursor = self.history.changed_rows()
        self.journal.rewrite(rows_to_frame(part) for part in rows)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "run.journal")
    yield opened
    opened.close()


@pytest.mark.parametrize("pieces", [[5], [3, 4, 100, 300], [1] * 40, [700, 1, 2000, 13, 5000]])
def test_what_was_written_in_pieces_is_what_history_holds(
    journal: Journal, pieces: list[int]
) -> None:
    history = History(buckets=64)
    writer = Writer(history, journal)
    step = 0
    for piece in pieces:
        append(history, step, step + piece)
        step += piece
        writer.write()

    assert_same(RunData.from_frames(read_frames(journal.path)), history)


def test_nothing_new_is_nothing_written(journal: Journal) -> None:
    history = History()
    writer = Writer(history, journal)
    append(history, 0, 10)
    writer.write()
    before = journal.size

    writer.write()

    assert journal.size == before


@pytest.mark.parametrize(("back", "again"), [(150, 0), (150, 30), (150, 400), (0, 20), (199, 1)])
@pytest.mark.parametrize("buckets", [16, 1024])
def test_a_rewind_takes_back_what_was_written(
    journal: Journal, back: int, again: int, buckets: int
) -> None:
    history = History(buckets)
    writer = Writer(history, journal)
    append(history, 0, 200)
    writer.write()
    history.rewind(back, 200)
    append(history, max(back, history.measured("loss")[0] + 1), back + again, offset=1000.0)

    writer.write()

    found, expected = RunData.from_frames(read_frames(journal.path)), history.snapshot()
    for name in NAMES:
        lasts = found.series[name].step.tolist()
        assert lasts == sorted(set(lasts))
        assert found.series[name].count.sum() == expected.series[name].count.sum()
        assert lasts[-1:] == expected.series[name].step.tolist()[-1:]


def test_everything_anew_replaces_what_was_written(journal: Journal) -> None:
    history = History(buckets=32)
    writer = Writer(history, journal)
    append(history, 0, 500)
    writer.write()
    append(history, 500, 900)

    writer.rewrite()
    append(history, 900, 1000)
    writer.write()

    assert_same(RunData.from_frames(read_frames(journal.path)), history)


def test_lists_grow_and_are_taken_back(journal: Journal) -> None:
    journal.append([Frame({"list": "changes", "from": 0, "rows": [{"a": 1}, {"a": 2}]})])
    journal.append([Frame({"list": "changes", "from": 1, "rows": [{"a": 3}, {"a": 4}]})])
    journal.append([Frame({"document": "run", "value": {"step": 1}})])
    journal.append([Frame({"document": "run", "value": {"step": 2}})])

    found = RunData.from_frames(read_frames(journal.path))

    assert found["changes"] == [{"a": 1}, {"a": 3}, {"a": 4}]
    assert found["run"] == {"step": 2}
    assert found["notes"] == []


def test_a_journal_cut_off_anywhere_gives_whole_frames(journal: Journal) -> None:
    history = History(buckets=32)
    writer = Writer(history, journal)
    for start in range(0, 60, 20):
        append(history, start, start + 20)
        writer.write()
    data = journal.path.read_bytes()
    whole = list(read_frames(journal.path))

    lengths = set()
    for cut in range(0, len(data) + 1, 13):
        journal.path.write_bytes(data[:cut])
        found = list(read_frames(journal.path))
        assert found == whole[: len(found)]
        lengths.add(len(found))

    assert lengths == set(range(len(whole) + 1)) or lengths == set(range(len(whole)))


def test_a_damaged_frame_ends_it(journal: Journal) -> None:
    journal.append(Frame({"document": "run", "value": {"step": n}}) for n in range(3))
    data = bytearray(journal.path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    journal.path.write_bytes(data)

    assert len(list(read_frames(journal.path))) == 1


def test_a_full_disk_leaves_the_frames_before(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append([Frame({"document": "run", "value": {"step": 1}})])

    class Full:
        def write(self, data: bytes) -> int:
            return real.write(data[: len(data) // 2])

        def truncate(self, size: int) -> int:
            return real.truncate(size)

    real = file_of(journal)
    write_into(journal, Full(), monkeypatch)
    with pytest.raises(OSError, match="full"):
        journal.append([Frame({"document": "run", "value": {"step": 2}})])
    write_into(journal, real, monkeypatch)
    journal.append([Frame({"document": "run", "value": {"step": 3}})])

    values = [frame.header["value"]["step"] for frame in read_frames(journal.path)]
    assert values == [1, 3]


def test_files_hold_the_same(journal: Journal) -> None:
    history = History(buckets=32)
    writer = Writer(history, journal)
    append(history, 0, 300)
    writer.write()
    journal.append([Frame({"document": "run", "value": {"name": "a", "loss": float("nan")}})])
    bundle = RunData.from_frames(read_frames(journal.path))

    files = dict(bundle.files())
    again = RunData.from_files(files.__getitem__)

    assert again["run"] == {"name": "a", "loss": "NaN"}
    assert set(again.series) == set(bundle.series)
    for name, one in bundle.series.items():
        for column in ("step", "mean", "minimum", "maximum", "last", "count"):
            found = getattr(again.series[name], column)
            np.testing.assert_array_equal(found, getattr(one, column))
            assert found.dtype == getattr(one, column).dtype


@pytest.mark.parametrize("buckets", [16, 1024])
def test_two_readers_do_not_affect_each_other(tmp_path: Path, buckets: int) -> None:
    history = History(buckets)
    with closing(Journal(tmp_path / "a")) as often, closing(Journal(tmp_path / "b")) as seldom:
        writers = (Writer(history, often), Writer(history, seldom))
        for step in range(0, 400, 40):
            append(history, step, step + 40)
            writers[0].write()
        history.rewind(130, 400)
        append(history, history.measured("loss")[0] + 1, 300)
        for writer in writers:
            writer.write()

        for journal in (often, seldom):
            found, expected = RunData.from_frames(read_frames(journal.path)), history.snapshot()
            for name in NAMES:
                assert found.series[name].step.tolist()[-1] == expected.series[name].step[-1]
                assert found.series[name].count.sum() == expected.series[name].count.sum()


def test_a_cursor_of_a_run_that_was_reset_begins_anew() -> None:
    history = History()
    append(history, 0, 50)
    _, cursor = history.changed_rows()
    history.clear()
    append(history, 0, 10)

    rows, _ = history.changed_rows(cursor)

    assert {part.start for part in rows} == {0}
    assert sum(len(part.buckets.steps) for part in rows if "loss" in part.names) == 10
