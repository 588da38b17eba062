"""A database that somebody sent decides nothing: not what is read, written or deleted."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import nbdebug as nbd
from nbdebug.runs.store.api import run_store
from tests.runs.record.archives import documents, files, zipped


def execute(place: Path, *commands: str) -> None:
    with closing(sqlite3.connect(place)) as database, database:
        database.execute("PRAGMA foreign_keys = OFF")
        for command in commands:
            database.execute(command)


@pytest.fixture
def take(place: Path, tmp_path: Path) -> Callable[[str], nbd.Run]:
    def make(key: str) -> nbd.Run:
        run = documents()["run"] | {"key": key, "name": key}
        (tmp_path / "run.zip").write_bytes(zipped(files(run=run)))
        return nbd.import_run(tmp_path / "run.zip", place)

    return make


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/x", "file:///", "s3://bucket/x", "/etc"])
def test_files_are_read_and_written_beside_it_wherever_it_says(
    take: Callable[[str], nbd.Run], place: Path, address: str
) -> None:
    first = take("first")
    execute(
        place,
        f"UPDATE experiments SET artifact_location = '{address}'",
        f"UPDATE runs SET artifact_uri = '{address}'",
    )

    second = take("second")

    for run in (first, second):
        assert nbd.load_run(run.id, place).frame().shape == (3, 2)
        assert (place.with_suffix("") / run.id / "artifacts" / "run.json").is_file()


def test_a_run_that_names_another_folder_is_not_read_and_deletes_nothing(
    take: Callable[[str], nbd.Run], place: Path, tmp_path: Path
) -> None:
    run = take("first")
    precious = tmp_path / "precious"
    (precious / "artifacts").mkdir(parents=True)
    (precious / "artifacts" / "run.json").write_text('{"name": "secret"}')
    tables = ("runs", "tags", "metrics", "latest_metrics", "params")
    execute(place, *(f"UPDATE {t} SET run_uuid = '../precious'" for t in tables))
    store = run_store(place)
    row = store.rows()[0]

    with pytest.raises(nbd.RunStoreError):
        assert store.run(row).notes is None
    store.store.delete(row.id)

    assert (precious / "artifacts" / "run.json").is_file()
    assert (place.with_suffix("") / run.id).is_dir()


def test_a_link_among_its_files_is_not_followed(
    take: Callable[[str], nbd.Run], place: Path, tmp_path: Path
) -> None:
    run = take("first")
    secret = tmp_path / "secret.json"
    secret.write_text('[{"text": "secret"}]')
    notes = place.with_suffix("") / run.id / "artifacts" / "notes.json"
    notes.unlink()
    notes.symlink_to(secret)

    assert len(nbd.load_run(run.id, place).notes) == 0


@pytest.mark.parametrize("key", ["*", "../other/k", "[a-z]", "' OR '1'='1", ""])
def test_a_key_in_it_is_no_pattern_and_no_path(
    take: Callable[[str], nbd.Run], place: Path, key: str, tmp_path: Path
) -> None:
    run = take("first")
    quoted = key.replace("'", "''")
    execute(place, f"UPDATE tags SET value = '{quoted}' WHERE key = 'nbdebug.key'")
    other = tmp_path / "other"
    other.mkdir()
    (other / "k.journal").write_bytes(b"other")

    assert nbd.load_run(run.id, place).steps == 3
