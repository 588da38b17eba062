"""The training thread: takes commands between steps, makes steps, says where it stands."""

from __future__ import annotations

import contextvars
import threading
import traceback
from collections.abc import Sequence
from typing import Any

from nbdebug.core.commands.commands import (
    HALTING,
    LONG,
    BreakWhen,
    ClearBreak,
    Close,
    CloseCulprits,
    Command,
    DiscardFork,
    KeepFork,
    NameCheckpoint,
    Pause,
    Reestimate,
    Reset,
    Rewind,
    Run,
    SetControl,
    Watch,
)
from nbdebug.core.commands.queue import CommandQueue, Ticket
from nbdebug.core.history.history import History
from nbdebug.core.records import NOT_FINITE, Notice, RunState, Status
from nbdebug.errors import NonFiniteError
from nbdebug.rules._diagnosis import Diagnosis
from nbdebug.training.engine.batchnorm_reestimation import reestimate_statistics
from nbdebug.training.engine.breakpoints import Break
from nbdebug.training.engine.control_set import ControlSet
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.lr_forecast import LrForecast
from nbdebug.training.engine.stop_report import IN_A_ROW
from nbdebug.training.tasks.check_runner import CheckRunner
from nbdebug.training.tasks.runner import TaskRunner
from nbdebug.training.timeline.timeline import Timeline


