"""What is in the archive that Comet's own client writes, and what it leaves alone."""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nbdebug.core.series import Series
from nbdebug.runs.exporters import comet as comet_archive
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.store.run import Run

# Comet's client runs in a process of its own, which takes seconds to import it.
pytestmark = pytest.mark.slow
needs_comet = pytest.mark.skipif(
    importlib.util.find_spec("comet_ml") is None, reason="comet_ml is not installed"
)
KEY = "0123456789abcdef" * 2
# Runs when the child starts, before anything of ours or Comet's.
WATCH = """
import sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        with open({log!r}, "a") as file:
            print(event, arguments, file=file)
sys.addaudithook(watch)
open({log!r}, "w").close()
"""


def series(name: str, values: list[float]) -> Series:
    numbers = np.array(values, dtype=float)
    count = np.ones(len(values), np.int32)
    return Series(name, np.arange(len(values)), numbers, numbers, numbers, numbers, count)


def a_run(*parts: Series, **documents: Any) -> Run:
    about = {
        "key": KEY, "name": "first", "started": 1.7e9, "ended": 1.7e9 + 60, "step": 8,
        "status": "finished", "nbdebug": "1.0",
    }  # fmt: skip
    bundle = RunData(
        {**documents, "run": about | documents.get("run", {})}, {one.name: one for one in parts}
    )
    return Run(lambda: bundle)


def messages(archive: Path, kind: str, field: str = "") -> list[dict[str, Any]]:
    with zipfile.ZipFile(archive) as opened:
        lines = opened.read("messages.json").decode().splitlines()
    found = [one["payload"] for one in map(json.loads, lines) if one["type"] == kind]
    return [one[field] if field else one for one in found]


@needs_comet
def test_an_archive_holds_the_run(tmp_path: Path) -> None:
    long = f"grad_norm/{'blocks.' * 20}0.weight"
    values = [0.5, float("nan"), float("inf"), 1e300]
    change = {"step": 3, "control": "lr", "old": 1e-3, "new": 0.5, "why": "why, ü"}
    run = a_run(
        series("loss", values), series(long, [1.0]), series(long.replace("0.w", "1.w"), [2.0]),
        parameters={"lr": 0.01, "optimizer": "adam"}, changes=[change],
    )  # fmt: skip

    archive = run.export(tmp_path / "out", "comet")

    assert archive == tmp_path / "out" / f"{KEY}.zip"
    metrics = messages(archive, "metric_msg", "metric")
    loss = [(m["step"], m["metricValue"]) for m in metrics if m["metricName"] == "loss"]
    assert loss == [(0, 0.5), (1, "NaN"), (2, "Infinity"), (3, 1e300)]
    # Layers of one block keep their own names.
    assert len({m["metricName"] for m in metrics if m["metricName"].startswith("grad_norm")}) == 2
    parameters = messages(archive, "parameter_msg", "param")
    kept = {one["paramName"]: one["paramValue"] for one in parameters}
    assert kept.items() >= {"lr": 0.01, "optimizer": "adam"}.items()
    others = {one["key"]: one["value"] for one in messages(archive, "log_other")}
    assert others.items() >= {"Name": "first", "status": "finished", "steps": 8}.items()
    [table] = messages(archive, "file_upload")
    assert table["additional_params"]["fileName"] == "changes.csv"
    with zipfile.ZipFile(archive) as opened:
        assert "why, ü" in opened.read(table["file_path"]).decode()


@needs_comet
def test_nothing_of_this_machine_is_in_it(tmp_path: Path) -> None:
    archive = a_run(series("loss", [1.0])).export(tmp_path, "comet")

    with zipfile.ZipFile(archive) as opened:
        text = b"".join(opened.read(name) for name in opened.namelist()).decode()
        kinds = {json.loads(one)["type"] for one in opened.read("messages.json").splitlines()}
    assert kinds <= {"metric_msg", "parameter_msg", "log_other", "file_upload"}
    assert "first" in text
    for secret in (socket.gethostname(), str(Path.home()), str(Path.cwd())):
        assert f'"{secret}' not in text


@needs_comet
def test_it_is_written_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    log = tmp_path / "asked"
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(WATCH.format(log=str(log)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    monkeypatch.setenv("COMET_API_KEY", "not-a-key")
    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)

    a_run(series("loss", [1.0])).export(tmp_path / "out", "comet")

    # It is empty, not missing: the child was watched.
    assert log.read_text() == ""


@needs_comet
def test_this_process_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # Trainers of other tests import it too.
    hooks, finders, known = sys.excepthook, list(sys.meta_path), "comet_ml" in sys.modules

    a_run(series("loss", [1.0])).export(tmp_path / "out", "comet")

    assert ("comet_ml" in sys.modules) is known
    assert (sys.excepthook, list(sys.meta_path)) == (hooks, finders)
    assert capfd.readouterr() == ("", "")
    assert [one.name for one in tmp_path.iterdir()] == ["out"]


@needs_comet
def test_settings_of_the_user_change_the_project_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMET_PROJECT_NAME", "mine")
    monkeypatch.setenv("COMET_OFFLINE_DIRECTORY", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("COMET_EXPERIMENT_KEY", "f" * 32)
    monkeypatch.setenv("COMET_LOGGING_FILE", str(tmp_path / "log"))

    archive = a_run(series("loss", [1.0])).export(tmp_path / "out", "comet")

    with zipfile.ZipFile(archive) as opened:
        about = json.loads(opened.read("experiment.json"))
    assert about["project_name"] == "mine"
    assert about["offline_id"] == KEY
    assert [one.name for one in tmp_path.iterdir()] == ["out"]


@needs_comet
def test_a_key_of_elsewhere_names_no_file(tmp_path: Path) -> None:
    archive = a_run(run={"key": "../../../etc/key"}).export(tmp_path / "out", "comet")

    assert archive.parent == tmp_path / "out"
    assert archive.stem.isalnum()


@needs_comet
def test_what_goes_wrong_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comet_archive, "CHILD_SOURCE", "raise RuntimeError('no luck')")

    with pytest.raises(OSError, match="could not write the archive: RuntimeError: no luck"):
        a_run().export(tmp_path / "out", "comet")

    assert list((tmp_path / "out").iterdir()) == []


@needs_comet
def test_the_network_is_shut_off_in_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        comet_archive,
        "CHILD_SOURCE",
        "import sys, socket; from nbdebug.runs.exporters.comet import _no_network; "
        "sys.addaudithook(_no_network); socket.create_connection(('127.0.0.1', 9))",
    )

    with pytest.raises(OSError, match="without a network, but socket"):
        a_run().export(tmp_path / "out", "comet")


def test_without_the_package_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "comet_ml", None)

    with pytest.raises(ImportError, match=r'pip install "nbdebug-torch\[comet\]"'):
        a_run().export(tmp_path / "first", "comet")

    assert list(tmp_path.iterdir()) == []
