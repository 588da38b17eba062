"""The only place of the tests that reaches into the objects of nbdebug.

Whoever moves a private part adapts this file, and no test.
"""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

import nbdebug as nbd
from nbdebug.checks._context import CheckContext
from nbdebug.checks._loss_tape import LossTape, loss_tape
from nbdebug.checks._model_calls import watched_step
from nbdebug.checks.base import Check
from nbdebug.core.commands.base import Command
from nbdebug.core.commands.queue import CommandQueue, Ticket
from nbdebug.core.history.block import MAX_PENDING_ROWS, Block
from nbdebug.core.history.history import History
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.dashboard.dashboard import Dashboard
from nbdebug.debugger.client import Client
from nbdebug.debugger.dashboard_api import DashboardApi
from nbdebug.debugger.lifetime import Lifetime
from nbdebug.panels.base import Panel
from nbdebug.runs.record import file_lock
from nbdebug.runs.record.journal import Journal
from nbdebug.runs.recording.recorder import Recorder
from nbdebug.runs.report import page
from nbdebug.runs.store.database import preparation
from nbdebug.runs.store.runs_tab import RunsTabService
from nbdebug.training.data.index_sampler import IndexSampler
from nbdebug.training.engine.control_set import ControlSet
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


def controls_of(dbg: nbd.Debugger) -> ControlSet:
    """All controls of a training."""
    return dbg._parts.training.controls


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
    return dbg._parts.worker.thread


def put_together(dbg: nbd.Debugger, *commands: Command) -> list[Ticket]:
    """Put commands that the training thread takes in one go."""
    queue = queue_of(dbg)
    with queue._ready:
        return [queue.put(command) for command in commands]


def break_the_thread(dbg: nbd.Debugger, error: BaseException, patch: pytest.MonkeyPatch) -> None:
    """The training thread itself fails, once."""
    worker, original = dbg._parts.worker, dbg._parts.worker._answer

    def broken() -> None:
        patch.setattr(worker, "_answer", original)
        raise error

    patch.setattr(worker, "_answer", broken)


def lifetime_of(dbg: nbd.Debugger) -> Lifetime:
    """What ends the threads and widgets of a training."""
    return dbg._lifetime


def client_of(dbg: nbd.Debugger) -> Client:
    """The way in for commands."""
    return dbg._client


def requests_of(dbg: nbd.Debugger) -> DashboardApi:
    """What takes requests of the dashboard, without a dashboard."""
    return DashboardApi(dbg._client, dbg.history, dbg._parts.runs)


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


class LossTapes(Check):
    """Keeps the tape of the loss of a step, or the reason why there is none, and its batch."""

    name = "loss_tapes"
    step = 2
    title = "Tapes"
    source = "none"

    def __init__(self) -> None:
        self.found: list[tuple[LossTape | str, Any]] = []

    def examine(self, context: CheckContext) -> Outcome:
        step = watched_step(context)
        tape = step if isinstance(step, str) else loss_tape(context, step)
        self.found.append((tape, context.batch))
        return Outcome("pass", "")


# Its timeline


def timeline_of(dbg: nbd.Debugger) -> Timeline:
    """Checkpoints and the way back."""
    return dbg._parts.training.timeline


def checkpoints_of(dbg: nbd.Debugger) -> list[int]:
    """Steps of the checkpoints that are kept."""
    return [checkpoint.step for checkpoint in timeline_of(dbg).pool.checkpoints]


def checkpoint_bytes_of(dbg: nbd.Debugger) -> int:
    """Bytes of all checkpoints."""
    return timeline_of(dbg).pool.size


def let_a_checkpoint_be_due(dbg: nbd.Debugger, *, on_disk: bool = False) -> None:
    """The next step takes a checkpoint; with `on_disk` the next one is also written."""
    if on_disk:
        timeline_of(dbg)._file._next = 0.0
    else:
        timeline_of(dbg)._clock.next = 0.0


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


def record_as(key: str, patch: pytest.MonkeyPatch) -> None:
    """Every run is recorded under this key."""
    begin = Recorder._begin_run

    def begun(recorder: Recorder) -> None:
        begin(recorder)
        recorder.key = key

    patch.setattr(Recorder, "_begin_run", begun)


