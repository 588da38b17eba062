"""A run that cannot be read is a row that says so, and hides no other."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import nbdebug as nbd
from nbdebug import Debugger
from nbdebug.core.results.run_list import RunList, RunRequest
from nbdebug.runs.record.journal import Frame, Journal
from nbdebug.runs.record.journal_owner import journal_owner
from nbdebug.runs.record.location import store_location
from nbdebug.runs.store.run_store import RunStore
from nbdebug.runs.store.upload import upload
from tests.inside import runs_tab_of
from tests.runs.handmade import run_of, series

OURS = "run_uuid IN (SELECT run_uuid FROM runs WHERE name = 'odd')"
# In the store: what a crafted import, another program or an older nbdebug may have left.
ROWS = {
    "started in the year 33000": "UPDATE runs SET start_time = 1000000000000000 WHERE name = 'odd'",
    "started for ever ago": "UPDATE runs SET start_time = -5 WHERE name = 'odd'",
    "no start": "UPDATE runs SET start_time = NULL WHERE name = 'odd'",
    "a start of letters": "UPDATE runs SET start_time = 'soon' WHERE name = 'odd'",
    "an endless end": "UPDATE runs SET end_time = 9000000000000000000 WHERE name = 'odd'",
    "steps of letters": f"UPDATE tags SET value = 'None' WHERE key = 'nbdebug.steps' AND {OURS}",
    "endless steps": f"UPDATE tags SET value = '{'9' * 40}' WHERE key = 'nbdebug.steps' AND {OURS}",
    "a tag that is no text": f"UPDATE tags SET value = CAST(x'ff00fe' AS TEXT) WHERE {OURS}",
    "a name of the wrong kind": f"UPDATE params SET key = x'ff' WHERE {OURS}",
    "a metric of letters": f"UPDATE latest_metrics SET value = 'high' WHERE {OURS}",
}
# Nothing is wrong with the run itself.
HARMLESS = {
    "no name": "UPDATE runs SET name = NULL WHERE name = 'odd'",
    "a name that is no text": "UPDATE runs SET name = x'ff00fe' WHERE name = 'odd'",
    "a parameter that is no text": f"UPDATE params SET value = x'ff' WHERE {OURS}",
    "a parameter that is a number": f"UPDATE params SET value = 3 WHERE {OURS}",
    "no tags": f"DELETE FROM tags WHERE {OURS}",
}


@pytest.fixture
def filled(place: Path) -> Path:
    location = store_location(place)
    assert location is not None
    store = RunStore(location).store
    for name in ("odd", "good"):
        measured = [series("loss", [2.0, 1.0])]
        upload(store, run_of(name, measured, name * 4, parameters={"lr": 0.5}).bundle)
    return place


def seen(place: Path, debugger: Callable[..., Debugger]) -> RunList:
    """What the Runs tab shows."""
    dbg = debugger(runs=place)
    runs_tab_of(dbg).ask(RunRequest("list"))
    assert dbg.history.wait_until(lambda _: runs_tab_of(dbg).version > 0, timeout=60)
    return runs_tab_of(dbg).run_list


@pytest.mark.parametrize("statement", [*ROWS.values(), *HARMLESS.values()], ids=[*ROWS, *HARMLESS])
def test_a_run_that_cannot_be_read_hides_no_other(
    filled: Path, statement: str, debugger: Callable[..., Debugger]
) -> None:
    with closing(sqlite3.connect(filled)) as connection, connection:
        connection.execute(statement)

    table = nbd.runs(filled)

    assert len(table) == 2
    good = table.loc[table["name"] == "good"].iloc[0]
    assert (good["status"], good["loss"], good["steps"]) == ("finished", 1.0, 2)
    assert nbd.load_run("good", filled).steps == 2
    (odd,) = table.index[table["name"] != "good"]
    damaged = statement in ROWS.values()
    assert (table.loc[odd, "status"] == "damaged") == damaged
    # Its files are there: what they hold can be read.
    assert nbd.load_run(odd, filled).frame("loss")["loss"].tolist() == [2.0, 1.0]
    assert nbd.compare(table, filled) is not None
    runs = seen(filled, debugger)
    assert (runs.state, len(runs.rows)) == ("ready", 2)


ABOUT = {"key": "feed" * 4, "name": "odd", "status": "running", "started": 1e9, "step": 3}


@pytest.mark.parametrize(
    "change",
    [
        {"started": 1e15}, {"started": "soon"}, {"started": None}, {"step": None},
        {"step": "many"}, {"ended": "NaN"}, {"metrics": 3}, {"name": None}, {"metrics": [{}]},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_a_journal_that_cannot_be_read_hides_no_other(
    filled: Path, change: dict[str, object]
) -> None:
    for number, born in enumerate((1.0, journal_owner()["born"])):
        key = f"{number}" * 16
        journal = Journal(filled.with_suffix("") / f"{key}.journal")
        about = {**ABOUT, **journal_owner(), "born": born, **change, "key": key}
        journal.append([Frame({"document": "run", "value": about})])
        journal.close()

    for _ in range(2):
        table = nbd.runs(filled)
        assert {"good", "odd"} <= set(table["name"])
        assert len(table) == 4
        assert nbd.load_run("good", filled).steps == 2


@pytest.mark.parametrize(
    "header", [{"list": "notes", "from": "x", "rows": 3}, {"names": 3}, {"document": "run"}, {}]
)
def test_a_journal_of_nonsense_hides_no_other(filled: Path, header: dict[str, object]) -> None:
    journal = Journal(filled.with_suffix("") / "0123.journal")
    about = {**ABOUT, **journal_owner()}
    journal.append([Frame({"document": "run", "value": about})])
    journal.close()
    with journal.path.open("ab") as file:
        file.write(Frame(header).encode())

    assert {"good", "odd"} <= set(nbd.runs(filled)["name"])
    assert nbd.load_run("good", filled).steps == 2
