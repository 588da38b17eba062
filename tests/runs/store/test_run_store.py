from __future__ import annotations

import json
import os
import socket
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import nbdebug as nbd
from nbdebug import Debugger
from nbdebug.runs.record.journal import Frame, Journal
from nbdebug.runs.record.journal_owner import journal_owner
from nbdebug.runs.store import mlflow_store as store
from nbdebug.runs.store.api import run_store as open_library
from nbdebug.runs.store.store_errors import store_errors

Make = Callable[..., Debugger]


def finished(debugger: Make, name: str, steps: int = 4, **settings: object) -> None:
    dbg = debugger(name=name, **settings)
    dbg.run(steps=steps)
    dbg.close()


def left_behind(place: Path, **about: object) -> Path:
    """A journal as a kernel leaves it."""
    journal = Journal(place.with_suffix("") / "0123456789abcdef.journal")
    run = {
        "key": "0123456789abcdef", "name": "left", "status": "running", "started": 1e9, "step": 3,
        **journal_owner(), **about,
    }  # fmt: skip
    journal.append([Frame({"document": "run", "value": run})])
    journal.close()
    return journal.path


def test_runs_come_newest_first_with_their_hyperparameters(debugger: Make, place: Path) -> None:
    finished(debugger, "first", lr=0.1, optimizer="sgd")
    finished(debugger, "second", batch_size=10)

    table = nbd.runs(place)

    assert table["name"].tolist() == ["second", "first"]
    assert table["lr"].tolist() == [0.001, 0.1]
    assert table["optimizer"].tolist() == ["adam", "sgd"]
    assert table["batch_size"].tolist() == [10, 20]
    assert str(table["started"].dtype).startswith("datetime64")
    assert (table["seconds"] > 0).all()


def test_a_run_is_found_by_id_by_its_beginning_and_by_name(debugger: Make, place: Path) -> None:
    finished(debugger, "twice", steps=2)
    finished(debugger, "twice", steps=5)
    newest, oldest = nbd.runs(place).index

    assert nbd.load_run("twice", place).steps == 5
    assert nbd.load_run(oldest, place).steps == 2
    assert nbd.load_run(newest[:6], place).id == newest
    with pytest.raises(nbd.RunNameError, match="Did you mean 'twice'"):
        nbd.load_run("twise", place)


def test_an_empty_place_has_no_runs_and_is_left_empty(tmp_path: Path) -> None:
    table = nbd.runs(tmp_path / "none.db")

    assert len(table) == 0
    assert {"name", "status", "loss"} <= set(table.columns)
    assert list(tmp_path.iterdir()) == []


def test_rename_tag_and_delete(debugger: Make, place: Path) -> None:
    finished(debugger, "old name")
    finished(debugger, "stays")
    runs = open_library(place)
    row = runs.find("old name")

    runs.store.rename(row.id, "new name")
    runs.store.tag(row.id, "kept", "yes")
    runs.store.tag(row.id, "gone", "no")
    runs.store.tag(row.id, "gone", None)

    table = nbd.runs(place).set_index("name")
    assert table["tag.kept"].dropna().to_dict() == {"new name": "yes"}
    assert "tag.gone" not in table
    assert nbd.load_run("new name", place).name == "new name"
    runs.store.delete(row.id)
    assert nbd.runs(place)["name"].tolist() == ["stays"]
    assert not (place.with_suffix("") / row.id).exists()


def test_a_run_whose_files_are_gone_says_so(debugger: Make, place: Path) -> None:
    finished(debugger, "empty")
    row = open_library(place).find("empty")
    for file in (place.with_suffix("") / row.id / "artifacts").iterdir():
        file.unlink()

    with pytest.raises(nbd.RunStoreError, match="files of run empty"):
        nbd.load_run("empty", place).frame()


@pytest.mark.parametrize(
    ("about", "minutes", "adopted"),
    [
        ({}, 0, False),
        ({"born": 1.0}, 0, True),
        ({"pid": 2**22 + 5}, 0, True),
        ({"host": "elsewhere"}, 0, False),
        ({"host": "elsewhere"}, 30, True),
    ],
)
def test_only_the_journal_of_a_dead_process_is_taken_in(
    place: Path, about: dict[str, object], minutes: int, adopted: bool
) -> None:
    path = left_behind(place, **about)
    then = time.time() - 60 * minutes
    os.utime(path, (then, then))

    table = nbd.runs(place)

    assert table["name"].tolist() == ["left"]
    assert table["status"].tolist() == ["interrupted" if adopted else "running"]
    assert path.exists() is not adopted
    assert journal_owner()["host"] == socket.gethostname()


def test_a_journal_whose_taking_in_was_cut_off_is_taken_in_once(place: Path) -> None:
    path = left_behind(place, born=1.0)
    path.rename(path.with_name(f"{path.name}.{2**22 + 5}"))

    assert nbd.runs(place)["status"].tolist() == ["interrupted"]
    assert nbd.runs(place)["status"].tolist() == ["interrupted"]
    assert not list(place.with_suffix("").glob("*.journal*"))