def without_locks(patch: pytest.MonkeyPatch) -> None:
    """Be on a file system that knows no locks."""

    def unsupported(descriptor: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    patch.setattr(file_lock, "_lock", unsupported)


def history_of_recorder(recorder: Recorder) -> History:
    """What a recorder writes down."""
    return recorder._history


def serve_from(tab: RunsTabService, library: Any) -> None:
    """Let the tab Runs read from something else than its store."""
    tab._run_store = library


MADE_BY_MLFLOW = preparation._create


def make_stores_from(file: Callable[[], Path] | None, patch: pytest.MonkeyPatch) -> None:
    """New databases are copies of a file, or (None) made by MLflow, which takes seconds."""
    made = MADE_BY_MLFLOW if file is None else lambda fresh: shutil.copyfile(file(), fresh)
    patch.setattr(preparation, "_create", made)


def look_while_stores_are_made(look: Callable[[Path], None], patch: pytest.MonkeyPatch) -> None:
    """`look` at each database before MLflow's tables are in it, and with them."""
    create = preparation._create

    def looked(fresh: Path) -> None:
        look(fresh)
        create(fresh)
        look(fresh)

    patch.setattr(preparation, "_create", looked)


def file_of(journal: Journal) -> BinaryIO:
    """The open file of a journal."""
    return journal._file


def write_into(journal: Journal, file: Any, patch: pytest.MonkeyPatch) -> None:
    """Let a journal write into another file."""
    patch.setattr(journal, "_file", file)


def fill(block: Block) -> None:
    """A whole waiting buffer at once: what that many calls of `append` come to."""
    block._waiting = MAX_PENDING_ROWS
    block.fold()


# The dashboard


def open_view(dashboard: Dashboard, tab: str = "Findings") -> None:
    """A browser's view opens and shows a tab."""
    hello = {"kind": "hello", "view": tab, "tab": tab}
    dashboard.view._handle_custom_msg(hello, [])


def say(widget: Any, content: Any) -> None:
    """Send what the view of a widget sends in the browser."""
    widget._handle_custom_msg(content, [])


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


def press(dashboard: Dashboard, panel: str, label: str) -> None:
    """Press a button that a panel shows under its plot, as the browser does."""
    shown = dashboard.view._html_state._now["actions"][panel]["actions"]
    (button,) = (one for one in shown if one["label"] == label)
    asked = {name: button[name] for name in ("command", "fields")}
    dashboard.view._handle_custom_msg({"kind": "ask", "panel": panel, **asked}, [])


def columns_of(dashboard: Dashboard, source: str) -> Any:
    """What the view was given for a data source of Bokeh."""
    return dashboard.view._mirror._wanted[source]


# Pages


def without_bokehjs(patch: pytest.MonkeyPatch) -> None:
    """Pages are made without BokehJS, which takes longer than all the rest of them."""
    patch.setattr(page, "_library", lambda: "")


def break_off_a_message(
    number: int, break_off: Callable[[], None], patch: pytest.MonkeyPatch
) -> None:
    """Call `break_off`, once, in the place of receiving a message of a DataLoader's worker."""
    receive, received, done = _MultiProcessingDataLoaderIter._try_get_data, 0, False

    def received_or_broken(self: Any, *arguments: Any) -> Any:
        nonlocal received, done
        if received == number and not done:
            done = True
            break_off()
        found = receive(self, *arguments)
        # Not where none came in time.
        received += found[0]
        return found

    patch.setattr(_MultiProcessingDataLoaderIter, "_try_get_data", received_or_broken)


def tick_in_thread(dashboard: Dashboard) -> None:
    """One turn of the loop of the pump's thread."""
    dashboard.pump._tick_in_thread()


def forget_accelerators() -> None:
    """Forget the state that all Accelerators of a process share."""
    from accelerate import state

    state.AcceleratorState._reset_state(True)
    state.GradientState._reset_state()


def global_hooks() -> int:
    """Number of forward hooks of all modules that torch keeps, with what it notes of them."""
    return len(torch_module._global_forward_hooks) + len(
        torch_module._global_forward_hooks_with_kwargs
    )


def replica(model: nn.Module) -> nn.Module:
    """Copy of a module that shares its weights, as nn.DataParallel makes for each device."""
    copied = cast(nn.Module, model._replicate_for_data_parallel())
    for name, parameter in model.named_parameters(recurse=False):
        setattr(copied, name, parameter)
    return copied
