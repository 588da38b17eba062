"""The only place of the tests that reaches into the objects of nbdebug.

Whoever moves a private part adapts this file, and no test.
"""

from __future__ import annotations

import threading
from typing import Any, BinaryIO, cast

import pytest
import torch

import nbdebug as nbd
from nbdebug.checks._context import CheckContext
from nbdebug.core.commands.queue import CommandQueue
from nbdebug.core.history.block import MAX_PENDING_ROWS, Block
from nbdebug.dashboard.dashboard import Dashboard
from nbdebug.debugger.client import Client
from nbdebug.debugger.dashboard_api import DashboardApi
from nbdebug.panels.base import Panel
from nbdebug.runs.record.journal import Journal
from nbdebug.runs.recording.recorder import Recorder
from nbdebug.runs.report import page
from nbdebug.runs.store.runs_tab import RunsTabService
from nbdebug.training.data.index_sampler import IndexSampler
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.probe_runner import ProbeRunner
from nbdebug.training.engine.session import Session
from nbdebug.training.timeline.timeline import Timeline

# A Debugger


def loop_of(dbg: nbd.Debugger) -> Loop:
    """What makes the steps."""
    return dbg._parts.training.loop


def session_of(dbg: nbd.Debugger) -> Session:
    """Model, optimizer, loss, sampler and device of a training."""
    return loop_of(dbg).session


def optimizer_of(dbg: nbd.Debugger) -> torch.optim.Optimizer:
    """The optimizer in force."""
    return session_of(dbg).optimizer


def probes_of(dbg: nbd.Debugger) -> ProbeRunner:
    """What runs the probes."""
    return loop_of(dbg).probes


def queue_of(dbg: nbd.Debugger) -> CommandQueue:
    """Where commands are put, as the dashboard does."""
    return dbg._parts.queue


def thread_of(dbg: nbd.Debugger) -> threading.Thread:
    """The training thread."""
    return dbg._parts.worker._thread


def client_of(dbg: nbd.Debugger) -> Client:
    """The way in for commands."""
    return dbg._parts.client


def requests_of(dbg: nbd.Debugger) -> DashboardApi:
    """What takes requests of the dashboard, without a dashboard."""
    return DashboardApi(dbg._parts.client, dbg.history, dbg._parts.runs)


def runs_tab_of(dbg: nbd.Debugger) -> RunsTabService:
    """What serves the tab Runs of a training that is recorded."""
    assert dbg._parts.runs is not None
    return dbg._parts.runs


def recorder_of(dbg: nbd.Debugger) -> Recorder:
    """What writes a training down."""
    assert dbg._parts.recorder is not None
    return dbg._parts.recorder


# A check


def bare_check_context() -> CheckContext:
    """A context without a training, which nobody halts."""
    context = object.__new__(CheckContext)
    context._halting = lambda: False
    return context


# Its timeline


def timeline_of(dbg: nbd.Debugger) -> Timeline:
    """Checkpoints and the way back."""
    return dbg._parts.training.timeline


def checkpoints_of(dbg: nbd.Debugger) -> list[int]:
    """Steps of the checkpoints that are kept."""
    return [checkpoint.step for checkpoint in timeline_of(dbg)._pool.checkpoints]


def checkpoint_bytes_of(dbg: nbd.Debugger) -> int:
    """Bytes of all checkpoints."""
    return timeline_of(dbg)._pool.size


def let_a_checkpoint_be_due(dbg: nbd.Debugger, *, on_disk: bool = False) -> None:
    """The next step takes a checkpoint; with `on_disk` the next one is also written."""
    if on_disk:
        timeline_of(dbg)._file._next = 0.0
    else:
        timeline_of(dbg)._next = 0.0


def order_of(indices: IndexSampler) -> tuple[int, int, bytes, bytes]:
    """Where a sampler stands: epoch, place, order, and the state of its generator."""
    order, drawn = indices._order.numpy(), indices._generator.get_state().numpy()
    return indices.epoch, indices._position, order.tobytes(), drawn.tobytes()


# The record


def break_recording(error: Exception, patch: pytest.MonkeyPatch) -> None:
    """Every recorder raises when it writes."""

    def broken(recorder: Recorder) -> None:
        raise error

    patch.setattr(Recorder, "_write", broken)


def serve_from(tab: RunsTabService, library: Any) -> None:
    """Let the tab Runs read from something else than its store."""
    tab._run_store = library


def file_of(journal: Journal) -> BinaryIO:
    """The open file of a journal."""
    return cast(BinaryIO, journal._file)


def write_into(journal: Journal, file: Any, patch: pytest.MonkeyPatch) -> None:
    """Let a journal write into another file."""
    patch.setattr(journal, "_file", file)


def fill(block: Block) -> None:
    """A whole waiting buffer at once: what that many calls of `append` come to."""
    block._waiting = MAX_PENDING_ROWS
    block.fold()


# The dashboard


def panels_of(dashboard: Dashboard) -> list[Panel]:
    """The panels that are drawn."""
    return dashboard.pump._panels


def panel_of(dashboard: Dashboard, name: str) -> Any:
    """One of them."""
    return next(panel for panel in panels_of(dashboard) if panel.name == name)


def widget_of(dashboard: Dashboard, control: str) -> Any:
    """The widget of a control."""
    return dashboard.form._widgets[control]


def note_of(dashboard: Dashboard, panel: str) -> str:
    """What the view says beside a panel."""
    return str(dashboard.view._html_state._now["notes"][panel])


def columns_of(dashboard: Dashboard, source: str) -> Any:
    """What the view was given for a data source of Bokeh."""
    return dashboard.view._mirror._wanted[source]


# Pages


def without_bokehjs(patch: pytest.MonkeyPatch) -> None:
    """Pages are made without BokehJS, which takes longer than all the rest of them."""
    patch.setattr(page, "_library", lambda: "")
