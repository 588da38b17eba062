"""`dbg.record`: the run of a training as far as it has come, and what writes to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from nbdebug.core.commands.running import Run as RunSteps
from nbdebug.core.results.timeline import ReplayResult
from nbdebug.debugger.assembly import Parts
from nbdebug.debugger.client import answer
from nbdebug.errors import ArgumentError
from nbdebug.runs.compare.rerun import changes_to_repeat, compare_records
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.record.run_record import RunRecord
from nbdebug.runs.recording.run_log import RunLog
from nbdebug.runs.store.run import Run
from nbdebug.runs.store.run_store import RunStore, frame_of_rows

if TYPE_CHECKING:
    import pandas as pd


class LiveRun(Run):
    """The run of a Debugger, read when it is asked for; `dbg.record` again is up to date."""

    def __init__(
        self, read: Callable[[], RunData], note: Callable[[str], None],
        repeat: Callable[[RunRecord], ReplayResult],
    ) -> None:  # fmt: skip
        super().__init__(read)
        self._note, self._repeat = note, repeat

    def note(self, text: str) -> None:
        """Attach a sentence to the current step; the plots show it.

        Raises:
            ArgumentError: it is no text, or longer than 2,000 characters.
        """
        self._note(text)

    def repeat(self, run: RunRecord) -> ReplayResult:
        """Train as a recorded run was trained; see `Debugger.repeat`."""
        return self._repeat(run)


class Recording:
    """Reads and writes the record of one training."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @cached_property
    def _key(self) -> str:
        """Key for exporting a run that is not recorded."""
        return uuid4().hex

    @property
    def run(self) -> LiveRun:
        """The run as far as it has come."""
        return LiveRun(self._read(), self.note, self.repeat)

    def note(self, text: str) -> None:
        """Attach a sentence to the current step; the plots show it.

        Raises:
            ArgumentError: it is no text, or longer than 2,000 characters.
        """
        self._parts.history.add_note(text)

    def report(self, path: str | PathLike[str]) -> Path:
        """Write one page of HTML: plots, changes, findings, checklist, notes, environment.

        The page needs nothing else: it works without a network.
        """
        return self.run.report(path)

    @property
    def runs(self) -> pd.DataFrame:
        """All runs that are kept where this one is; see `nbdebug.runs`.

        Raises:
            ArgumentError: this one is not recorded.
        """
        recorder = self._parts.recorder
        if recorder is None:
            raise ArgumentError(
                "This training is not recorded (runs=None); nbdebug.runs(...) lists others."
            )
        recorder.flush()
        return frame_of_rows(RunStore(recorder.location).rows())

    def repeat(self, run: RunRecord) -> ReplayResult:
        """Train as a recorded run was trained: its changes at their steps, to its last step.

        Build this Debugger as that one was: `Debugger(model, data, loss_fn, **run.settings)`, the
        model with the same initial weights. `equal` of the result is True where each loss and
        gradient norm that both records still hold one by one is the same to the bit.

        Raises:
            ArgumentError: training has begun already, the initial weights differ, or a change is
                no value of a control.
        """
        history, client = self._parts.history, self._parts.client
        mine = self.run
        if history.status.step:
            raise ArgumentError("Training has begun already: repeat a run on a new Debugger.")
        for step, values, why in changes_to_repeat(
            run, mine, self._parts.training.controls.controls
        ):
            if step > history.status.step:
                client.do(RunSteps(steps=step - history.status.step))
            for ticket in client.set(values, why=why):
                answer(ticket)
        return compare_records(run, self.run)

    def _read(self) -> Callable[[], RunData]:
        parts = self._parts
        if parts.recorder is not None:
            data = parts.recorder.bundle()
        else:
            log = RunLog(parts.history, self._key, parts.name, parts.about)
            log.add_environment()
            data = RunData.from_frames(log.frames(everything=True))
        return lambda: data
