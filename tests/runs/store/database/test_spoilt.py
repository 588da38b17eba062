"""A spoilt database is kept under another name, and a new one holds what can be saved."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import nbdebug as nbd
from nbdebug import Debugger
from nbdebug.runs.record.journal import Frame, Journal
from nbdebug.runs.record.journal_owner import journal_owner
from nbdebug.runs.record.location import store_location
from nbdebug.runs.store.run_store import RunStore
from nbdebug.runs.store.upload import upload
from tests.inside import look_while_stores_are_made, make_stores_from
from tests.runs.handmade import run_of, series

Spoil = Callable[[Path], None]
LOSSES = [3.0, 2.0, 1.0]


@pytest.fixture
def filled(place: Path) -> Path:
    """A store with a finished run, and the journal of a killed kernel."""
    location = store_location(place)
    assert location is not None
    store = RunStore(location).store
    run = run_of("whole", [series("loss", LOSSES)], "feed", parameters={"lr": 0.5})
    store.tag(upload(store, run.bundle), "kept", "yes")
    journal = Journal(place.with_suffix("") / "0123456789abcdef.journal")
    about = {
        "key": "0123456789abcdef", "name": "waits", "status": "running", "started": 1e9,
        "step": 3, "metrics": [], **journal_owner(), "born": 1.0,
    }  # fmt: skip
    journal.append([Frame({"document": "run", "value": about})])
    journal.close()
    return place


def sql(place: Path, *statements: str) -> None:
    with closing(sqlite3.connect(place, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def empty(place: Path) -> None:
    place.write_bytes(b"")


def no_database(place: Path) -> None:
    place.write_bytes(b"this is no database" * 500)


def first_page_only(place: Path) -> None:
    os.truncate(place, 4096)


def cut_in_half(place: Path) -> None:
    os.truncate(place, place.stat().st_size // 2)


def last_byte_gone(place: Path) -> None:
    os.truncate(place, place.stat().st_size - 1)


def zeroed_tables(place: Path) -> None:
    with place.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(place.stat().st_size - 4096))


def header_only(place: Path) -> None:
    os.truncate(place, 100)


def no_revision(place: Path) -> None:
    sql(place, "DELETE FROM alembic_version")


def no_revisions_table(place: Path) -> None:
    sql(place, "DROP TABLE alembic_version")


def one_table(place: Path) -> None:
    place.unlink()
    sql(place, "CREATE TABLE alembic_version (version_num VARCHAR(32))")


def without_tags(place: Path) -> None:
    sql(place, "DROP TABLE tags")


def without_a_table_of_others(place: Path) -> None:
    sql(place, "DROP TABLE datasets")


def damaged_name_of_a_table(place: Path) -> None:
    content = place.read_bytes()
    place.write_bytes(content.replace(b"CREATE TABLE", b"CREATE\xb0TABLE"))


def without_a_column(place: Path) -> None:
    sql(place, "ALTER TABLE params RENAME COLUMN value TO worth")


SPOILT: dict[str, Spoil] = {
    one.__name__: one
    for one in (
        empty, no_database, first_page_only, cut_in_half, last_byte_gone, zeroed_tables,
        header_only, no_revision, no_revisions_table, one_table, without_tags, without_a_column,
        without_a_table_of_others, damaged_name_of_a_table,
    )
}  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_spoilt_store_is_kept_and_all_its_runs_are_in_the_new_one(
    filled: Path, spoil: Spoil, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(filled)
    before = filled.read_bytes()

    table = nbd.runs(filled)

    assert sorted(table["name"]) == ["waits", "whole"]
    assert sorted(table["status"]) == ["finished", "interrupted"]
    whole = nbd.load_run("whole", filled)
    np.testing.assert_array_equal(whole.frame("loss")["loss"], LOSSES)
    assert whole.parameters == {"lr": 0.5}
    assert table.set_index("name").loc["whole", "loss"] == LOSSES[-1]
    (kept,) = filled.parent.glob("runs.db.kept-*")
    assert kept.read_bytes() == before
    (said,) = (one for one in caplog.records if one.name == "nbdebug")
    assert "runs.db was replaced by a new store of runs" in said.getMessage()
    assert "kept as runs.db.kept-1" in said.getMessage()
    # It stays so, without another word.
    caplog.clear()
    assert sorted(nbd.runs(filled)["name"]) == ["waits", "whole"]
    assert not caplog.records
    assert not list(filled.parent.glob(".*.new*"))


@pytest.mark.parametrize("spoil", [no_revision, without_a_column])
def test_ids_tags_and_metrics_that_can_be_read_stay(filled: Path, spoil: Spoil) -> None:
    (before,) = nbd.runs(filled).query("name == 'whole'").index
    spoil(filled)

    table = nbd.runs(filled)

    assert table.loc[before, "tag.kept"] == "yes"
    with closing(sqlite3.connect(filled)) as connection:
        found = connection.execute(
            "SELECT value FROM metrics WHERE run_uuid = ? AND key = 'loss' ORDER BY step", (before,)
        ).fetchall()
    assert found == [(value,) for value in LOSSES]


def test_a_training_replaces_a_spoilt_store_and_says_so(
    debugger: Callable[..., Debugger], filled: Path
) -> None:
    no_database(filled)
    dbg = debugger(name="new")
    dbg.run(steps=4)
    dbg.close()

    assert "runs.db was replaced by a new store of runs" in [n.title for n in dbg.history.notices]
    assert sorted(nbd.runs(filled)["name"]) == ["new", "waits", "whole"]


def test_a_store_that_is_spoilt_while_a_training_holds_it_loses_nothing(filled: Path) -> None:
    location = store_location(filled)
    assert location is not None
    store = RunStore(location).store
    run = store.begin("beef", "held", 1e9, {"lr": 0.1})
    no_database(filled)

    store.end(store.begin("beef", "held", 1e9, {"lr": 0.1}), "finished", 1e9 + 5, {})

    assert sorted(nbd.runs(filled)["name"]) == ["held", "waits", "whole"]
    assert len(run) == 32


def test_a_second_spoilt_store_does_not_replace_the_first_that_was_kept(filled: Path) -> None:
    for content in (b"first" * 100, b"second" * 100):
        filled.write_bytes(content)
        assert sorted(nbd.runs(filled)["name"]) == ["waits", "whole"]

    kept = [one.read_bytes()[:6] for one in sorted(filled.parent.glob("runs.db.kept-*"))]
    assert kept == [b"firstf", b"second"]


def test_a_journal_of_sqlite_that_was_left_does_not_spoil_the_new_store(filled: Path) -> None:
    filled.unlink()
    beside = filled.with_name("runs.db-journal")
    beside.write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(range(256)) * 20)

    assert "waits" in set(nbd.runs(filled)["name"])
    assert filled.with_name("runs.db.kept-1-journal").exists()
    assert not beside.exists()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_write_that_was_killed_is_taken_back(filled: Path, mode: str) -> None:
    sql(filled, f"PRAGMA journal_mode = {mode}")
    program = f"""
