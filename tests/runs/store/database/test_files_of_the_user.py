"""A file in the place of a store that never was one is left as it is, and refused in words."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import nbdebug as nbd
from nbdebug import Debugger

Make = Callable[[Path, Path], object]


def noise(size: int) -> bytes:
    """As an encrypted file looks: no header, no words."""
    blocks = (
        hashlib.sha256(bytes([number % 251, number // 251])).digest()
        for number in range(size // 32)
    )
    return b"".join(blocks)


def script(place: Path, *statements: str) -> None:
    with closing(sqlite3.connect(place, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def songs(place: Path, spoil: Callable[[bytes], bytes] = lambda content: content) -> None:
    rows = "INSERT INTO songs SELECT hex(randomblob(300)) FROM songs LIMIT 500"
    script(place, "CREATE TABLE songs (title TEXT)", "INSERT INTO songs VALUES ('a')", *[rows] * 9)
    place.write_bytes(spoil(place.read_bytes()))


def renamed_header(place: Path, empty: Path) -> None:
    shutil.copy(empty, place)
    content = place.read_bytes()
    place.write_bytes(bytes(a ^ 0x5A for a in content))


USERS: dict[str, Make] = {
    "encrypted": lambda place, empty: place.write_bytes(noise(40_960)),
    "encrypted, of a whole store": renamed_header,
    "text": lambda place, empty: place.write_text("this is no database\n" * 500),
    "text about runs": lambda place, empty: place.write_text("run_uuid lifecycle_stage\n"),
    "zeros": lambda place, empty: place.write_bytes(bytes(8192)),
    "one byte": lambda place, empty: place.write_bytes(b"x"),
    "an archive": lambda place, empty: place.write_bytes(b"PK\3\4" + noise(2048)),
    "Access": lambda place, empty: place.write_bytes(b"\0\1\0\0Standard Jet DB\0" * 99),
    "another program's": lambda place, empty: songs(place),
    "another program's, cut": lambda place, empty: songs(place, lambda b: b[: len(b) // 2]),
    "another program's, damaged": lambda place, empty: songs(
        place, lambda b: b[:8192] + b"\xff" * 4096 + b[12288:]
    ),
    "another program's, without tables": lambda place, empty: songs(
        place, lambda b: b[:100] + b"\xff" * 3996 + b[4096:]
    ),
    "another program's, empty": lambda place, empty: script(
        place, "PRAGMA application_id = 1196444487"
    ),
    "another program's, of a version": lambda place, empty: script(
        place, "PRAGMA user_version = 7", "CREATE TABLE a (b)", "DROP TABLE a"
    ),
}  # fmt: skip
NAMES = ("mine.db", "mine.sqlite", "mine")


def files(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.is_file()}


@pytest.mark.parametrize("kind", USERS)
def test_it_is_listed_with_a_refusal(kind: str, tmp_path: Path, empty_store: Path) -> None:
    place = tmp_path / NAMES[len(kind) % len(NAMES)]
    USERS[kind](place, empty_store)
    before = files(tmp_path)
    with pytest.raises(nbd.RunStoreError, match="It stays as it is") as caught:
        nbd.runs(place)
    assert place.name in str(caught.value)
    assert files(tmp_path) == before


@pytest.mark.parametrize("kind", ["encrypted", "one byte", "another program's, damaged"])
def test_a_training_says_so_and_keeps_its_journal(
    kind: str, tmp_path: Path, empty_store: Path, debugger: Callable[..., Debugger]
) -> None:
    place = tmp_path / "mine.db"
    USERS[kind](place, empty_store)
    before = files(tmp_path)
    for _ in range(2):
        # The journal of the first one is no sign of a store of ours.
        dbg = debugger(runs=place)
        dbg.run(steps=2)
        dbg.close()
        said = {notice.title: notice.text for notice in dbg.history.notices}
        assert "It stays as it is" in said["The run is not in the store yet"]
        assert files(tmp_path) == before
    assert len(list((tmp_path / "mine").glob("*.journal.left"))) == 2
    # Where the user moves it away, the runs go into a store.
    place.rename(tmp_path / "away.db")
    assert nbd.runs(place)["steps"].tolist() == [2, 2]


def test_a_damaged_store_is_known_by_its_words(tmp_path: Path, empty_store: Path) -> None:
    place = tmp_path / "mine.db"
    shutil.copy(empty_store, place)
    os.truncate(place, place.stat().st_size - 4096)
    before = place.read_bytes()
    assert len(nbd.runs(place)) == 0
    assert (tmp_path / "mine.db.kept-1").read_bytes() == before


def test_a_damaged_store_is_known_by_its_name(tmp_path: Path) -> None:
    place = tmp_path / "nbdebug-runs.db"
    place.write_bytes(bytes(8192))
    assert len(nbd.runs(place)) == 0
    assert (tmp_path / "nbdebug-runs.db.kept-1").read_bytes() == bytes(8192)