def test_a_journal_that_cannot_be_filed_stays(
    debugger: Make, place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    finished(debugger, "other")
    path = left_behind(place, born=1.0)

    def refuse(*_: object) -> None:
        raise nbd.RunStoreError("no")

    with monkeypatch.context() as patched:
        patched.setattr(store.MlflowStore, "end", refuse)
        # It hides no other run, and it is listed.
        assert set(nbd.runs(place)["name"]) == {"other", "left"}
        assert nbd.load_run("other", place).steps == 4
    assert "Some runs are not in the store yet. no. They wait in" in caplog.text
    assert path.exists()
    assert set(nbd.runs(place)["status"]) == {"finished", "interrupted"}


def test_an_import_is_not_doubled(debugger: Make, place: Path, tmp_path: Path) -> None:
    dbg = debugger(name="travels")
    dbg.run(steps=6)
    dbg.close()
    run = nbd.load_run("travels", place)
    file = run.export(tmp_path / "run.zip")

    once = nbd.import_run(file, tmp_path / "fresh.db")
    again = nbd.import_run(file, tmp_path / "fresh.db")

    assert once.id == again.id
    assert len(nbd.runs(tmp_path / "fresh.db")) == 1
    assert again.frame().equals(run.frame())
    assert again.changes.equals(run.changes)
    assert again.parameters == run.parameters


@pytest.mark.parametrize("content", [b"", b"no run", b"PK\x03\x04 cut off"])
def test_what_is_no_run_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.zip").write_bytes(content)

    with pytest.raises(nbd.RunStoreError, match=r"run\.zip"):
        nbd.import_run(tmp_path / "run.zip", tmp_path / "runs.db")
    with pytest.raises(nbd.RunStoreError, match="cannot be read"):
        nbd.import_run(tmp_path / "not there.zip", tmp_path / "runs.db")


def test_where_recording_is_off_a_place_must_be_named() -> None:
    with pytest.raises(nbd.ArgumentError, match="Name a file"):
        nbd.runs()


def test_an_archive_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "run.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("run.json", b" " * 30_000_000)

    with pytest.raises(nbd.RunStoreError, match="more than any run"):
        nbd.import_run(tmp_path / "run.zip", tmp_path / "runs.db")


def test_names_in_an_archive_are_never_paths(tmp_path: Path, place: Path) -> None:
    run = {"key": "k", "name": "n", "status": "finished", "started": 1.0, "ended": 2.0}
    with zipfile.ZipFile(tmp_path / "run.zip", "w") as archive:
        archive.writestr("../escaped.json", "{}")
        archive.writestr("run.json", json.dumps(run))

    assert nbd.import_run(tmp_path / "run.zip", place).name == "n"
    assert not list(tmp_path.parent.glob("escaped*"))
    assert not list(tmp_path.rglob("escaped*"))


@pytest.mark.parametrize("name", ["run.json", "series.parquet", "changes.json"])
def test_a_damaged_archive_is_refused_whatever_it_raises(
    debugger: Make, tmp_path: Path, name: str
) -> None:
    dbg = debugger(runs=None)
    dbg.run(steps=5)
    files = dict(dbg.record.bundle.files())
    for content in (b"[" * 100_000, b'"key"', files[name][: len(files[name]) // 2]):
        with zipfile.ZipFile(tmp_path / "run.zip", "w") as archive:
            for member, data in {**files, name: content}.items():
                archive.writestr(member, data)
        with pytest.raises(nbd.RunStoreError, match="run"):
            nbd.import_run(tmp_path / "run.zip", tmp_path / "runs.db")


def test_a_store_that_a_newer_mlflow_made_says_so() -> None:
    # What alembic says where its scripts end before the version of the tables.
    reason = "Can't locate revision identified by 'dc11669786a5'"

    with (
        pytest.raises(nbd.RunStoreError, match="a newer MLflow made it"),
        store_errors("runs.db", "opened"),
    ):
        raise ValueError(reason)


def test_damaged_files_of_a_run_are_named(debugger: Make, place: Path) -> None:
    finished(debugger, "damaged")
    row = open_library(place).find("damaged")
    (place.with_suffix("") / row.id / "artifacts" / "series.parquet").write_bytes(b"PAR1 no")

    with pytest.raises(nbd.RunStoreError, match="damaged: series cannot be read"):
        nbd.load_run("damaged", place).frame()


def test_a_note_with_half_a_surrogate_pair_is_kept(debugger: Make, place: Path) -> None:
    dbg = debugger(name="odd")
    dbg.run(steps=2)
    dbg.note("half \ud83d of it")
    dbg.close()

    assert nbd.load_run("odd", place).notes["text"].tolist() == ["half ? of it"]


def test_a_journal_that_is_filed_while_it_is_found_is_read_from_the_store(
    debugger: Make, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(debugger, "filed")
    row = open_library(place).find("filed")
    gone = place.with_suffix("") / f"{row.key}.journal"
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([gone]))

    assert open_library(place).run(row).steps == 4


def test_a_run_that_is_over_is_not_listed_as_running_while_it_is_moved(place: Path) -> None:
    runs = open_library(place)
    runs.store.begin("0123456789abcdef", "over", 1e9, {})
    left_behind(place, name="over", status="finished", ended=1e9 + 5)

    table = open_library(place).rows()

    assert [(row.name, row.status, row.ended) for row in table] == [("over", "finished", 1e9 + 5)]