import os, sqlite3
c = sqlite3.connect({str(filled)!r}, isolation_level=None)
c.execute("PRAGMA cache_size = 1"); c.execute("BEGIN")
c.execute("UPDATE runs SET name = 'not so'")
c.execute("CREATE TABLE big (x)")
c.executemany("INSERT INTO big VALUES (?)", [("x" * 4000,)] * 500)
os._exit(9)
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    assert filled.with_name(f"runs.db-{'wal' if mode == 'WAL' else 'journal'}").stat().st_size

    assert sorted(nbd.runs(filled)["name"]) == ["waits", "whole"]
    assert not list(filled.parent.glob("*.kept-*"))


def test_a_file_that_was_named_by_mistake_is_left_alone(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("print('mine')\n")

    with pytest.raises(nbd.RunStoreError, match=r"train\.py could not be .*: it is no database"):
        nbd.runs(script)
    assert script.read_text() == "print('mine')\n"
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["train.py"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")
@pytest.mark.parametrize("damaged", [False, True])
def test_a_database_is_for_the_owner_alone_from_the_beginning(
    filled: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    seen = []
    look_while_stores_are_made(lambda fresh: seen.append(fresh.stat().st_mode & 0o777), monkeypatch)
    filled.chmod(0o640)
    (no_database if damaged else Path.unlink)(filled)
    before = os.umask(0)
    try:
        nbd.runs(filled)
    finally:
        os.umask(before)

    assert seen == [0o600, 0o600]
    # Others whom the user has let read the old one read the new one.
    assert filled.stat().st_mode & 0o777 == (0o640 if damaged else 0o600)


OTHERS = {
    "other tables": "CREATE TABLE songs (title TEXT)",
    "tables of the same names": "CREATE TABLE runs (id INT, name TEXT); CREATE TABLE tags (a INT)",
    "one table of such a name": "CREATE TABLE experiments (id INT, title TEXT)",
    "a table of MLflow's last years": "CREATE TABLE jobs (id INT)",
    "Alembic": "CREATE TABLE alembic_version (version_num TEXT); CREATE TABLE songs (title TEXT); "
    "INSERT INTO alembic_version VALUES ('0123456789ab')",
    "Alembic alone": "CREATE TABLE alembic_version (version_num TEXT); "
    "INSERT INTO alembic_version VALUES ('0123456789ab')",
    "a view": "CREATE TABLE songs (title TEXT); CREATE VIEW runs AS SELECT title FROM songs",
    "a name with quotes": 'CREATE TABLE "my ""songs""" (title TEXT)',
    "runs of another tracker": "CREATE TABLE runs (run_uuid TEXT); CREATE TABLE songs (title TEXT)",
}


@pytest.mark.parametrize("script", OTHERS.values(), ids=OTHERS)
def test_a_database_of_another_program_is_refused_and_stays(
    tmp_path: Path, script: str, debugger: Callable[..., Debugger]
) -> None:
    place = tmp_path / "music" / "songs.db"
    place.parent.mkdir()
    with closing(sqlite3.connect(place)) as connection:
        connection.executescript(script)
    before = place.read_bytes()

    with pytest.raises(nbd.RunStoreError, match=r"songs\.db .* the database of another program"):
        nbd.runs(place)
    dbg = debugger(runs=place)
    dbg.run(steps=4)
    dbg.close()

    said = {notice.title: notice.text for notice in dbg.history.notices}
    assert "the database of another program" in said["The run is not in the store yet"]
    assert place.read_bytes() == before
    assert list(place.with_suffix("").glob("*.journal.left"))
    assert [one.name for one in place.parent.iterdir() if one.is_file()] == ["songs.db"]


def test_a_folder_in_the_place_of_the_store_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "runs.db").mkdir()

    with pytest.raises(nbd.RunStoreError, match=r"runs\.db could not be"):
        nbd.runs(tmp_path / "runs.db")


def test_a_link_to_the_store_stays_a_link(filled: Path, tmp_path: Path) -> None:
    real = tmp_path / "disk" / "real.db"
    real.parent.mkdir()
    shutil.move(filled, real)
    filled.symlink_to(real)
    no_database(real)

    assert sorted(nbd.runs(filled)["name"]) == ["waits", "whole"]
    assert filled.is_symlink()
    assert real.with_name("real.db.kept-1").exists()


def test_a_disk_that_is_full_leaves_the_spoilt_store_as_it_was(
    filled: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path
) -> None:
    no_revision(filled)
    before = filled.read_bytes()
    with monkeypatch.context() as patched:
        # The new database is cut off where the disk is full.
        make_stores_from(lambda: empty_store.parent / "not there", patched)
        assert "waits" in set(nbd.runs(filled)["name"])
    assert filled.read_bytes() == before
    assert not list(filled.parent.glob(".*.new*"))

    assert sorted(nbd.runs(filled)["status"]) == ["finished", "interrupted"]


def logged(caplog: pytest.LogCaptureFixture) -> str:
    return " ".join(one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING)


def test_the_store_of_a_newer_mlflow_is_read_and_its_runs_wait(
    filled: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sql(filled, "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    before = filled.read_bytes()

    assert sorted(nbd.runs(filled)["name"]) == ["waits", "whole"]
    assert "a newer MLflow made it than the one of this kernel" in logged(caplog)
    assert "pip install --upgrade mlflow-skinny" in logged(caplog)
    assert nbd.load_run("whole", filled).steps == 3
    assert filled.read_bytes() == before
    assert list(filled.with_suffix("").glob("*.journal*"))


def test_a_store_that_a_newer_mlflow_migrates_meanwhile_is_said(filled: Path) -> None:
    location = store_location(filled)
    assert location is not None
    store = RunStore(location).store
    sql(filled, "UPDATE alembic_version SET version_num = 'ffffffffffff'")

    with pytest.raises(nbd.RunStoreError, match="a newer MLflow"):
        store.begin("beef", "late", 1e9, {})
    with closing(sqlite3.connect(filled)) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)


@pytest.mark.slow
def test_the_store_of_an_older_mlflow_is_upgraded_on_a_copy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import create_engine

    place = tmp_path / "runs.db"
    engine = create_engine(f"sqlite:///{place}")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        config = _get_alembic_config(str(engine.url))
        config.attributes["connection"] = connection
        command.upgrade(config, "bf29a5ff90ea")
    engine.dispose()
    sql(
        place,
        "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage) "
        f"VALUES (1, 'nbdebug', '{tmp_path / 'runs'}', 'active')",
        "INSERT INTO runs (run_uuid, name, status, start_time, lifecycle_stage, experiment_id) "
        f"VALUES ('{'a' * 32}', 'old', 'FINISHED', 1000000000000, 'active', 1)",
    )
    before = place.read_bytes()
    location = store_location(place)
    assert location is not None

    store = RunStore(location).store

    store.end(store.begin("beef", "new", 1e9, {}), "finished", 1e9 + 5, {})
    assert sorted(nbd.runs(place)["name"]) == ["new", "old"]
    assert place.with_name("runs.db.kept-1").read_bytes() == before
    assert "An older MLflow made it" in logged(caplog)


@pytest.mark.parametrize("name", ["ü #1.db", "100%.db", "it's [x];&=.db", 'q"\\.db', "模 @:.db"])
def test_an_odd_path_is_no_other_file(tmp_path: Path, name: str, empty_store: Path) -> None:
    place = tmp_path / "#1 one" / name
    location = store_location(place)
    assert location is not None
    RunStore(location).store.begin("beef", "made", 1e9, {"lr": 0.1})

    assert nbd.runs(place)["name"].tolist() == ["made"]
    assert {one.name for one in place.parent.iterdir()} == {name, place.stem}


@pytest.mark.parametrize("name", ["what?.db", "per%cent.db"])
def test_a_path_that_mlflow_reads_otherwise_is_refused(tmp_path: Path, name: str) -> None:
    location = store_location(tmp_path / name)
    assert location is not None

    with pytest.raises(nbd.RunStoreError, match="would open another file"):
        RunStore(location).store.begin("beef", "made", 1e9, {})
    assert list(tmp_path.iterdir()) == []
