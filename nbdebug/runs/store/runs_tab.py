"""Service of the Runs tab, in its own thread."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

from nbdebug.core.history.history import History
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Notice, Status
from nbdebug.core.results.run_list import RunList, RunRequest, RunRow
from nbdebug.core.series import Series
from nbdebug.errors import ArgumentError, NbdebugError
from nbdebug.plots.columns import MAX_ROWS
from nbdebug.runs.record.location import StoreLocation
from nbdebug.runs.store.row import Row
from nbdebug.runs.store.run_store import RunStore

REFRESH_SECONDS, MAX_TIME_SHARE = 5.0, 0.05
CURVE_SERIES = ("loss", "val_loss")
SHOWN_METRICS = (*CURVE_SERIES, "accuracy", "val_accuracy")
MAX_COMPARED_RUNS = 7
JOIN_TIMEOUT_SECONDS = 2.0
Curves = Mapping[str, Series]


class RunsTabService:
    """Handles requests of the Runs tab on the store and publishes the run list in History.

    MLflow takes seconds to open and its database may hang, so neither training nor the
    dashboard waits for it. The thread starts with the first request.

    Args:
        location: of the store.
        key: of this training in its journal.
    """

    def __init__(self, history: History, location: StoreLocation, key: str) -> None:
        self._history, self._key = history, key
        self._run_store = RunStore(location, self._tell)
        self._requests: SimpleQueue[RunRequest | None] = SimpleQueue()
        self.run_list = self._shown = RunList(store=location.name)
        self._rows: dict[str, Row] = {}
        self._changes: dict[str, list[float]] = {}
        self._due = 0.0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.version = 0

    def ask(self, request: RunRequest) -> None:
        """Put a request in the queue; from any thread, returns at once."""
        with self._lock:
            if self._closed:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._live, name="nbdebug-runs", daemon=True)
                self._thread.start()
            self._requests.put(request)

    def look_when_due(self) -> None:
        """Request a new list if the last one is some seconds old."""
        if time.monotonic() >= self._due:
            self._due = math.inf
            self.ask(RunRequest("list"))

    def close(self, wait: bool = True) -> None:
        """End the thread. May be called twice."""
        with self._lock:
            self._closed = True
            self._requests.put(None)
            thread = self._thread
        if wait and thread is not None and thread is not threading.current_thread():
            thread.join(JOIN_TIMEOUT_SECONDS)

    # In the thread of the service.

    def _live(self) -> None:
        while (request := self._requests.get()) is not None:
            try:
                self._answer(request)
            except Exception as error:
                self._refuse(request, error)
            self.run_list = self._shown
            self.version += 1

    def _answer(self, request: RunRequest) -> None:
        request.check()
        if request.act == "list":
            self._read()
            return
        {
            "find": lambda: self._show(find=request.text, page=0),
            "page": lambda: self._show(page=request.page),
            "open": lambda: self._show(opened=self._toggled("opened", request.run), asked=""),
            "ask": lambda: self._show(asked=self._toggled("asked", request.run)),
            "compare": lambda: self._compare(request.run),
        }.get(request.act, lambda: self._change(request))()
        if self._shown.state != "failed":
            self._show(error="")

    def _refuse(self, request: RunRequest, error: Exception) -> None:
        ours = isinstance(error, NbdebugError)
        self._show(error=str(error) if ours else f"{type(error).__name__}: {error}")
        if request.act == "list":
            self._show(state="failed")
            self._due = time.monotonic() + REFRESH_SECONDS

    def _tell(self, title: str, text: str) -> None:
        step = self._history.status.step
        self._history.add_notice(Notice(step, "warning", title, f"{text} Training continues."))

    def _show(self, **parts: Any) -> None:
        self._shown = replace(self._shown, **parts)

    def _toggled(self, what: str, run: str) -> str:
        return "" if getattr(self._shown, what) == run else run

    def _read(self) -> None:
        """Read the list again, and the curves of runs that are still running."""
        start = time.monotonic()
        before = self._shown
        self._rows = {row.key or row.id: row for row in self._run_store.rows()}
        snapshot = self._history.snapshot(())
        rows = tuple(self._row(run, row, snapshot) for run, row in self._rows.items())
        self._show(rows=rows, state="ready", error="" if before.state == "failed" else before.error)
        over = {row.id for row in before.rows if not row.live}
        self._draw(before.chosen, {run: c for run, c in before.curves.items() if run in over})
        end = time.monotonic()
        # The first time includes opening the store, so it is not counted.
        took = 0.0 if before.state == "opening" else end - start
        self._due = end + max(REFRESH_SECONDS, took / MAX_TIME_SHARE)

    def _row(self, run: str, row: Row, snapshot: Snapshot) -> RunRow:
        """Row of the Runs tab; for this training with its current numbers."""
        this = row.key != "" and row.key == self._key
        status = snapshot.status
        now = time.time() if row.status == "running" or this else row.started
        return RunRow(
            id=run,
            name=row.name,
            status=_status(status) if this else row.status,
            started=row.started,
            seconds=(row.ended or now) - row.started if row.started else None,
            steps=status.step if this else row.steps,
            parameters=row.parameters,
            metrics={
                name: float(value)
                for name, value in (snapshot.latest if this else row.metrics).items()
                if name in SHOWN_METRICS
            },
            tags=row.tags,
            this=this,
            stored=row.id != row.key,
        )

    def _compare(self, run: str) -> None:
        chosen = self._shown.chosen
        if run in chosen:
            self._draw(tuple(one for one in chosen if one != run), self._shown.curves)
            return
        if len(chosen) >= MAX_COMPARED_RUNS:
            raise ArgumentError(
                f"At most {MAX_COMPARED_RUNS} runs are compared here; nbdebug.compare takes more."
            )
        self._draw((*chosen, run), self._shown.curves)

    def _draw(self, chosen: tuple[str, ...], known: Mapping[str, Curves]) -> None:
        """Show the loss curves of the chosen runs; those of this training come from History."""
        curves: dict[str, Curves] = {}
        rows = [row for row in map(self._shown.row, chosen) if row is not None]
        for row in rows:
            if not row.this:
                curves[row.id] = known.get(row.id) or self._curves(row.id)
        changes = {run: self._changes[run] for run in curves if run in self._changes}
        self._show(chosen=tuple(row.id for row in rows), curves=curves, changes=changes)

    def _curves(self, run: str) -> Curves:
        bundle = self._run_store.run(self._rows[run]).bundle
        series, self._changes[run] = bundle.series, bundle.change_steps
        return {name: series[name].thin(MAX_ROWS) for name in CURVE_SERIES if name in series}

    def _change(self, request: RunRequest) -> None:
        """Apply a change to a run in the store, and read the list again."""
        row = self._shown.row(request.run)
        if row is None:
            raise ArgumentError("This run does not exist any more.")
        if not row.stored:
            raise ArgumentError("This run is not in the store yet; try again in some seconds.")
        store, run = self._run_store.store, self._rows[row.id].id
        name, value = request.tag
        if request.act == "rename":
            store.rename(run, request.text)
        elif request.act == "tag":
            store.tag(run, name, value)
        elif request.act == "untag":
            store.tag(run, name, None)
        elif row.live:
            raise ArgumentError("A run that is still running cannot be deleted.")
        elif self._shown.asked != row.id:
            raise ArgumentError("Deleting a run needs a second click to confirm.")
        else:
            store.delete(run)
        self._show(asked="")
        self._read()


def _status(status: Status) -> str:
    """Status of this training."""
    return "stopped" if status.failure is not None else status.state
