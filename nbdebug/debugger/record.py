"""What a Debugger writes down of its training, without being asked and on request."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdebug.debugger.timeline import Travelling
from nbdebug.errors import ArgumentError
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.recording.recorder import Recorder
from nbdebug.runs.recording.run_log import RunLog
from nbdebug.runs.store.run import Run
from nbdebug.runs.store.run_store import RunStore, frame_of_rows

if TYPE_CHECKING:
    import pandas as pd


class Documenting(Travelling):
    """The verbs of the record."""

    name: str
    _recorder: Recorder | None
    _about: Mapping[str, Any]

    def note(self, text: str) -> None:
        """Tie a sentence to the step that training stands at; it shows on the plots.

        Raises:
            ArgumentError: it is no text, or longer than 2,000 characters.
        """
        self.history.add_note(text)

    @property
    def record(self) -> Run:
        """The documentation of this training, as far as it has come."""
        if self._recorder is None:
            log = RunLog(self.history, self._key, self.name, self._about)
            log.add_environment()
            bundle = RunData.from_frames(log.frames(everything=True))
        else:
            bundle = self._recorder.bundle()
        return Run(lambda: bundle)

    @cached_property
    def _key(self) -> str:
        """What a training that is not recorded is known by where its run is imported."""
        return uuid.uuid4().hex

    @property
    def runs(self) -> pd.DataFrame:
        """All runs that are kept where this one is; see `nbdebug.runs`.

        Raises:
            ArgumentError: this one is not recorded.
        """
        if self._recorder is None:
            raise ArgumentError(
                "This training is not recorded (runs=None); nbdebug.runs(...) lists others."
            )
        self._recorder.flush()
        return frame_of_rows(RunStore(self._recorder.location).rows())

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write one page of HTML: plots, changes, findings, checklist, notes, environment.

        It needs nothing else: it works without a network.
        """
        return self.record.report(path)
