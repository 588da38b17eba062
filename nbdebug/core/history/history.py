"""Bounded store of a run's numbers; the training thread writes, any thread reads."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from nbdebug.core.forked import when_forked
from nbdebug.core.history.block import Rows
from nbdebug.core.history.change_table import change_frame
from nbdebug.core.history.columns import Columns, Positions
from nbdebug.core.history.latest import LatestResults
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.history.undone_changes import mark_undone
from nbdebug.core.history.waiting import Inside, wait_for_status
from nbdebug.core.records import ControlChange, Histogram, Note, Notice, Status, StepRecord
from nbdebug.core.results.timeline import Branch

if TYPE_CHECKING:
    import pandas as pd

MAX_CHANGES, MAX_NOTICES, MAX_NOTES = 10_000, 200, 1000
MAX_BRANCHES, MAX_BRANCH_POINTS = 20, 500
BRANCH_SERIES = ("loss", "val_loss", "grad_norm", "lr")


@dataclass(frozen=True)
class Cursor:
    """Position of a reader of `changed_rows`."""

    era: int
    positions: Positions


class History:
    """Numbers of a run in bounded memory.

    Args:
        buckets: maximum number of buckets per series: of so many values each is kept, then
            neighbours merge (min, max, mean, last, count).

    Attributes:
        begun: time of the first recorded step, in seconds since 1970; 0 before.
        inside: knows the thread that trains, and who may not wait for it.
    """

    def __init__(self, buckets: int = 2048) -> None:
        if buckets < 2:
            raise ValueError(f"buckets must be at least 2, got {buckets}.")
        self.buckets = buckets
        self._changed = threading.Condition(threading.RLock())
        self._version, self._era, self._forked = 0, -1, False
        self._status = Status()
        self.inside = Inside()
        self._forget()
        when_forked(self, History.leave_threads)

    def leave_threads(self) -> None:
        """Make a new lock in a forked child: a thread that held the old one is not there."""
        self._changed, self._forked = threading.Condition(threading.RLock()), True

    def _forget(self) -> None:
        self._era += 1
        self.begun = 0.0
        self._columns = Columns(self.buckets)
        self._results = LatestResults()
        self._histograms: dict[str, Histogram] = {}
        self._changes: deque[ControlChange] = deque(maxlen=MAX_CHANGES)
        self._notices: deque[Notice] = deque(maxlen=MAX_NOTICES)
        self._notes: deque[Note] = deque(maxlen=MAX_NOTES)
        self._branches: deque[Branch] = deque(maxlen=MAX_BRANCHES)

    # Written by the worker.

    def append(self, record: StepRecord) -> None:
        """Add the numbers of one step."""
        with self._changed:
            if not self.begun:
                self.begun = time.time()
            self._columns.append(record)
            self.add_histograms(record.histograms)

    def add_histograms(self, histograms: Iterable[Histogram]) -> None:
        """Add histograms; between two steps too, they are of the weights at their step."""
        with self._changed:
            self._histograms.update({histogram.name: histogram for histogram in histograms})
            self._version += 1

    def add_change(self, change: ControlChange) -> None:
        with self._changed:
            self._changes.append(change)
            self._version += 1

    def add_notice(self, notice: Notice) -> None:
        with self._changed:
            self._notices.append(notice)
            self._version += 1

    def add_note(self, text: str) -> None:
        """Add a note at the current step, from any thread; ArgumentError for an invalid text."""
        with self._changed:
            self._notes.append(Note.at(self._status, text))
            self._version += 1

    def set_status(self, status: Status) -> None:
        with self._changed:
            before, self._status = self._status, status
            self._version += 1
            # Waking a thread at every step would cost more than measuring.
            if before.state != status.state:
                self._changed.notify_all()

    def set_result(self, result: object) -> None:
        """Publish a result in place of the last one of its class."""
        with self._changed:
            self._results = self._results.with_result(result)
            self._version += 1

    def drop_result(self, kind: type) -> None:
        """Remove the last result of a class, if there is one."""
        with self._changed:
            self._results = self._results.without(kind)
            self._version += 1

    def rewind(
        self, step: int, until: int, records: Iterable[StepRecord] = (), kept: int = 0
    ) -> None:
        """Drop the steps from `step` on; they become an abandoned branch.

        Args:
            until: the step that training had reached.
            records: steps before `step`, the oldest first; they restore what is lost where a
                bucket holds earlier and later steps.
            kept: number of changes made at `step` that stay, the first ones.
        """
        with self._changed:
            series = self._columns.later(BRANCH_SERIES, step, MAX_BRANCH_POINTS)
            self._branches.append(Branch(step, until, series))
            self._columns.rewind(step, records)
            self._changes = deque(mark_undone(self._changes, step, kept), MAX_CHANGES)
            self._results = self._results.ended_before(step)
            self._version += 1

    @property
    def stride(self) -> int:
        """Maximum number of steps per bucket of any series."""
        with self._changed:
            return self._columns.stride

    def clear(self, keep_curve: bool = False) -> None:
        """Drop everything but the status; with `keep_curve` the losses become a branch."""
        with self._changed:
            series = self._columns.later(BRANCH_SERIES, 0, MAX_BRANCH_POINTS)
            until = 1 + max((int(one.step[-1]) for one in series.values()), default=0)
            self._forget()
            self._branches.extend([Branch(0, until, series)] if keep_curve and series else [])
            self._version += 1

    # Read by any thread.

    @property
    def still(self) -> AbstractContextManager[bool]:
        """Context in which nobody writes, so that several readings belong together."""
        return self._changed

    @property
    def status(self) -> Status:
        return self._status

    @property
    def version(self) -> int:
        """Counter of all changes; equal versions hold equal content."""
        return self._version

    @property
    def era(self) -> int:
        """Number of times the history was cleared; each run has its own."""
        return self._era

    @property
    def series(self) -> tuple[str, ...]:
        """Names of all series, in the order of their first measurement."""
        with self._changed:
            return tuple(self._columns.names)

    @property
    def changes(self) -> tuple[ControlChange, ...]:
        with self._changed:
            return tuple(self._changes)

    @property
    def notices(self) -> tuple[Notice, ...]:
        with self._changed:
            return tuple(self._notices)

    @property
    def results(self) -> LatestResults:
        """The latest result of each kind: `results.of(ForkResult)`."""
        return self._results

    def changed_rows(self, since: Cursor | None = None) -> tuple[list[Rows], Cursor]:
        """Return the new rows of all series.

        Args:
            since: cursor that the last call returned; None for all rows.

        Returns:
            The rows, and the cursor for the next call. Readers do not affect each other.
        """
        with self._changed:
            known = since.positions if since is not None and since.era == self._era else {}
            rows, positions = self._columns.changed(known)
            return rows, Cursor(self._era, positions)

    def last(self, name: str) -> float:
        """Latest value of a series.

        Raises:
            SeriesError: the series was never measured.
        """
        with self._changed:
            return self._columns.last(name)

    def measured(self, name: str) -> tuple[int, float]:
        """Step and value of the last measurement of a series; (-1, NaN) without one."""
        with self._changed:
            return self._columns.measured(name)

    def wait_until(self, condition: Callable[[Status], bool], timeout: float | None = None) -> bool:
        """Sleep until the status fulfils `condition`; False after `timeout` seconds.

        Also False if the training thread has ended, and at once in a forked child. A change of
        state is noticed at once, progress 20 ms late. The thread sleeps in short slices, so that
        an interrupt gets through.
        """
        timeout = 0.0 if self._forked else timeout
        return wait_for_status(lambda: self._status, condition, self._changed, self.inside, timeout)

    def snapshot(
        self,
        patterns: Iterable[str] = ("*",),
        recent: tuple[Iterable[str], int] = ((), 0),
        before: int | None = None,
    ) -> Snapshot:
        """Copy the history into an immutable Snapshot.

        Args:
            patterns: names or shell patterns (`grad_norm/*`) of the series to copy whole; of the
                others only the last value is. `samples` and `epoch` always are, for positions.
            recent: patterns of series, and the number of their latest buckets to copy.
            before: a step; series are copied without it and later steps.
        """
        wanted = {*patterns, "samples", "epoch"}
        with self._changed:
            columns = self._columns
            names, last = columns.matching(set(recent[0])), recent[1]
            parts = {name: columns.copy(name, last, before) for name in names}
            parts |= columns.copies(columns.matching(wanted), before)
            return Snapshot(
                status=self._status,
                latest=columns.latest(),
                series=parts,
                histograms=dict(self._histograms),
                changes=tuple(self._changes),
                notices=tuple(self._notices),
                notes=tuple(self._notes),
                results=self._results,
                branches=tuple(self._branches),
                version=self._version,
            )

    def frame(self, series: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Return the series as a DataFrame, one row per step, one column per series.

        After `buckets` values a row stands for several steps and holds their mean, at the
        last step of the bucket. Steps without a measurement of a series are NaN.

        Args:
            series: names of the series; None for all.

        Raises:
            SeriesError: a name was never measured.
        """
        import pandas as pd

        names = [series] if isinstance(series, str) else list(series or self.series)
        with self._changed:
            copies = [self._columns.copy(name) for name in names]
        columns = {c.name: pd.Series(c.mean, index=c.step, dtype=float) for c in copies}
        return pd.DataFrame(columns, columns=names).rename_axis("step").sort_index()

    def changes_frame(self) -> pd.DataFrame:
        """Return the control changes as a DataFrame, one row per change."""
        rows = [asdict(change) for change in self.changes]
        return change_frame(rows, tuple(ControlChange.__dataclass_fields__))
