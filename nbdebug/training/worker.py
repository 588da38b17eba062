"""Training thread: runs commands between steps, makes steps, publishes the status."""

from __future__ import annotations

import contextvars
import threading
import warnings
from collections import deque
from contextlib import suppress
from dataclasses import replace
from typing import Any

from nbdebug.core.commands.base import Command
from nbdebug.core.commands.examining import AskChecks
from nbdebug.core.commands.loops import LogValues
from nbdebug.core.commands.queue import CommandQueue, Ticket, closed_error
from nbdebug.core.commands.running import Close, SetControl, WatchProbe, has_goal
from nbdebug.core.error_text import describe_error
from nbdebug.core.records import Attendance, Notice
from nbdebug.errors import ClosedError, LoopLeft, NonFiniteError, TaskStopped
from nbdebug.training.engine.stopping.breakpoints import Break
from nbdebug.training.engine.stopping.stop_report import (
    GOES_ON,
    MAX_EXCLUDED_IN_A_ROW,
    STOPPED_AFTER,
    STOPPED_BEFORE,
    STOPPED_LATER,
    exception_notice,
    failure_of,
    left_out_notice,
    noted,
)
from nbdebug.training.tasks.handler import Training
from nbdebug.training.tasks.runner import CommandRunner

# These do not change the forecast.
QUIET = WatchProbe | LogValues | AskChecks


