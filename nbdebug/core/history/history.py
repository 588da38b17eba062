"""The door out of the training thread: a bounded store that everyone may read."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from nbdebug.core.history.block import Rows
from nbdebug.core.history.columns import Columns, Positions
from nbdebug.core.history.latest import LatestResults
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import (
    ControlChange,
    Histogram,
    Note,
    Notice,
    Status,
    StepRecord,
)
from nbdebug.core.results.timeline import Branch

if TYPE_CHECKING:
    import pandas as pd


MAX_CHANGES = 10_000
MAX_NOTICES = 200
MAX_NOTES = 1000
MAX_BRANCHES = 20
MAX_BRANCH_POINTS = 500
BRANCH_SERIES = ("loss", "val_loss", "grad_norm", "lr")
WAIT_SLICE_SECONDS = 0.02


@dataclass(frozen=True)
class Cursor:
    """How far a reader of `changed_rows` has come."""

    era: int
    positions: Positions


class History:
    """The numbers of a run, bounded in memory whatever its length.

    Args:
        buckets: most buckets a series may have. The first `buckets` values are kept one
            by one; then neighbours merge (min, max, mean, last, count).

    Attributes:
        begun: when the first step was written down, in seconds since 1970; 0 before.
    """

    def __init__(self, buckets: int = 2048) -> None:
        if buckets < 2:
            raise ValueError(f"buckets must be at least 2, got {buckets}.")
        self.buckets = buckets
        self._changed = threading.Condition(threading.RLock())
        self._version = 0
        self._status = Status()
        self._era = -1
        self._forget()

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

    # The worker writes.

    def append(self, record: StepRecord) -> None:
        """Add the numbers of one step."""
        with self._changed:
            if not self.begun:
                self.begun = time.time()
            self._columns.append(record)
            for histogram in record.histograms:
                self._histograms[histogram.name] = histogram
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
        """Tie a sentence to where training stands; anyone may. ArgumentError when it is none."""
        with self._changed:
            self._notes.append(Note.at(self._status, text))
            self._version += 1

    def set_status(self, status: Status) -> None:
        with self._changed:
            before, self._status = self._status, status
            self._version += 1
            # Waking a thread at every step would cost more than measuring does.
            if before.state != status.state:
                self._changed.notify_all()

    def set_result(self, result: object) -> None:
        """Publish a result; it replaces the last one of its class."""
        with self._changed:
            self._results = self._results.with_result(result)
            self._version += 1

    def drop_result(self, kind: type) -> None:
        """Remove the last result of a class, if there is one."""
        with self._changed:
            self._results = self._results.without(kind)
            self._version += 1

    def rewind(self, step: int, until: int, records: Iterable[StepRecord] = ()) -> None:
        """Go back to where a step is to be made; what came after becomes a branch.

        Args:
            until: the step that training had reached.
            records: of steps before `step`, the oldest first, which fill up what is lost where
                buckets hold earlier and later steps.
        """
        with self._changed:
            copies = (self._columns.copy(n) for n in BRANCH_SERIES if n in self._columns.names)
            later = (copy.part(copy.step >= step) for copy in copies)
            series = {s.name: s.thin(MAX_BRANCH_POINTS) for s in later if len(s)}
            self._branches.append(Branch(step, until, series))
            self._columns.rewind(step, records)
            note = f"Training went back to step {step}."
            for index, change in enumerate(self._changes):
                if change.step >= step and change.status == "applied":
                    self._changes[index] = replace(change, status="undone", note=note)
            self._version += 1

    @property
    def stride(self) -> int:
        """Most steps that one bucket of any series stands for."""
        with self._changed:
            return self._columns.stride

    def clear(self) -> None:
        """Forget everything but the status: a new run begins."""
        with self._changed:
            self._forget()
            self._version += 1

    # Everyone reads.

    @property
    def status(self) -> Status:
        return self._status

    @property
    def version(self) -> int:
        """Grows with every change; equal versions hold equal content."""
        return self._version

    @property
    def era(self) -> int:
        """How often all was forgotten: another number, another run."""
        return self._era

    @property
    def series(self) -> tuple[str, ...]:
        """Names of all series, in the order in which they were first measured."""
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
        """New rows of all series.

        Args:
            since: what the last call returned; None for all rows.

        Returns:
            The rows, and a cursor to ask from next time. Readers do not affect each other.
        """
        with self._changed:
            known = since.positions if since is not None and since.era == self._era else {}
            rows, positions = self._columns.changed(known)
            return rows, Cursor(self._era, positions)

    def last(self, name: str) -> float:
        """The newest value of a series.

        Raises:
            SeriesError: when the series was never measured.
        """
        with self._changed:
            return self._columns.last(name)

    def measured(self, name: str) -> tuple[int, float]:
        """The step at which a series was measured last, and its value; (-1, NaN) without one."""
        with self._changed:
            return self._columns.measured(name)

    def wait_until(self, condition: Callable[[Status], bool], timeout: float | None = None) -> bool:
        """Sleep until the status fulfils `condition`; False when `timeout` seconds passed.

        A change of state is seen at once, progress 20 ms late. The thread sleeps in slices: an
        interrupt must get through on every platform.
        """
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not condition(self._status):
                left = (
                    WAIT_SLICE_SECONDS
                    if end is None
                    else min(WAIT_SLICE_SECONDS, end - time.monotonic())
                )
                if left <= 0:
                    return False
                self._changed.wait(left)
            return True

    def snapshot(
        self,
        patterns: Iterable[str] = ("*",),
        recent: tuple[Iterable[str], int] = ((), 0),
        before: int | None = None,
    ) -> Snapshot:
        """An immutable copy.

        Args:
            patterns: names or shell patterns (`grad_norm/*`) of the series to copy whole;
                of the others only the last value comes along. `samples` and `epoch`
                always come, since positions are computed from them.
            recent: patterns of series of which so many of the newest buckets come.
            before: a step; series come without what was measured at it or later.
        """
        wanted = {*patterns, "samples", "epoch"}
        with self._changed:
            columns = self._columns
            newest = columns.matching(set(recent[0]))
            parts = {name: columns.copy(name, recent[1], before) for name in newest}
            whole = {name: columns.copy(name, before=before) for name in columns.matching(wanted)}
            return Snapshot(
                status=self._status,
                latest=columns.latest(),
                series=parts | whole,
                histograms=dict(self._histograms),
                changes=tuple(self._changes),
                notices=tuple(self._notices),
                notes=tuple(self._notes),
                results=self._results,
                branches=tuple(self._branches),
                version=self._version,
            )

    def frame(self, series: str | Iterable[str] | None = None) -> pd.DataFrame:
        """The series as a DataFrame, one row a step, one column a series.

        After `buckets` values a row stands for several steps: it carries the mean, at
        the last step of its bucket. Steps at which a series was not measured are NaN.

        Args:
            series: names to take; all when None.

        Raises:
            SeriesError: when a name was never measured.
        """
        import pandas as pd

        names = [series] if isinstance(series, str) else list(series or self.series)
        with self._changed:
            copies = [self._columns.copy(name) for name in names]
        columns = {c.name: pd.Series(c.mean, index=c.step, dtype=float) for c in copies}
        frame = pd.DataFrame(columns, columns=names)
        frame.index.name = "step"
        return frame.sort_index()

    def changes_frame(self) -> pd.DataFrame:
        """The control changes as a DataFrame, one row a change."""
        import pandas as pd

        rows = [asdict(change) for change in self.changes]
        return pd.DataFrame(rows, columns=list(ControlChange.__dataclass_fields__))
