"""Random damage: what comes of it is a run, or a refusal in words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdebug.runs.record.run_data import DOCUMENTS
from tests.draw import SOAK, draw
from tests.inside import without_bokehjs
from tests.runs.record import archives
from tests.runs.record.archives import documents, field_cases, files, zipped
from tests.runs.record.test_hostile_archives import read, use

WHOLE = zipped(files())
PARQUET = files()["series.parquet"]
JOURNAL = archives.journal(
    archives.rows(), archives.frame(b'{"list":"notes","from":0,"rows":[]}')
)()
EDITS = st.lists(
    st.tuples(st.integers(0, 2**20), st.integers(0, 255), st.sampled_from(["set", "cut", "add"])),
    min_size=1, max_size=6,
)  # fmt: skip
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from([*archives.ODD.values()])
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


def damaged(data: bytes, edits: list[tuple[int, int, str]]) -> bytes:
    found = bytearray(data)
    for place, value, kind in edits:
        at = place % max(len(found), 1)
        if kind == "cut":
            del found[at : at + value]
        elif kind == "add":
            found[at:at] = bytes([value]) * (value % 7)
        elif found:
            found[at] = value
    return bytes(found)


@given(edits=EDITS)
def test_a_damaged_archive(edits: Any, tmp_path: Path) -> None:
    found = read(damaged(WHOLE, edits), tmp_path / "run.zip")

    assert found is None or found["run"]["key"]


@given(edits=EDITS)
def test_a_damaged_table(edits: Any, tmp_path: Path) -> None:
    members = {**files(), "series.parquet": damaged(PARQUET, edits)}

    read(zipped(members), tmp_path / "run.zip")


@given(edits=EDITS)
def test_a_damaged_journal(edits: Any, tmp_path: Path) -> None:
    read(damaged(JOURNAL, edits), tmp_path / "run.zip")


@given(data=st.binary(max_size=300), head=st.sampled_from([b"", b"PK\x03\x04", b"nbd1", b"PAR1"]))
def test_bytes_of_any_kind(data: bytes, head: bytes, tmp_path: Path) -> None:
    read(head + data, tmp_path / "run.zip")


@given(name=st.sampled_from([*DOCUMENTS]), value=VALUES)
def test_documents_of_any_form(name: str, value: Any, tmp_path: Path) -> None:
    read(zipped(files(**{name: value})), tmp_path / "run.zip")


def exchanged(whole: Any, draw: Any) -> Any:
    """The documents with some values, at any depth, exchanged."""
    if draw(st.integers(0, 11)) == 0:
        return draw(VALUES)
    if isinstance(whole, dict):
        return {name: exchanged(part, draw) for name, part in whole.items()}
    if isinstance(whole, list):
        return [exchanged(part, draw) for part in whole]
    return whole


def drawn(draw: Any) -> dict[str, Any]:
    return {
        name: value if name == "run" else exchanged(value, draw)
        for name, value in documents().items()
    }


@given(data=st.data())
def test_values_exchanged_anywhere(data: Any, tmp_path: Path) -> None:
    read(zipped(files(**drawn(data.draw))), tmp_path / "run.zip")


@settings(max_examples=draw(5, 100))
@given(data=st.data())
def test_what_is_read_of_them_can_be_used(data: Any, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("run")
    whole = documents()
    for name, value in drawn(data.draw).items():
        if read(zipped(files(**{name: value})), folder / "run.zip") is not None:
            whole[name] = value
    found = read(zipped(files(**whole)), folder / "run.zip")

    assert found is not None
    with pytest.MonkeyPatch.context() as patch:
        without_bokehjs(patch)
        use(found, folder)


@given(header=VALUES, payload=st.binary(max_size=64))
def test_frames_of_any_form(header: Any, payload: bytes, tmp_path: Path) -> None:
    frame = archives.frame(archives.dumps(header), payload)

    read(archives.journal(frame)(), tmp_path / "run.zip")


@pytest.mark.slow
@pytest.mark.soak
def test_no_archive_takes_much_memory_or_time(tmp_path: Path) -> None:
    soak = draw([], ["fields"])
    done = subprocess.run(
        [sys.executable, "-m", "tests.runs.record.archive_campaign", str(tmp_path), *soak],
        cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=1800,
        env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "done",
        str(len(archives.cases()) + (SOAK and len(dict(field_cases())))),
    ]
