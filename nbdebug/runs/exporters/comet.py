"""Export of a run as an offline experiment of Comet."""

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
from nbdebug.core.files.leftovers import remove_leftovers, writer_id
from nbdebug.core.files.private_files import FOLDER_MODE, private_folder
from nbdebug.errors import MissingPackageError
from nbdebug.runs.exporters._csv_cells import harmless_table
from nbdebug.runs.exporters.base import Exporter
from nbdebug.runs.record.json_values import to_json_value

if TYPE_CHECKING:
    from nbdebug.runs.record.run_record import RunRecord

INSTALL_HINT = f"A Comet archive needs comet_ml: {install_line('comet')}"
# Comet takes 15,000 values of a metric, and 100 characters of its name.
MAX_POINTS = 10_000
MAX_NAME_LENGTH = 100
TIMEOUT_SECONDS = 600.0
TABLES = ("changes", "notes", "findings")
# The child process has the same sys.path.
CHILD_SOURCE = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.readline()); "
    "from nbdebug.runs.exporters.comet import write; write(json.loads(sys.stdin.readline()))"
)
# The user chooses project and workspace; other variables would change the content or location.
KEPT_VARIABLES = ("COMET_PROJECT_NAME", "COMET_WORKSPACE")
QUIET_VARIABLES = {
    "COMET_DISABLE_AUTO_LOGGING": "1",
    "COMET_ERROR_TRACKING_ENABLE": "false",
    "COMET_INTERNAL_REPORTING": "false",
    "COMET_LOGGING_CONSOLE": "ERROR",
}
NO_AUTO_LOGGING = {
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

    The archive holds the hyperparameters at the start, the mean of every series at its steps (at
    most 10,000 values of each), and control changes, notes and findings as CSV files. Code,
    environment and data are not included. Project and workspace are those of Comet's own settings.

    Nothing is sent and no API key is needed: comet_ml writes the archive in a separate process
    without network, since in this process it would end a running experiment. The export takes
    some seconds. See Comet's documentation of `OfflineExperiment`.
    """

    name: ClassVar[str] = "comet"

    def export(self, run: RunRecord, path: Path) -> Path:
        if importlib.util.find_spec("comet_ml") is None:
            raise MissingPackageError(INSTALL_HINT)
        private_folder(path)
        # All files of comet_ml stay in here, also when it fails.
        remove_leftovers(path, ".*.part")
        work = path / f".{writer_id()}-{uuid.uuid4().hex[:8]}.part"
        work.mkdir(mode=FOLDER_MODE)
        try:
            said = _write_in_child({**_contents(run), "folder": str(work.absolute())}, work)
            made = sorted(work.glob("*.zip"))
            if not made or not _is_complete(made[0]):
                raise OSError(
                    f"comet_ml wrote no complete archive to {path}: {said or 'no reason'}."
                )
            target = path / made[0].name
            os.replace(made[0], target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return target


def _contents(run: RunRecord) -> dict[str, Any]:
    """Contents of the archive as JSON values."""
    key = str(run.bundle["run"].get("key", ""))
    # By step: Comet also logs every change of the step.
    points: dict[int, dict[str, float]] = {}
    for name, one in run.bundle.series.items():
        thin = one.thin(MAX_POINTS)
        for step, value in zip(thin.step.tolist(), thin.mean.tolist(), strict=True):
            points.setdefault(step, {})[_short(name)] = value
    tables = {kind: getattr(run, kind) for kind in TABLES}
    return {
        # Comet accepts a run of the same key only once.
        "key": key if re.fullmatch(r"[0-9a-f]{32}", key) else None,
        "name": run.name,
        "parameters": to_json_value(run.parameters),
        "others": {
            "status": run.status, "steps": run.steps, "started": run.started.isoformat(),
            "seconds": run.seconds, "nbdebug": str(run.bundle["run"].get("nbdebug", "")),
        },
        "tables": {
            kind: harmless_table(table).to_csv(index=False)
            for kind, table in tables.items() if len(table)
        },
        "points": sorted(points.items()),
    }  # fmt: skip


def _short(name: str) -> str:
    """A name that Comet does not truncate; names of layers differ at the end."""
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[:40]}...{name[43 - MAX_NAME_LENGTH :]}"


def _write_in_child(contents: Mapping[str, Any], work: Path) -> str:
    """Write the archive in a child process and return the last line of its stderr."""
    environment = {
        n: v for n, v in os.environ.items() if not n.startswith("COMET_") or n in KEPT_VARIABLES
    }
    environment |= QUIET_VARIABLES | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(work.absolute()))
    paths = [entry or os.getcwd() for entry in sys.path]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", CHILD_SOURCE], env=environment, timeout=TIMEOUT_SECONDS,
            input=f"{json.dumps(paths)}\n{json.dumps(contents)}\n".encode(), capture_output=True,
        )  # fmt: skip
    except subprocess.SubprocessError as error:
        raise OSError(f"comet_ml did not finish writing the archive: {error}") from error
    said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    if done.returncode:
        raise OSError(f"comet_ml could not write the archive: {said}")
    return said


def _is_complete(archive: Path) -> bool:
    """True if the archive is complete; comet_ml notes a failure in it and continues."""
    with zipfile.ZipFile(archive) as opened:
        return not json.loads(opened.read("experiment.json"))["customer_error_reported"]


def write(contents: Mapping[str, Any]) -> None:
    """Write an archive; runs in a process of its own."""
    sys.addaudithook(_no_network)
    from comet_ml import OfflineExperiment

    experiment = OfflineExperiment(
        offline_directory=contents["folder"], experiment_key=contents["key"], **NO_AUTO_LOGGING
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
