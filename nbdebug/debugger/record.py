"""`dbg.record`: the run of a training so far, and the methods that add to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from nbdebug.core.commands.running import Run as RunSteps
from nbdebug.core.history.history import History
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.timeline import ReplayResult
from nbdebug.debugger.assembly import Parts
from nbdebug.debugger.client import Client
from nbdebug.debugger.keywords import refuse_unknown_keywords
from nbdebug.errors import ArgumentError
from nbdebug.runs.compare.rerun import changes_to_repeat, compare_records
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.record.run_record import RunRecord
from nbdebug.runs.recording.run_log import RunLog
from nbdebug.runs.store.run import Run
from nbdebug.runs.store.run_store import RunStore
from nbdebug.runs.store.run_table import frame_of_rows

if TYPE_CHECKING:
    import pandas as pd


class LiveRun(Run):
    """Run of a Debugger, read on access; read `dbg.record` again for newer data."""

    def __init__(
        self, read: Callable[[], RunData], note: Callable[[str], None],
        repeat: Callable[[RunRecord], ReplayResult], history: History,
    ) -> None:  # fmt: skip
        super().__init__(read)
        self._note, self._repeat, self._history = note, repeat, history

    def note(self, text: str) -> None:
        """Attach a sentence to the current step; the plots show it.

        Raises:
            ArgumentError: the note is no text, or longer than 2,000 characters.
        """
        self._note(text)

    def repeat(self, run: RunRecord) -> ReplayResult:
        """Repeat a recorded run; see `Debugger.repeat`."""
        return self._repeat(run)

    def _looks(self) -> Snapshot:
        return self._history.snapshot(())


@refuse_unknown_keywords
class Recording:
    """Reader and writer of the record of one training."""

    def __init__(self, parts: Parts, client: Client) -> None:
        self._parts, self._client = parts, client

    @cached_property
    def _key(self) -> str:
        """Key for exporting a run that is not recorded."""
        return uuid4().hex

    @property
    def run(self) -> LiveRun:
        """The run so far."""
        return LiveRun(self._read(), self.note, self.repeat, self._parts.history)

    def note(self, text: str) -> None:
        """Attach a sentence to the current step; the plots show it.

        Raises:
            ArgumentError: the note is no text, or longer than 2,000 characters.
        """
        self._parts.home.check()
        self._parts.history.add_note(text)

    def report(self, path: str | PathLike[str]) -> Path:
        """Write one page of HTML: plots, changes, findings, checklist, notes, environment.

        What was looked at inside the network, in the dashboard or by `network`, `explain`,
        `embedding` and `predictions`, is in it as it was at the last look. The page is
        self-contained and works without a network.

        Raises:
            OutputError: nothing can be written there.
        """
        return self.run.report(path)

    @property
    def runs(self) -> pd.DataFrame:
        """All runs in the store of this one; see `nbdebug.runs`.

        Raises:
            ArgumentError: this training is not recorded.
        """
        self._parts.home.check()
        recorder = self._parts.recorder
        if recorder is None:
            raise ArgumentError(
                "This training is not recorded (runs=None); nbdebug.runs(...) lists other runs."
            )
        recorder.flush()
        return frame_of_rows(RunStore(recorder.location).rows())

    def repeat(self, run: RunRecord) -> ReplayResult:
        """Repeat a recorded run: make its changes at their steps, up to its last step.

        Build this Debugger with the settings of the run and the same initial weights:
        `Debugger(model, data, loss_fn, **run.settings)`. `equal` of the result is True if every
        loss and gradient norm that both records hold for a single step is equal to the bit.

        Raises:
            ArgumentError: training has already begun, or the initial weights differ.
            ControlValueError: a change is no valid value of a control.
        """
        history, client = self._parts.history, self._client
        mine = self.run
        if history.status.step:
            raise ArgumentError("Training has already begun: repeat a run with a new Debugger.")
        for step, values, why in changes_to_repeat(
            run, mine, self._parts.training.controls.controls
        ):
            if step > history.status.step:
                client.do(RunSteps(steps=step - history.status.step))
            client.wait_applied(client.set(values, why=why))
        return compare_records(run, self.run)

    def _read(self) -> Callable[[], RunData]:
        self._parts.home.check()
        data = record_data(self._parts, self._key)
        return lambda: data


def record_data(parts: Parts, key: str = "") -> RunData:
    """All data of a training up to now.

    Args:
        key: of a run that is not recorded.
    """
    # A script asks for no findings before its report.
    parts.judge()
    if parts.recorder is not None:
        return parts.recorder.bundle()
    log = RunLog(parts.history, key or uuid4().hex, parts.name, parts.about)
    log.add_environment()
    return RunData.from_frames(log.frames(everything=True))
