"""Trains where the packages of the extra `runs` are not installed, and says what it met.

Usage: core_install.py DATABASE ARCHIVE. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

ABSENT = {"mlflow", "sqlalchemy", "alembic", "filelock", "pyarrow"}


class Absent(MetaPathFinder):
    """Refuses packages as if they were not installed."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


sys.meta_path.insert(0, Absent())

import torch  # noqa: E402
from torch import nn  # noqa: E402

import nbdebug as nbd  # noqa: E402
from nbdebug.core.history.history import History  # noqa: E402
from nbdebug.core.results.run_list import RunRequest  # noqa: E402
from nbdebug.runs.record.location import store_location  # noqa: E402
from nbdebug.runs.store.runs_tab import RunsTabService  # noqa: E402


def refusal(act: Callable[[], Any]) -> str:
    """The message with which something is refused."""
    try:
        act()
    except nbd.MissingPackageError as error:
        return str(error)
    raise AssertionError("it was not refused")


def tab(place: Path) -> str:
    """What the Runs tab says."""
    location, history = store_location(place), History()
    assert location is not None
    service = RunsTabService(history, location, "")
    service.ask(RunRequest("list"))
    while service.run_list.state == "opening":
        time.sleep(0.01)
    service.close()
    return service.run_list.error


def debugger(place: Path) -> nbd.Debugger:
    """A small training that is recorded at `place`."""
    torch.manual_seed(0)
    X = torch.randn(120, 4)
    y = (X.sum(1) > 0).long()
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    return nbd.Debugger(
        model, (X[:100], y[:100]), nn.CrossEntropyLoss(), val_data=(X[100:], y[100:]),
        batch_size=20, runs=place, name="core",
    )  # fmt: skip


def refusals(dbg: nbd.Debugger, place: Path, archive: Path) -> dict[str, str]:
    """The messages of everything that needs the packages."""
    return {
        "runs": refusal(lambda: nbd.runs(place)),
        "dbg.runs": refusal(lambda: dbg.runs),
        "load_run": refusal(lambda: nbd.load_run("core", place)),
        "compare": refusal(lambda: nbd.compare("core", place)),
        "parquet": refusal(lambda: dbg.record.export(place.with_name("core.parquet"))),
        "zip": refusal(lambda: dbg.record.export(place.with_name("core.zip"))),
        "import": refusal(lambda: nbd.import_run(archive, place)),
    }


def main(place: Path, archive: Path) -> dict[str, Any]:
    """Train, look, write down and close; give what a test asks for."""
    dbg = debugger(place)
    shown = dbg._repr_mimebundle_()
    dbg.run(steps=15)
    dbg.set(lr=1e-2, why="faster")
    dbg.run(steps=15)
    dbg.history.wait_until(lambda _: bool(dbg.history.notices), 60)
    folder = place.parent
    said = {
        "dashboard": "application/vnd.jupyter.widget-view+json" in shown,
        "findings": [finding.name for finding in dbg.findings],
        "checks": {result.name: result.status for result in dbg.check()},
        "record check": next(r.seen for r in dbg.check("run_record") if r.name == "run_record"),
        "tab": tab(place),
        "report": dbg.report(folder / "core.html").read_text(encoding="utf-8")[:15],
        "csv": dbg.record.export(folder / "core.csv").exists(),
        "compared": len(nbd.compare(dbg.record).runs),
        "refused": refusals(dbg, place, archive),
    }
    dbg.run(steps=10)
    dbg.close()
    notices = [[n.severity, n.title, n.text] for n in dbg.history.notices]
    loaded = sorted(ABSENT & set(sys.modules))
    left = sorted(path.name for path in folder.iterdir())
    return {**said, "steps": dbg.history.status.step, "notices": notices, "loaded": loaded,
            "left": left}  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
