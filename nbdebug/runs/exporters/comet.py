"""A run as Comet's own client takes it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from nbdebug._version import install_line
from nbdebug.errors import MissingPackageError
from nbdebug.runs.exporters.base import Exporter
from nbdebug.runs.record.json_values import to_json_value

if TYPE_CHECKING:
    from nbdebug.runs.record.run_record import RunRecord

INSTALL = f"A Comet archive needs comet_ml: {install_line('comet')}"
# Comet takes 15,000 values of a metric, and 100 characters of its name.
MOST = 10_000
LONGEST = 100
SECONDS = 600.0
TABLES = ("changes", "notes", "findings")
# The child finds the packages that we find, in the same order.
CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.readline()); "
    "from nbdebug.runs.exporters.comet import write; write(json.loads(sys.stdin.readline()))"
)
# Where it is to go is the user's to say; everything else would change what is written, or where.
KEPT = ("COMET_PROJECT_NAME", "COMET_WORKSPACE")
SILENCE = {
    "COMET_DISABLE_AUTO_LOGGING": "1",
    "COMET_ERROR_TRACKING_ENABLE": "false",
    "COMET_INTERNAL_REPORTING": "false",
    "COMET_LOGGING_CONSOLE": "ERROR",
}
NOTHING_OF_ITS_OWN = {
    "log_code": False, "log_graph": False, "auto_param_logging": False,
    "auto_metric_logging": False, "parse_args": False, "auto_output_logging": False,
    "log_env_details": False, "log_git_metadata": False, "log_git_patch": False,
    "log_env_gpu": False, "log_env_host": False, "log_env_cpu": False, "log_env_network": False,
    "log_env_disk": False, "auto_log_co2": False, "auto_histogram_weight_logging": False,
    "auto_histogram_gradient_logging": False, "auto_histogram_activation_logging": False,
    "auto_histogram_tensorboard_logging": False, "display_summary_level": 0, "disabled": False,
}  # fmt: skip


class CometArchive(Exporter):
    """A folder with an offline experiment for Comet; upload it with `comet upload FILE.zip`.

    It holds the hyperparameters at the start, the mean of every series at its steps (at most 10,000
    values of each), and control changes, notes and findings as CSV files. Code, environment and
    data are not in it. Project and workspace are those that Comet's own settings name.

    Nothing is sent and no API key is needed: comet_ml writes the archive in a process of its own
    that has no network. So it changes nothing in this one, where it would end an experiment under
    way. Takes some seconds. See Comet's documentation of `OfflineExperiment`.
    """

    name: ClassVar[str] = "comet"

    def export(self, run: RunRecord, path: Path) -> Path:
        if importlib.util.find_spec("comet_ml") is None:
            raise MissingPackageError(INSTALL)
        path.mkdir(parents=True, exist_ok=True)
        # Whatever comet_ml puts down stays in here, also when it fails.
        work = path / f".{uuid.uuid4().hex}.part"
        work.mkdir()
        try:
            said = _write_in_child({**_contents(run), "folder": str(work.absolute())}, work)
            made = sorted(work.glob("*.zip"))
            if not made or not _whole(made[0]):
                raise OSError(f"comet_ml wrote no whole archive to {path}: {said or 'no reason'}.")
            target = path / made[0].name
            os.replace(made[0], target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return target


def _contents(run: RunRecord) -> dict[str, Any]:
    """What is to be written, in plain values."""
    key = str(run.bundle["run"].get("key", ""))
    # By step: Comet also writes down every move to another one.
    points: dict[int, dict[str, float]] = {}
    for name, one in run.bundle.series.items():
        thin = one.thin(MOST)
        for step, value in zip(thin.step.tolist(), thin.mean.tolist(), strict=True):
            points.setdefault(step, {})[_short(name)] = value
    tables = {kind: getattr(run, kind) for kind in TABLES}
    return {
        # Comet takes a run of the same key only once.
        "key": key if re.fullmatch(r"[0-9a-f]{32}", key) else None,
        "name": run.name,
        "parameters": to_json_value(run.parameters),
        "others": {
            "status": run.status, "steps": run.steps, "started": run.started.isoformat(),
            "seconds": run.seconds, "nbdebug": str(run.bundle["run"].get("nbdebug", "")),
        },
        "tables": {kind: table.to_csv(index=False) for kind, table in tables.items() if len(table)},
        "points": sorted(points.items()),
    }  # fmt: skip


def _short(name: str) -> str:
    """A name that Comet does not cut off; layers of one block differ at the end."""
    return name if len(name) <= LONGEST else f"{name[:40]}...{name[43 - LONGEST :]}"


def _write_in_child(contents: Mapping[str, Any], work: Path) -> str:
    """Let another Python write the archive; gives the last thing it said."""
    environment = {n: v for n, v in os.environ.items() if not n.startswith("COMET_") or n in KEPT}
    environment |= SILENCE | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(work.absolute()))
    paths = [entry or os.getcwd() for entry in sys.path]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", CHILD], env=environment, timeout=SECONDS,
            input=f"{json.dumps(paths)}\n{json.dumps(contents)}\n".encode(), capture_output=True,
        )  # fmt: skip
    except subprocess.SubprocessError as error:
        raise OSError(f"comet_ml did not finish writing the archive: {error}") from error
    said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    if done.returncode:
        raise OSError(f"comet_ml could not write the archive: {said}")
    return said


def _whole(archive: Path) -> bool:
    """Whether comet_ml got everything into it; when not, it notes that and goes on."""
    with zipfile.ZipFile(archive) as opened:
        return not json.loads(opened.read("experiment.json"))["customer_error_reported"]


def write(contents: Mapping[str, Any]) -> None:
    """Write an archive, in a process that nobody else uses."""
    sys.addaudithook(_no_network)
    from comet_ml import OfflineExperiment

    experiment = OfflineExperiment(
        offline_directory=contents["folder"], experiment_key=contents["key"], **NOTHING_OF_ITS_OWN
    )
    experiment.set_name(contents["name"])
    experiment.log_parameters(contents["parameters"])
    experiment.log_others(contents["others"])
    for step, values in contents["points"]:
        for name, value in values.items():
            experiment.log_metric(name, value, step=step)
    for kind, table in contents["tables"].items():
        experiment.log_asset_data(table, name=f"{kind}.csv")
    experiment.end()


def _no_network(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.sendmsg"):
        raise OSError(f"nbdebug writes this archive without a network, but {event} was called.")
