"""The training thread: takes commands between steps, makes steps, says where it stands."""

from __future__ import annotations

import contextvars
import threading
import traceback
from collections import deque
from collections.abc import Sequence

from nbdebug.core.commands import (
    HALTING,
    Close,
    CommandQueue,
    Examine,
    Pause,
    RangeTest,
    Reestimate,
    Reset,
    Run,
    SetControl,
    Stop,
    Summarise,
    Ticket,
    Watch,
)
from nbdebug.core.errors import ClosedError, NonFiniteError
from nbdebug.core.history import History
from nbdebug.core.model_summary import ModelSummary
from nbdebug.core.range_test import LrRangeTest
from nbdebug.core.records import Notice, RunState, Status
from nbdebug.training.beginning import Beginning
from nbdebug.training.checking import Checking
from nbdebug.training.forecasts import Forecasts
from nbdebug.training.loop import Loop
from nbdebug.training.range_test import sweep
from nbdebug.training.reestimation import reestimate_statistics
from nbdebug.training.settings import Settings
from nbdebug.training.summary import summarise
from nbdebug.training.task import Task

Result = LrRangeTest | ModelSummary


class Worker:
    """Owns the session: nothing else touches model, optimizer or sampler.

    Attributes:
        error: the exception that stopped the last run, None when it was not stopped so.
    """

    def __init__(
        self,
        loop: Loop,
        settings: Settings,
        queue: CommandQueue,
        history: History,
        beginning: Beginning,
        checking: Checking,
    ) -> None:
        self._loop, self._settings, self._queue = loop, settings, queue
        self._history, self._beginning = history, beginning
        self._checking = checking
        self._state: RunState = "paused"
        self._goal: int | None = None
        self._epoch_goal: float | None = None
        self._handled = 0
        self._failure: Notice | None = None
        self.error: Exception | None = None
        self._results: deque[tuple[int, Result | Exception]] = deque(maxlen=8)
        self._forecasts = Forecasts(loop.session, history)
        self._forecasts.publish()
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
            except Exception as error:
                self._stop_for(error)
            self._say()
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
                    self._settings.apply(command)
                    self._loop.settings_changed()
                else:
                    self._settings.supersede(command)
            elif isinstance(command, RangeTest | Examine):
                self._try_out(ticket, tickets[tickets.index(ticket) :])
            elif isinstance(command, Summarise):
                self._summarise(ticket.number)
            else:
                self._act(command)
        # Opening a tab changes nothing that a forecast is made of.
        if not all(isinstance(ticket.command, Watch) for ticket in tickets):
            self._forecasts.publish()

    def _try_out(self, ticket: Ticket, later: Sequence[Ticket]) -> None:
        """A range test or checks; a command that halts ends them, also one that waits already."""
        stop = any(isinstance(other.command, HALTING) for other in later)
        command = ticket.command
        if not isinstance(command, RangeTest | Examine):
            return
        with Task(command.control, self._history, lambda: stop or self._queue.halting()) as task:
            if isinstance(command, RangeTest):
                self._range_test(ticket.number, command, task)
            else:
                self._checking.run(command, task)

    def result(self, number: int) -> Result:
        """What came of the command with this number, or the exception it raised."""
        result = dict(self._results).get(number)
        if result is None:
            raise ClosedError("This Debugger was closed before that could begin.")
        if isinstance(result, Exception):
            raise result
        return result

    def _summarise(self, number: int) -> None:
        try:
            self._results.append((number, summarise(self._loop.session)))
        except Exception as error:
            self._results.append((number, error))

    def _range_test(self, number: int, command: RangeTest, task: Task) -> None:
        try:
            found = sweep(self._loop, command, task)
        except Exception as error:
            self._results.append((number, error))
            text = f"{type(error).__name__}: {error}. Everything was put back as it was."
            title = "The learning-rate range test failed"
            self._history.add_notice(Notice(self._loop.session.step, "warning", title, text))
        else:
            self._results.append((number, found))
            self._history.set_range_test(found)

    def _aim(self) -> None:
        """Tell schedules that begin now how long the run goes on."""
        session = self._loop.session
        if self._goal is not None:
            session.aim(max(self._goal - session.step, 0))
        elif self._epoch_goal is not None:
            session.aim(None, max(self._epoch_goal - session.epoch, 0.0))
        else:
            session.aim(None)

    def _act(self, command: Run | Pause | Reset | Watch | Reestimate | Stop | Close) -> None:
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
            reestimate_statistics(command, session, self._settings)
        elif isinstance(command, Reset):
            self._pause()
            self._failure = self.error = None
            self._beginning.restore(self._loop, self._settings, self._history)
            self._aim()
            self._forecasts.forget()
            self._checking.announce()

    def _pause(self) -> None:
        self._state, self._goal, self._epoch_goal = "paused", None, None

    def _one_step(self) -> None:
        if not self._reached():
            self._loop.step()
            self._forecasts.keep()
        if self._reached():
            self._pause()

    def _reached(self) -> bool:
        session = self._loop.session
        if self._goal is not None and session.step >= self._goal:
            return True
        return self._epoch_goal is not None and session.epoch >= self._epoch_goal

    def _stop_for(self, error: Exception) -> None:
        self._pause()
        self.error = error
        step = self._loop.session.step
        if isinstance(error, NonFiniteError):
            self._failure = Notice(step, "error", "Stopped: a value is not finite", str(error))
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
