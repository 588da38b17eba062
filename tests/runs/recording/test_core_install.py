"""Training without MLflow, its database and Parquet: the core install."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nbdebug as nbd
from nbdebug import Debugger
from nbdebug._version import install_line
from nbdebug.runs.record import store_packages
from nbdebug.runs.record.location import store_location
from nbdebug.runs.record.store_packages import kept_in, require_packages

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("core install")]
SCRIPT = Path(__file__).with_name("core_install.py")
INSTALL = 'pip install "nbdebug-torch[runs]"'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("core")


@pytest.fixture(scope="module")
def said(folder: Path) -> dict[str, Any]:
    """What a training met in a process without the packages."""
    archive = folder.parent / "elsewhere.zip"
    _run_elsewhere(archive)
    command = [sys.executable, str(SCRIPT), str(folder / "runs.db"), str(archive)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _run_elsewhere(path: Path) -> None:
    from nbdebug.runs.record.run_data import RunData
    from nbdebug.runs.store.run import Run

    about = {"key": "0" * 32, "name": "elsewhere", "status": "finished", "started": 1.0}
    Run(lambda: RunData({"run": about})).export(path)


def test_training_dashboard_findings_and_checks_work(said: dict[str, Any]) -> None:
    assert said["steps"] == 40
    assert said["dashboard"]
    assert said["findings"] == []
    assert {"shapes", "zero_gradient", "run_record"} <= set(said["checks"])
    assert "fail" not in said["checks"].values()


def test_none_of_the_packages_is_loaded(said: dict[str, Any]) -> None:
    assert said["loaded"] == []


def test_one_notice_says_what_is_missing_and_how_to_get_it(said: dict[str, Any]) -> None:
    ((severity, title, text),) = said["notices"]

    assert (severity, title) == ("info", "The run is recorded, but not listed")
    assert INSTALL in text
    assert "mlflow, pyarrow, sqlalchemy, alembic, filelock" in text


def test_the_runs_tab_says_it_too(said: dict[str, Any]) -> None:
    assert INSTALL in said["tab"]


def test_the_check_of_the_record_names_the_journals(said: dict[str, Any]) -> None:
    assert said["record check"] == "recorded in journals in runs/"


@pytest.mark.parametrize(
    "verb", ["runs", "dbg.runs", "load_run", "compare", "parquet", "zip", "import"]
)
def test_what_needs_the_packages_is_refused_with_the_line_that_installs_them(
    said: dict[str, Any], verb: str
) -> None:
    assert said["refused"][verb].endswith(INSTALL)


def test_report_csv_and_comparison_do_without(said: dict[str, Any]) -> None:
    assert said["report"] == "<!DOCTYPE html>"
    assert said["csv"]
    assert said["compared"] == 1


def test_nothing_half_written_is_left(said: dict[str, Any]) -> None:
    assert said["left"] == ["core-changes.csv", "core.csv", "core.html", "runs"]


def test_with_the_packages_the_run_is_in_the_list(said: dict[str, Any], folder: Path) -> None:
    (journal,) = (folder / "runs").iterdir()
    assert journal.name.endswith(".journal.left")

    listed = nbd.runs(folder / "runs.db")

    assert listed[["name", "status", "steps"]].values.tolist() == [["core", "finished", 40]]
    run = nbd.load_run("core", folder / "runs.db")
    assert len(run.frame("loss")) == 40
    assert run.changes["why"].tolist() == ["faster"]
    assert not journal.exists()


def test_a_server_needs_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    present = {"mlflow", "pyarrow"}
    monkeypatch.setattr(store_packages, "installed", lambda name: name in present)
    server, file = store_location("http://127.0.0.1:5000"), store_location("runs.db")
    assert server is not None
    assert file is not None

    require_packages(server)
    assert kept_in(server) == "http://127.0.0.1:5000"
    with pytest.raises(nbd.MissingPackageError, match=r"\(sqlalchemy, alembic, filelock\)"):
        require_packages(file)
    assert kept_in(file) == "journals in runs/"


def test_journals_of_dead_kernels_stay_where_the_packages_are_missing(
    debugger: Callable[..., Debugger], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = place.with_suffix("") / f"{'a' * 32}.journal.left"
    left.parent.mkdir()
    left.write_bytes(b"")
    with monkeypatch.context() as patched:
        patched.setattr(store_packages, "installed", lambda name: name != "mlflow")
        dbg = debugger(name="here")
        dbg.run(steps=5)
        dbg.close()
        assert left.exists()

    assert install_line("runs") in dbg.history.notices[0].text
    assert nbd.runs(place)["name"].tolist() == ["here"]
    assert not left.exists()
