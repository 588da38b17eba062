"""What a training says of itself, as the frames of a journal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nbdebug._version import __version__
from nbdebug.core.history.history import Cursor, History
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Finding
from nbdebug.runs.record.journal import Frame
from nbdebug.runs.record.journal_owner import owner
from nbdebug.runs.record.json_values import to_json_value
from nbdebug.runs.record.run_data import frame_of
from nbdebug.runs.recording.environment import cell_count, cells, environment, git_state


class RunLog:
    """Turns what is new in a History into frames.

    Args:
        about: documents that stay as they are: parameters, model, data, code, environment.

    Attributes:
        ended: set before the last frames are asked for.
    """

    def __init__(self, history: History, key: str, name: str, about: Mapping[str, Any]) -> None:
        self._history, self._about = history, dict(about)
        metrics = self._about.pop("metrics", ())
        self._first = {
            **owner(),
            "key": key,
            "name": name,
            "nbdebug": __version__,
            "metrics": list(metrics),
        }
        self._told: dict[str, Any] = {}
        self._lists: dict[str, Sequence[Any]] = {}
        self._found: dict[str, dict[str, Any]] = {}
        self._gone: list[dict[str, Any]] = []
        self._cells: list[str] = []
        self._run_cells = 0
        self._cursor: Cursor | None = None
        self.ended = False

    def surround(self) -> None:
        """Add machine, versions and the state of git, which takes a moment to find out."""
        about = self._about
        about["environment"] = {**environment(), **about.get("environment", {})}
        about["code"] = {**about.get("code", {}), "git": git_state(Path.cwd())}

    def frames(self, anew: bool = False) -> list[Frame]:
        """What is new since the last time; with `anew` everything."""
        if anew:
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
        return made + [frame_of(part) for part in rows]

    def last(self) -> list[Frame]:
        """The end of a run of which History knows nothing any more."""
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
            "failure": None if status.failure is None else status.failure.title,
        }
        documents = {
            "findings": self._findings(snapshot),
            "checks": [r for r in snapshot.checks if r.status != "not_run"],
        }
        # The run comes first: whose journal it is must be plain from its beginning.
        for name, value in {"run": run, **self._about, **documents}.items():
            if self._told.get(name) != value:
                self._told[name] = value
                # When it was written down says how long a killed run lived.
                told = value | {"seen": now} if name == "run" else value
                yield Frame({"document": name, "value": to_json_value(told)})

    def _findings(self, snapshot: Snapshot) -> list[dict[str, Any]]:
        """Everything that was found so far; what is gone says until when."""
        now = {finding.name: finding for finding in snapshot.findings}
        for name in [name for name in self._found if name not in now]:
            self._gone.append({**self._found.pop(name), "until": snapshot.status.step})
        for name, finding in now.items():
            self._found[name] = _brief(finding)
        return [*self._gone, *self._found.values()]

    def _list(self, name: str, rows: Sequence[Any]) -> Iterator[Frame]:
        """What is new in a list that grows; a row that changed comes again, with all after it."""
        known = self._lists.get(name, ())
        same = 0
        while same < min(len(known), len(rows)) and known[same] is rows[same]:
            same += 1
        if same < len(known) or same < len(rows):
            self._lists[name] = tuple(rows)
            yield Frame(
                {"list": name, "from": same, "rows": [to_json_value(row) for row in rows[same:]]}
            )


def _brief(finding: Finding) -> dict[str, Any]:
    kept = (
        "name", "title", "severity", "since", "value", "threshold", "seen", "why", "because",
        "source", "evidence",
    )  # fmt: skip
    found = {name: getattr(finding, name) for name in kept}
    remedies = [{"text": r.text, "settings": r.settings} for r in finding.remedies]
    return to_json_value({**found, "until": None, "remedies": remedies})  # type: ignore[no-any-return]
