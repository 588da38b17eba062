"""Ten thousand runs in a store: what reads them needs neither MLflow nor much memory."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from nbdebug.runs.record.location import store_location
from nbdebug.runs.store.run_store import RunStore
from nbdebug.runs.store.upload import upload
from tests.runs.handmade import run_of, series

pytestmark = pytest.mark.slow

COUNT = 10_000
PROGRAM = """
import json, sys, time, pandas, psutil, torch, nbdebug
from nbdebug.core.history.history import History
from nbdebug.runs.record.location import store_location
from nbdebug.runs.store.runs_tab import RunsTabService

memory = psutil.Process().memory_info
before = memory().rss
table = nbdebug.runs(sys.argv[1])
listed = memory().rss - before
run = nbdebug.load_run("run 7777", sys.argv[1])
del table
before = memory().rss
tab = RunsTabService(History(), store_location(sys.argv[1]), "")
tab.look_when_due()
end = time.monotonic() + 60
while not tab.version and time.monotonic() < end:
    time.sleep(0.02)
tab.close()
shown = len(tab.run_list.rows)
tab_memory = memory().rss - before
print(json.dumps([listed, run.name, shown, tab_memory, "mlflow" in sys.modules]))
"""


def test_ten_thousand_runs_are_listed_in_little_memory(place: Path) -> None:
    location = store_location(place)
    assert location is not None
    parameters = {f"p{number}": number for number in range(30)}
    measured = [series(name, [2.0, 1.0]) for name in ("loss", "val_loss", "lr", "grad_norm")]
    first = upload(
        RunStore(location).store, run_of("first", measured, "k", parameters=parameters).bundle
    )
    with closing(sqlite3.connect(place)) as connection, connection:
        for table, columns in (
            ("runs", "'run ' || n, start_time + n, status, lifecycle_stage, experiment_id"),
            ("params", "key, value"), ("latest_metrics", "key, value, timestamp, step, is_nan"),
            ("tags", "key, CASE key WHEN 'nbdebug.key' THEN n ELSE value END"),
        ):  # fmt: skip
            into = {
                "runs": "name, start_time, status, lifecycle_stage, experiment_id",
                "tags": "key, value",
            }.get(table, columns)
            connection.execute(
                f"WITH numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers "
                f"WHERE n < {COUNT}) INSERT INTO {table} (run_uuid, {into}) "
                f"SELECT printf('%032x', n), {columns} FROM {table}, numbers "
                "WHERE run_uuid = ?",
                (first,),
            )

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(place)], capture_output=True, text=True, check=True
    )

    listed, name, shown, tab_memory, mlflow = json.loads(done.stdout)
    assert (name, shown, mlflow) == ("run 7777", COUNT + 1, False)
    assert max(listed, tab_memory) < 100_000_000
