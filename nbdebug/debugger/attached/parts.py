"""Parts of a training whose model is in another process: what can be had of it from here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from os import PathLike
from typing import Any, NoReturn, cast

import torch
from torch import nn

from nbdebug.core.results.findings import Findings
from nbdebug.core.results.timeline import ReplayResult
from nbdebug.debugger.client import Client
from nbdebug.debugger.record import LiveRun, Recording
from nbdebug.debugger.session import DebuggerSession
from nbdebug.debugger.timeline import DebuggerTimeline
from nbdebug.elsewhere.link import Link
from nbdebug.errors import ArgumentError, ElsewhereError
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.record.run_record import RunRecord
from nbdebug.runs.store.run_store import RunStore
from nbdebug.runs.store.run_table import frame_of_rows

# Findings may wait for checks, and a record is read from disk.
SLOW_SECONDS = 120.0


def elsewhere(what: str, link: Link, instead: str = "") -> NoReturn:
    """Raise ElsewhereError for something that cannot be had from here."""
    place = f"in process {link.entry.process}, where the training is"
    raise ElsewhereError(f"Attached: {what} {place}. {instead}".rstrip())


def slow(link: Link, what: str) -> Any:
    """Ask for what takes a moment, and wait for it."""
    return link.begin("begin", what=what).result(SLOW_SECONDS)


class FarRules:
    """The rules of the training, which are evaluated there."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def look(self) -> Findings:
        """Evaluate the rules now."""
        return cast(Findings, slow(self._link, "findings"))


class FarSession(DebuggerSession):
    """Progress of a training in another process, and inspections that are made there."""

    def __init__(self, client: Client, link: Link) -> None:
        self._client, self._link = client, link

    @property
    def model(self) -> nn.Module:
        elsewhere("the model lives", self._link, "dbg.network() and dbg.summary() look inside.")

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        elsewhere("the optimizer lives", self._link, "dbg.controls has its settings.")

    @property
    def parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        elsewhere("the parameters live", self._link, "dbg.summary() lists their numbers.")

    @property
    def device(self) -> torch.device:
        elsewhere("the device is", self._link)

    @property
    def step(self) -> int:
        return self._link.history.status.step

    @property
    def samples(self) -> int:
        return self._link.history.status.samples

    @property
    def epoch(self) -> float:
        return self._link.history.status.epoch


class FarTimeline(DebuggerTimeline):
    """Timeline of a training in another process."""

    def __init__(self, client: Client, link: Link) -> None:
        super().__init__(client, link.history, FarRules(link))

    def script(
        self,
        path: str | PathLike[str],
        *,
        model: str | None = None,
        data: Callable[[], Any] | None = None,
    ) -> None:
        """Write a plain PyTorch program; see `Debugger.script`. Paths begin in this folder."""
        super().script(os.path.abspath(path), model=model, data=data)


class FarRecording(Recording):
    """Record of a training in another process; its data come from there, files are written here."""

    def __init__(self, link: Link) -> None:
        self._link = link

    @property
    def run(self) -> LiveRun:
        """The run so far."""
        data = cast(RunData, slow(self._link, "record"))
        return LiveRun(lambda: data, self.note, self.repeat, self._link.history)

    def note(self, text: str) -> None:
        """Attach a sentence to the current step; the plots show it."""
        self._link.history.add_note(text)

    @property
    def runs(self) -> Any:
        """All runs in the store of this one; see `nbdebug.runs`."""
        store = self._link.about["store"]
        if store is None:
            raise ArgumentError(
                "This training is not recorded (runs=None); nbdebug.runs(...) lists other runs."
            )
        return frame_of_rows(RunStore(store[0]).rows())

    def repeat(self, run: RunRecord) -> ReplayResult:
        """Refuse: a run is repeated where the training is built."""
        elsewhere("a run is repeated", self._link, "Build a Debugger here to repeat one.")
