"""A journal holds what was written, whatever is cut off or damaged behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nbdebug.runs.record.journal import Frame, Journal, read_frames

PLAIN = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8)
VALUES: st.SearchStrategy[Any] = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner)
)
FRAMES = st.lists(
    st.builds(Frame, st.dictionaries(st.text(max_size=6), VALUES, max_size=3), st.binary()),
    max_size=5,
)


def frames_in(path: Path, data: bytes) -> list[Frame]:
    path.write_bytes(data)
    return list(read_frames(path))


@given(frames=FRAMES, pieces=st.integers(1, 3))
def test_what_is_appended_is_read(tmp_path: Path, frames: list[Frame], pieces: int) -> None:
    path = tmp_path / "run.journal"
    path.unlink(missing_ok=True)
    journal = Journal(path)
    for start in range(pieces):
        journal.append(frames[start::pieces])
    journal.close()

    wanted = [frame for start in range(pieces) for frame in frames[start::pieces]]
    assert list(read_frames(path)) == wanted
    assert path.stat().st_size == journal.size


@given(frames=FRAMES, data=st.data())
def test_a_journal_cut_off_anywhere_holds_its_whole_frames(
    tmp_path: Path, frames: list[Frame], data: st.DataObject
) -> None:
    encoded = [frame.encode() for frame in frames]
    whole = b"".join(encoded)
    length = data.draw(st.integers(0, len(whole)), label="length")

    found = frames_in(tmp_path / "cut.journal", whole[:length])

    ends = [sum(map(len, encoded[: count + 1])) for count in range(len(encoded))]
    assert found == frames[: sum(end <= length for end in ends)]


@given(frames=FRAMES.filter(len), data=st.data())
def test_a_damaged_byte_costs_the_frames_from_there_on(
    tmp_path: Path, frames: list[Frame], data: st.DataObject
) -> None:
    encoded = [frame.encode() for frame in frames]
    whole = bytearray(b"".join(encoded))
    place = data.draw(st.integers(0, len(whole) - 1), label="place")
    whole[place] ^= data.draw(st.integers(1, 255), label="flipped bits")

    found = frames_in(tmp_path / "damaged.journal", bytes(whole))

    ends = [sum(map(len, encoded[: count + 1])) for count in range(len(encoded))]
    assert found == frames[: sum(end <= place for end in ends)]


@given(garbage=st.binary(max_size=200))
def test_garbage_is_an_empty_journal(tmp_path: Path, garbage: bytes) -> None:
    assert frames_in(tmp_path / "garbage.journal", garbage) == []


@given(frames=FRAMES, garbage=st.binary(max_size=60))
def test_garbage_behind_is_passed_over(tmp_path: Path, frames: list[Frame], garbage: bytes) -> None:
    whole = b"".join(frame.encode() for frame in frames)
    assert frames_in(tmp_path / "behind.journal", whole + garbage) == frames
