from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nbdebug as nbd
from nbdebug.runs.compare.comparison import Comparison
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.store.imports.journal_rows import journal_row
from nbdebug.runs.store.imports.run_file import read_run_file
from nbdebug.runs.store.run import Run
from nbdebug.runs.store.run_table import frame_of_rows
from tests.draw import some
from tests.inside import without_bokehjs
from tests.runs.record import archives
from tests.runs.record.archives import FIELDS, ODD, SLOW, cases, documents, files, zipped

PROPERTIES = (
    "id", "name", "status", "started", "seconds", "steps", "parameters", "settings", "model",
    "data", "code", "environment", "changes", "notes", "findings", "checks", "series",
)  # fmt: skip


def read(data: bytes, path: Path) -> RunData | None:
    """The run in a file, None if it was refused in words that name the file."""
    path.write_bytes(data)
    try:
        return read_run_file(path)
    except nbd.RunStoreError as error:
        said = str(error)
    assert "MemoryError" not in said
    assert path.name in said
    assert len(said) < 1000
    return None


def use(data: RunData, folder: Path) -> None:
    """Everything that can be done with a run."""
    run, other = Run(lambda: data), Run(lambda: RunData(documents()))
    for name in PROPERTIES:
        repr(getattr(run, name))
    assert len(run.frame().columns) == len(run.series)
    run.report(folder / "run.html")
    for name in ("run.csv", "run.parquet", "again.zip"):
        run.export(folder / name)
    run.export(folder / "events", "tensorboard")
    assert read_run_file(folder / "again.zip").documents.keys() == data.documents.keys() | set(
        documents()
    )
    assert len(frame_of_rows([journal_row(data)])) == 1
    for align in ("step", "samples", "epoch", "time"):
        compared = Comparison((run, other, run), align)
        assert compared._repr_html_()
        assert repr(compared)


def test_there_are_more_kinds_than_the_aim() -> None:
    assert len(cases()) >= 117


@pytest.mark.parametrize("name", [name for name in cases() if name not in SLOW])
def test_an_archive_is_read_or_refused_in_words(name: str, tmp_path: Path) -> None:
    found = read(cases()[name](), tmp_path / "run.zip")

    assert found is None or found["run"]["key"]
    assert [one.name for one in tmp_path.iterdir()] == ["run.zip"]


@pytest.mark.parametrize("name", ["many short texts", "as many in notes"])
def test_more_values_than_a_run_has_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "run.zip"
    path.write_bytes(cases()[f"json: {name}"]())
    with pytest.raises(nbd.RunStoreError, match="values, more than any run"):
        read_run_file(path)


def test_signs_in_a_text_are_no_values(tmp_path: Path) -> None:
    data = archives.with_document("environment", {"text": "[{," * 100_000})()
    found = read(data, tmp_path / "run.zip")
    assert found is not None
    assert len(found.documents["environment"]["text"]) == 300_000


def accepted(odd: str, tmp_path: Path) -> dict[str, Any]:
    """All documents with one odd value wherever it is read."""
    whole = documents()
    for name, path in FIELDS:
        *inner, last = [int(part) if part.isdigit() else part for part in path.split("/")]
        at = whole[name]
        try:
            for part in inner:
                at = at[part]
            before, at[last] = at[last], copy.deepcopy(ODD[odd])
        except (KeyError, IndexError, TypeError):
            continue  # An outer part was exchanged before.
        if read(zipped(files(**{name: whole[name]})), tmp_path / "run.zip") is None:
            at[last] = before
    return whole