class Worker:
    """Owns the session: nothing else touches model, optimizer or sampler.

    Attributes:
        error: the exception that stopped the last run, None when it was not stopped so.
    """

    def __init__(
        self,
        loop: Loop,
        settings: ControlSet,
        queue: CommandQueue,
        history: History,
        timeline: Timeline,
        checking: CheckRunner,
        diagnosis: Diagnosis,
    ) -> None:
        self._loop, self._settings, self._queue = loop, settings, queue
        self._history, self._timeline = history, timeline
        self._checking = checking
        self._tasks = TaskRunner(loop, settings, history, checking, timeline, diagnosis)
        self._state: RunState = "paused"
        self._goal: int | None = None
        self._epoch_goal: float | None = None
        self._handled = 0
        self._failure: Notice | None = None
        self.error: Exception | None = None
        self._forecasts = LrForecast(loop.session, history)
        self._forecasts.publish()
        self._say()
        # The context of the cell: what the thread sends belongs to that cell's output.
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._live,), name="nbdebug-training", daemon=True
        )
        self._thread.start()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end of the thread."""
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def _live(self) -> None:
        while self._state != "closed":
            try:
                tickets = self._queue.drain(wait=self._state == "paused")
                if tickets:
                    self._handle(tickets)
                if self._state == "running":
                    self._one_step()
            except Break as stop:
                self._break(str(stop))
            except Exception as error:
                self._stop_for(error)
            self._say()
        self._timeline.close()
        self._loop.session.sampler.close()

    def _handle(self, tickets: Sequence[Ticket]) -> None:
        self._handled = tickets[-1].number
        self._aim()
        last = {
            _target(ticket.command): ticket.number
            for ticket in tickets
            if isinstance(ticket.command, SetControl)
        }
        for ticket in tickets:
            command = ticket.command
            if isinstance(command, SetControl):
                if last[_target(command)] == ticket.number:
                    self._tasks.change(command)
                else:
                    self._settings.supersede(command)
            elif isinstance(command, LONG):
                self._carry_out(ticket, tickets[tickets.index(ticket) :])
            else:
                self._act(command)
        # Opening a tab changes nothing that a forecast is made of.
        if not all(isinstance(ticket.command, Watch) for ticket in tickets):
            self._forecasts.publish()

    def _carry_out(self, ticket: Ticket, later: Sequence[Ticket]) -> None:
        """What takes its time; a command that halts ends it, also one that waits already."""
        stop = any(isinstance(other.command, HALTING) for other in later)
        done = self._tasks.run(ticket, lambda: stop or self._queue.halting())
        command = ticket.command
        if not done or not isinstance(command, Rewind | KeepFork):
            return
        self._pause()
        self._failure = self.error = None
        self._forecasts.forget()
        if isinstance(command, KeepFork):
            self._goal = command.fork.step + command.fork.steps
            self._state = "running"

    def result(self, number: int) -> Any:
        """What came of the command with this number, or the exception it raised."""
        return self._tasks.result(number)

    def _aim(self) -> None:
        """Tell schedules that begin now how long the run goes on."""
        session = self._loop.session
        if self._goal is not None:
            session.aim(max(self._goal - session.step, 0))
        elif self._epoch_goal is not None:
            session.aim(None, max(self._epoch_goal - session.epoch, 0.0))
        else:
            session.aim(None)

    def _act(self, command: Command) -> None:
        session = self._loop.session
        if isinstance(command, Run):
            self._goal = None if command.steps is None else session.step + command.steps
            self._epoch_goal = None if command.epochs is None else session.epoch + command.epochs
            self._aim()
            self._failure = self.error = None
            self._state = "running"
        elif isinstance(command, Pause):
            self._pause()
        elif isinstance(command, Close):
            # An exception keeps the frames it went through alive, loader and all.
            self._state, self.error = "closed", None
        elif isinstance(command, Watch):
            self._loop.measuring.watch(command.probe, command.on)
        elif isinstance(command, Reestimate):
            self._timeline.take()
            if reestimate_statistics(command, session, self._settings):
                self._timeline.done(command)
        elif isinstance(command, NameCheckpoint):
            self._timeline.name(command.name)
        elif isinstance(command, BreakWhen):
            self._loop.breakpoints.add(command.condition)
        elif isinstance(command, ClearBreak):
            self._loop.breakpoints.remove(command.name)
        elif isinstance(command, DiscardFork):
            self._history.set_fork(None)
        elif isinstance(command, CloseCulprits):
            self._history.set_culprits(None)
        elif isinstance(command, Reset):
            self._pause()
            self._failure = self.error = None
            self._timeline.begin_anew()
            self._history.clear()
            self._timeline.show()
            self._aim()
            self._forecasts.forget()
            self._checking.announce()

    def _pause(self) -> None:
        self._state, self._goal, self._epoch_goal = "paused", None, None

    def _one_step(self) -> None:
        if not self._reached():
            self._timeline.before_step()
            self._loop.step()
            self._timeline.after_step()
            self._forecasts.keep()
        if self._reached():
            self._pause()

    def _reached(self) -> bool:
        session = self._loop.session
        if self._goal is not None and session.step >= self._goal:
            return True
        return self._epoch_goal is not None and session.epoch >= self._epoch_goal

    def _break(self, condition: str) -> None:
        step = self._loop.session.step
        self._pause()
        self._timeline.mark("break", condition)
        text = (
            "Training is paused before the update of this step: dbg.batch, dbg.outputs and "
            "dbg.gradients hold what it has come to. Step or Run makes the update and goes on."
        )
        self._failure = Notice(step, "info", f"Break: {condition}", text)

    def _leave_out(self, error: NonFiniteError) -> bool:
        """Go on without this batch, when that is wanted and helps."""
        step = self._loop.session.step
        before = self._timeline.journal.left_out(step)
        if not self._loop.session.leaving_out or before + 1 >= IN_A_ROW:
            return False
        self._timeline.done(None)
        self._history.add_notice(Notice(step, "warning", "A batch was left out", str(error)))
        return True

    def _stop_for(self, error: Exception) -> None:
        if isinstance(error, NonFiniteError) and self._leave_out(error):
            return
        self._pause()
        self.error = error
        step = self._loop.session.step
        if isinstance(error, NonFiniteError):
            self._timeline.done(None)
            self._tasks.look_back()
            self._failure = Notice(step, "error", NOT_FINITE, str(error))
            return
        title = f"Stopped at step {step}: {type(error).__name__}"
        text = f"{error} — Training is paused. Mend it in another cell, then press Run."
        trace = "".join(traceback.format_exception(error))
        self._failure = Notice(step, "error", title, text, trace)

    def _say(self) -> None:
        session = self._loop.session
        self._history.set_status(
            Status(
                state=self._state,
                step=session.step,
                samples=session.samples,
                epoch=session.epoch,
                goal=self._goal,
                handled=self._handled,
                failure=self._failure,
            )
        )


def _target(command: SetControl) -> tuple[str, ...]:
    """What a command sets: a control, or some of its layers."""
    layers = command.value if isinstance(command.value, dict) else ()
    return command.control, *sorted(layers)
