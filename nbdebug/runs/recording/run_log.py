"""Turns new History data into journal frames."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nbdebug._version import __version__
from nbdebug.core.history.history import Cursor, History
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Finding, Findings
from nbdebug.core.results.inside.network_picture import NetworkPicture
from nbdebug.core.results.network import Network
from nbdebug.runs.bounded.recorded_structure import structure_to_rows
from nbdebug.runs.record.journal import Frame
from nbdebug.runs.record.journal_owner import journal_owner
from nbdebug.runs.record.json_values import to_json_value
from nbdebug.runs.record.run_data import rows_to_frame
from nbdebug.runs.recording.environment import cell_count, cells, environment, git_state


class RunLog:
    """Turns new data of a History into frames.

    Args:
        about: documents that do not change: parameters, model, data, code, environment.

    Attributes:
        ended: set to True before the last call of `frames`.
    """

    def __init__(self, history: History, key: str, name: str, about: Mapping[str, Any]) -> None:
        self._history, self._about = history, dict(about)
        metrics = self._about.pop("metrics", ())
        self._first = {
            **journal_owner(),
            "key": key,
            "name": name,
            "nbdebug": __version__,
            "metrics": list(metrics),
        }
        self._told: dict[str, Any] = {}
        self._lists: dict[str, Sequence[Any]] = {}
        self._found: dict[str, dict[str, Any]] = {}
        self._gone: list[dict[str, Any]] = []
        self._parts: list[dict[str, Any]] = []
        self._cells: list[str] = []
        self._run_cells = 0
        self._cursor: Cursor | None = None
        self.ended = False

    def add_environment(self) -> None:
        """Add machine, versions and the state of git, which takes a moment."""
        about = self._about
        about["environment"] = {**environment(), **about.get("environment", {})}
        about["code"] = {**about.get("code", {}), "git": git_state(Path.cwd())}

    def frames(self, everything: bool = False) -> list[Frame]:
        """Frames with the changes since the last call; with `everything`, all data."""
        if everything:
            self._told, self._lists, self._cursor = {}, {}, None
        snapshot = self._history.snapshot(())
        made = list(self._documents(snapshot))
        made += self._list("changes", snapshot.changes)
        made += self._list("notes", snapshot.notes)
        count = cell_count()
        if count != self._run_cells:
            self._cells += cells(self._run_cells)
            self._run_cells = count
        made += self._list("cells", self._cells)
        rows, self._cursor = self._history.changed_rows(self._cursor)
        return made + [rows_to_frame(part) for part in rows]

    def last(self) -> list[Frame]:
        """Frames with the end of a run that History does not hold any more."""
        run = {**self._told.get("run", self._first), "status": "finished", "ended": time.time()}
        return [Frame({"document": "run", "value": run})]

    def _documents(self, snapshot: Snapshot) -> Iterator[Frame]:
        status = snapshot.status
        now = time.time()
        failed = status.failure is not None and status.failure.severity == "error"
        self._first.setdefault("started", self._history.begun or now)
        run = self._first | {
            "step": status.step,
            "samples": status.samples,
            "epoch": status.epoch,
            "status": ("failed" if failed else "finished") if self.ended else "running",
            "ended": now if self.ended else None,
            "judged": snapshot.results.of(Findings) is not None,
            "failure": None if status.failure is None else status.failure.title,
        }
        documents = {
            "findings": self._findings(snapshot),
            "checks": [r for r in snapshot.checks if r.status != "not_run"],
        }
        about = dict(self._about)
        if model := self._model(snapshot):
            about["model"] = model
        # The run comes first: the first frame must identify the owner of the journal.
        for name, value in {"run": run, **about, **documents}.items():
            if self._told.get(name) != value:
                self._told[name] = value
                # The time of the last write is the end of a killed run.
                told = value | {"seen": now} if name == "run" else value
                yield Frame({"document": name, "value": to_json_value(told)})

    def _model(self, snapshot: Snapshot) -> dict[str, Any]:
        """The model with its output shapes and the structure of the first look, if seen."""
        network = snapshot.results.of(Network, Network())
        model = dict(self._about.get("model") or {})
        picture = snapshot.results.of(NetworkPicture)
        if picture is not None and not self._parts:
            self._parts = structure_to_rows(picture.structure)
        if self._parts:
            model["parts"] = self._parts
        # In compiled modules nothing was seen.
        shapes = {name: list(shape) for name, shape in network.shapes if shape}
        if shapes and model.get("layers"):
            model["layers"] = [
                {**row, "output_shape": shapes[row["layer"]]} if row["layer"] in shapes else row
                for row in model["layers"]
            ]
        return model

    def _findings(self, snapshot: Snapshot) -> list[dict[str, Any]]:
        """All findings so far; those that are gone have `until`."""
        now = {finding.name: finding for finding in snapshot.findings}
        for name in [name for name in self._found if name not in now]:
            self._gone.append({**self._found.pop(name), "until": snapshot.status.step})
        for name, finding in now.items():
            self._found[name] = _finding_document(finding)
        return [*self._gone, *self._found.values()]

    def _list(self, name: str, rows: Sequence[Any]) -> Iterator[Frame]:
        """New rows of a growing list; from the first changed row on, all rows again."""
        known = self._lists.get(name, ())
        kept = 0
        while kept < min(len(known), len(rows)) and known[kept] is rows[kept]:
            kept += 1
        if kept < len(known) or kept < len(rows):
            self._lists[name] = tuple(rows)
            yield Frame(
                {"list": name, "from": kept, "rows": [to_json_value(row) for row in rows[kept:]]}
            )


def _finding_document(finding: Finding) -> dict[str, Any]:
    kept = (
        "name", "title", "severity", "since", "value", "threshold", "seen", "why", "because",
        "source", "evidence",
    )  # fmt: skip
    found = {name: getattr(finding, name) for name in kept}
    remedies = [{"text": r.text, "settings": r.settings} for r in finding.remedies]
    return to_json_value({**found, "until": None, "remedies": remedies})  # type: ignore[no-any-return]