@pytest.mark.soak
@pytest.mark.parametrize("odd", some(ODD))
def test_what_is_read_can_be_shown_exported_and_compared(
    odd: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_bokehjs(monkeypatch)
    whole = accepted(odd, tmp_path)
    found = read(zipped(files(**whole)), tmp_path / "run.zip")

    assert found is not None
    assert whole != documents()
    use(found, tmp_path)


TABLES = [
    "a name of a megabyte", "names of control", "names of formulas", "a name of paths",
    "empty names", "a name twice", "steps that go back", "steps that stand", "largest counts",
    "numbers that are none", "largest numbers", "no rows",
]  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_odd_numbers_and_names_of_series_can_be_shown_exported_and_compared(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_bokehjs(monkeypatch)
    found = read(cases()[f"table: {name}"](), tmp_path / "run.zip")

    assert found is not None
    use(found, tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("started", 1e15), ("started", "yesterday"), ("started", float("nan")), ("started", True),
        ("step", -1), ("step", 1e300), ("step", "3"), ("status", "unknown"), ("status", ["a"]),
        ("key", "../x"), ("key", "a' OR '1'='1"), ("key", "*"), ("key", 3), ("metrics", "loss"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_named_with_its_file(
    field: str, value: object, tmp_path: Path
) -> None:
    path = tmp_path / "run.zip"
    path.write_bytes(zipped(files(run=documents()["run"] | {field: value})))

    with pytest.raises(nbd.RunStoreError, match=rf"run\.zip.*run\.json: {field}"):
        nbd.import_run(path, tmp_path / "runs.db")


@pytest.mark.parametrize(
    "run",
    [
        {"key": "k"},
        {"key": "k", "name": None, "started": None, "step": None, "samples": None, "ended": None},
    ],
    ids=["missing", "null"],
)
def test_a_run_with_values_missing_is_imported_and_listed(
    run: dict[str, Any], tmp_path: Path, place: Path
) -> None:
    path = tmp_path / "run.zip"
    path.write_bytes(zipped(files(run=run)))

    imported = nbd.import_run(path, place)

    assert nbd.runs(place)["name"].tolist() == ["k"]
    assert nbd.load_run(imported.id, place).steps == 0
    assert all(repr(getattr(imported, name)) for name in PROPERTIES)


def test_odd_texts_are_imported_and_listed(tmp_path: Path, place: Path) -> None:
    changed = documents()
    changed["run"]["name"] = "a\x00\x1b[31m\r\n\ud800" + "x" * 1_000_000
    changed["parameters"]["dropout"] = "x" * 100_000
    path = tmp_path / "run.zip"
    path.write_bytes(zipped(files(**changed)))

    name = nbd.import_run(path, place).name

    assert len(name) <= 1000
    assert name.startswith("a  [31m  ?")
    assert nbd.runs(place)["name"].tolist() == [name]
    assert nbd.load_run(name, place).steps == 3


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_refused_at_once(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "run.zip")

    with pytest.raises(nbd.RunStoreError, match="it is no file"):
        nbd.import_run(tmp_path / "run.zip", tmp_path / "runs.db")


def test_a_journal_of_days_is_read_in_a_moment(tmp_path: Path) -> None:
    # A frame for each second: joining them one by one would take minutes.
    frames = [archives.rows(start=2 * n, payload=step(n)) for n in range(5000)]
    (tmp_path / "run.journal").write_bytes(archives.journal(*frames)())

    found = read_run_file(tmp_path / "run.journal")

    assert found.series["loss"].step.tolist() == list(range(10_000))


def step(n: int) -> bytes:
    import numpy as np

    return np.array([2 * n, 2 * n + 1], "<i8").tobytes() + np.ones(2).tobytes()


def test_a_table_that_no_memory_holds_is_refused_in_words(tmp_path: Path) -> None:
    found = read(cases()["table: many names"](), tmp_path / "run.zip")

    assert found is not None
    run = Run(lambda: found)
    assert run.frame(["1", "2"]).shape == (2, 2)
    with pytest.raises(nbd.SeriesError, match="name the series"):
        run.export(tmp_path / "run.csv")


def test_everything_that_a_run_holds_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = read(zipped(files()), tmp_path / "run.zip")

    assert found is not None
    assert {name: found[name] for name in documents()} == json.loads(json.dumps(documents()))
