from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nbdebug.core.history.history import History
from nbdebug.core.records import Reading, StepRecord
from nbdebug.runs.record.journal import Frame, Journal, read_frames
from nbdebug.runs.record.run_data import RunData, rows_to_frame

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


def written(history: History, journal: Journal) -> None:
    journal.append(rows_to_frame(rows) for rows in history.changed_rows())


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
    step = 0
    for piece in pieces:
        append(history, step, step + piece)
        step += piece
        written(history, journal)

    assert_same(RunData.from_frames(read_frames(journal.path)), history)


def test_nothing_new_is_nothing_written(journal: Journal) -> None:
    history = History()
    append(history, 0, 10)
    written(history, journal)
    before = journal.size

    written(history, journal)

    assert journal.size == before


@pytest.mark.parametrize(("back", "again"), [(150, 0), (150, 30), (150, 400), (0, 20), (199, 1)])
@pytest.mark.parametrize("buckets", [16, 1024])
def test_a_rewind_takes_back_what_was_written(
    journal: Journal, back: int, again: int, buckets: int
) -> None:
    history = History(buckets)
    append(history, 0, 200)
    written(history, journal)
    history.rewind(back, 200)
    append(history, max(back, history.measured("loss")[0] + 1), back + again, offset=1000.0)

    written(history, journal)

    found, expected = RunData.from_frames(read_frames(journal.path)), history.snapshot()
    for name in NAMES:
        lasts = found.series[name].step.tolist()
        assert lasts == sorted(set(lasts))
        assert found.series[name].count.sum() == expected.series[name].count.sum()
        assert lasts[-1:] == expected.series[name].step.tolist()[-1:]


def test_everything_anew_replaces_what_was_written(journal: Journal) -> None:
    history = History(buckets=32)
    append(history, 0, 500)
    written(history, journal)
    append(history, 500, 900)

    journal.rewrite(rows_to_frame(rows) for rows in history.changed_rows(True))
    append(history, 900, 1000)
    written(history, journal)

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
    for start in range(0, 60, 20):
        append(history, start, start + 20)
        written(history, journal)
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

    real = journal._file
    monkeypatch.setattr(journal, "_file", Full())
    with pytest.raises(OSError, match="full"):
        journal.append([Frame({"document": "run", "value": {"step": 2}})])
    monkeypatch.setattr(journal, "_file", real)
    journal.append([Frame({"document": "run", "value": {"step": 3}})])

    values = [frame.header["value"]["step"] for frame in read_frames(journal.path)]
    assert values == [1, 3]


def test_files_hold_the_same(journal: Journal) -> None:
    history = History(buckets=32)
    append(history, 0, 300)
    written(history, journal)
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