class Worker:
    """Owner of the session; no other thread touches model, optimizer or sampler.

    A command is answered after its resulting status is in History; a command that leaves
    training running is answered when training pauses again. Whatever the user's code raises,
    the thread lives on and training is paused; if the thread itself fails, everybody who waits is
    told.
    """

    def __init__(self, training: Training, queue: CommandQueue) -> None:
        self._training, self._queue = training, queue
        self._runner = CommandRunner(training)
        self._waiting: deque[Ticket] = deque()
        self._answers: list[tuple[Ticket, Any, BaseException | None]] = []
        self._running: list[Ticket] = []
        training.forecast.publish()
        training.run.publish()
        # The context of the cell, so that output of the thread belongs to that cell.
        context = contextvars.copy_context()
        self.thread = threading.Thread(
            target=context.run, args=(self._run_loop,), name="nbdebug-training", daemon=True
        )
        training.history.inside.writer = self.thread
        self.thread.start()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end of the thread."""
        if threading.current_thread() is not self.thread:
            self.thread.join(timeout)

    def _run_loop(self) -> None:
        try:
            while self._training.run.state != "closed":
                self._turn()
        except BaseException as error:
            # A fault of nbdebug, or no memory at all: nobody may wait for this thread any more.
            self._training.run.fail(error)
        finally:
            self._end()

    def _turn(self) -> None:
        """Run the waiting commands, then a step; whatever these raise leaves training paused."""
        run, body = self._training.run, self._training.loop.body
        try:
            busy = self._waiting or self._training.has_due("paused")
            self._waiting.extend(self._queue.drain(wait=run.state == "paused" and not busy))
            # A loop on its own may be writing to what a command reads or restores.
            if self._waiting and not body.is_apart():
                with body.held():
                    self._handle()
            self._training.run_due(run.state)
            # A loop that was on its own may have put a command before it took its batch.
            ready = run.state == "running" and body.is_ready()
            if ready and not (self._waiting or self._queue.waiting):
                self._one_step()
        except Break as stop:
            self._stop_at_breakpoint(str(stop))
        except LoopLeft as left:
            self._stop_without_loop(left)
        except BaseException as error:
            # The user's code may raise anything, such as sys.exit().
            self._queue.fail_step()
            self._stop_on_error(error)
        run.publish()
        self._answer()
        self._training.loop.body.settle()

    def _end(self) -> None:
        """Answer everybody who waits and release what training holds, whatever else fails."""
        training = self._training
        error = training.run.error or closed_error()
        self._answers += [(one, None, error) for one in (*self._waiting, *self._running)]
        self._waiting.clear()
        self._running.clear()
        steps = (
            training.run.publish, self._answer, self._queue.close, training.timeline.close,
            training.session.sampler.close, training.run.release,
        )  # fmt: skip
        for step in steps:
            try:
                step()
            except BaseException as error:
                text = f"{describe_error(error)}. Training is closed all the same."
                with suppress(BaseException):
                    training.notify("warning", "Not everything could be closed", text)

    def _handle(self) -> None:
        run, waiting = self._training.run, self._waiting
        run.announce_goal()
        quiet = all(isinstance(ticket.command, QUIET) for ticket in waiting)
        while waiting and run.state != "closed":
            # Taken out one by one: a command that fails does not drop those behind it.
            ticket = waiting.popleft()
            try:
                self._execute(ticket)
            except BaseException as error:
                self._answers.append((ticket, None, error))
                if isinstance(ticket.command, Close):
                    run.close()
        if not quiet:
            self._training.forecast.publish()
        run.publish()

    def _execute(self, ticket: Ticket) -> None:
        """Run a command; a halting command ends a long one, even if already queued."""
        command, result = ticket.command, None
        if isinstance(command, SetControl) and self._superseded(command):
            self._training.controls.supersede(command)
        else:
            stop = any(other.halts for other in self._waiting)
            result = self._runner.run(command, lambda: stop or self._queue.halting())
        self._end_runs(command)
        if command.runs:
            self._running.append(ticket)
        else:
            self._answers.append((ticket, result, None))

    def _end_runs(self, command: Command) -> None:
        """Tell those who wait for a number of steps that a command has ended their run."""
        if not command.ends_run:
            return
        kind = ClosedError if isinstance(command, Close) else TaskStopped
        for ticket in self._running:
            text = (
                f"The run was ended by the command {command.name} before it was done. Training is "
                "where that command put it."
            )
            error = kind(text) if has_goal(ticket.command) else None
            self._answers.append((ticket, None, error))
        self._running = []

    def _superseded(self, command: SetControl) -> bool:
        """Tell if the next command sets the same; nothing then sees the value of this one."""
        if not self._waiting or self._training.controls.is_action(command.control):
            return False
        after = self._waiting[0].command
        return isinstance(after, SetControl) and _target(after) == _target(command)

    def _answer(self) -> None:
        """Answer the finished commands, after the status is in History."""
        run = self._training.run
        if run.state != "running" and self._running:
            self._answers += [(ticket, None, run.error) for ticket in self._running]
            self._running = []
        answers, self._answers = self._answers, []
        for ticket, result, error in answers:
            if ticket.answer.done():
                continue
            if error is None:
                ticket.answer.set_result(result)
            else:
                ticket.answer.set_exception(error)

    def _one_step(self) -> None:
        training = self._training
        training.timeline.failures.finish_step()
        if not training.run.goal_reached:
            if not self._queue.enter_step():
                return
            training.timeline.before_step()
            if self._made_step():
                training.after_step()
                training.loop.after_update.raise_failure()
                training.forecast.refresh()
                if stop := training.loop.body.late_stop():
                    self._pause_at(str(stop), STOPPED_AFTER)
        if training.run.goal_reached:
            training.run.pause_at_goal()

    def _made_step(self) -> bool:
        """Make a step; False if its batch is read again at once, or was left out."""
        try:
            with self._training.flow.observing():
                self._training.loop.step()
        except (NonFiniteError, Break, LoopLeft):
            raise
        except BaseException as error:
            if not self._training.timeline.after_failed_step(error):
                raise
            return False
        return True

    def _stop_without_loop(self, left: LoopLeft) -> None:
        self._training.run.stop_without_loop(left, left.kind == "no_loop")

    def _stop_at_breakpoint(self, condition: str) -> None:
        self._training.timeline.undo_outside()
        self._training.stopped.remember()
        self._pause_at(condition, STOPPED_BEFORE)

    def _pause_at(self, condition: str, text: str) -> None:
        asked = self._queue.pause_all()
        if asked == "asked before":
            return
        self._training.timeline.mark("break", condition)
        step, title = self._training.session.step, f"Break: {condition}"
        told = Notice(step, "info", title, text, kind="breakpoint")
        if asked == "alone":
            self._training.run.stop(told)
        else:
            self._training.history.add_notice(replace(told, text=STOPPED_LATER))

    def _exclude_batch(self, error: NonFiniteError) -> bool:
        """Continue without this batch, if batches with NaN or Inf are excluded."""
        training = self._training
        step = training.session.step
        before = training.timeline.edits.excluded_batches(step)
        if not training.session.exclude_nonfinite or before + 1 >= MAX_EXCLUDED_IN_A_ROW:
            return False
        training.timeline.record_event(None)
        training.timeline.undo_outside()
        training.history.add_notice(
            left_out_notice(step, "A batch was excluded", str(error), error)
        )
        return True

    def _stop_on_error(self, error: BaseException) -> None:
        training, step = self._training, self._training.session.step
        if not isinstance(error, NonFiniteError):
            why = noted(error, training.session, training.loop.part or training.loop.batch)
            if not training.loop.body.raises(error):
                training.run.stop(exception_notice(error, step, *self._origin(error), why), error)
        elif self._exclude_batch(error):
            pass
        elif not training.loop.body.attended:
            self._go_on(error)
        else:
            training.run.pause()
            training.timeline.record_event(None)
            training.timeline.undo_outside()
            self._runner.record_flight()
            excluded = training.timeline.edits.excluded_batches(step)
            training.run.stop(failure_of(error, step, excluded), error)

    def _go_on(self, error: NonFiniteError) -> None:
        """Go on without an update with NaN or Inf, where nobody could press Run."""
        training, step = self._training, self._training.session.step
        if not training.timeline.edits.excluded_batches(step):
            text = f"{error} {GOES_ON}"
            told = left_out_notice(step, "An update was left out", text, error)
            training.history.add_notice(told)
            with suppress(Exception):
                warnings.warn(text, RuntimeWarning, stacklevel=2)
        training.timeline.record_event(None)
        if training.history.results.of(Attendance, Attendance()).names:
            self._queue.pause_all()

    def _origin(self, error: BaseException) -> tuple[str, str]:
        """Place of an exception in words, and what to do."""
        step, failure = self._training.session.step, self._training.loop.after_update.failure
        if failure is None or failure.error is not error:
            return "", ""
        return f"in the {failure.part} after step {step - 1}", failure.remedy


def _target(command: SetControl) -> tuple[str, frozenset[Any]]:
    """Name of the control that a command sets, and its layers if it sets some only."""
    layers = command.value if isinstance(command.value, dict) else ()
    return command.control, frozenset(layers)
