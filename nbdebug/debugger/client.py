"""Client of the command queue: puts commands and waits for answers; buttons use it too."""

from __future__ import annotations

import concurrent.futures
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from nbdebug.core.commands.base import Command, Validator
from nbdebug.core.commands.queue import CommandSink, Ticket
from nbdebug.core.commands.running import Pause, Run, SetControl
from nbdebug.core.deprecated import accepted_settings
from nbdebug.core.error_text import message_of
from nbdebug.core.history.history import History
from nbdebug.core.records import ControlChange, Notice
from nbdebug.core.results.fork_result import ForkResult
from nbdebug.errors import ClosedError, ControlValueError, NbdebugError
from nbdebug.training.engine.control_set import ControlSet
from nbdebug.training.engine.stopping.breakpoints import Breakpoints
from nbdebug.training.tasks.checking.check_runner import CheckRunner

# Waits are cut into slices, in seconds, so that an interrupt gets through on every platform.
WAIT_SLICE = 0.1
# After an interrupt, how long a step may take until it pauses.
PAUSE_SECONDS = 5.0


class Home(Protocol):
    """Knows if there is a training that would answer."""

    def check(self) -> None:
        """Raise ClosedError if there is none."""


class CommandValidator:
    """Checks commands against the controls, checks and series of one training."""

    def __init__(
        self, controls: ControlSet, checks: CheckRunner, breakpoints: Breakpoints, history: History
    ) -> None:
        self._controls, self._checks = controls, checks
        self._breakpoints, self._history = breakpoints, history

    def controls(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values as they will be applied; raises ControlNameError or ControlValueError.

        While other values are on trial, the range is not known: then they are checked when they
        are applied.
        """
        try:
            return self._controls.validate(values)
        except ControlValueError:
            if not self._controls.present.trying:
                raise
            return accepted_settings(values)

    def check_names(self, names: Sequence[str], slow: bool) -> tuple[str, ...]:
        """Names of checks to run; without names all cheap checks, with `slow` all checks."""
        return self._checks.chosen(names, slow)

    def condition(self, condition: str | Callable[[Mapping[str, float]], Any]) -> None:
        """Raise ArgumentError if this cannot be the condition of a breakpoint."""
        self._breakpoints.check(condition)

    def last_fork(self) -> ForkResult | None:
        """Latest fork, or None."""
        return self._history.results.of(ForkResult)


class Client:
    """Sender of commands to the training thread; holds no reference to the Debugger."""

    def __init__(
        self, queue: CommandSink, history: History, validator: Validator, home: Home
    ) -> None:
        self._queue, self._history, self._validator, self._home = queue, history, validator, home
        self._started: Ticket | None = None

    def start(self) -> None:
        """Let training run without an end; returns at once."""
        self._started = self.put(Run())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until training is paused, also if `start` is still to begin."""
        started = self._started
        return self._history.wait_until(
            lambda status: status.state != "running" and (started is None or started.answer.done()),
            timeout,
        )

    def check_open(self) -> None:
        """Raise ClosedError if nobody would answer a command."""
        self._home.check()
        if self._history.status.state == "closed":
            raise ClosedError("This Debugger was closed; make a new one.")

    def put(self, command: Command) -> Ticket:
        """Put a command and return at once.

        Raises:
            ClosedError: the Debugger was closed, or this is a forked child.
            NbdebugError: a value of the command is wrong; no command was put.
        """
        if not (command.inside or (isinstance(command, SetControl) and self._in_loop)):
            self.refuse_inside(command.name)
        self.check_open()
        return self._queue.put(command.checked(self._validator), inside=self._inside)

    def do(self, command: Command) -> Any:
        """Put a command and wait for its answer; interrupting the kernel pauses training.

        Code that training runs does not wait: see `Command.inside`.

        Raises:
            InsideStepError: this code runs in a step, which the command would wait for.
            Exception: as `put`, or whatever the command raised.
        """
        ticket: Ticket | None = None
        try:
            ticket = self.put(command)
            return None if self._inside else self.answer(ticket)
        except KeyboardInterrupt as error:
            # The user's code in the training thread may raise this too.
            if ticket is None or not ticket.answer.done() or ticket.answer.exception() is not error:
                self._pause_soon()
            raise

    def answer(self, ticket: Ticket) -> Any:
        """Wait for the answer of a command, and return or raise it.

        Raises:
            ClosedError: the training thread has ended without an answer.
        """
        self._wait(ticket)
        return ticket.answer.result()

    def refuse_inside(self, verb: str) -> None:
        """Raise InsideStepError if the caller runs in the training thread."""
        self._history.inside.refuse(f"The command {verb}")

    @property
    def _inside(self) -> bool:
        return bool(self._history.inside)

    @property
    def _in_loop(self) -> bool:
        return self._history.inside.in_loop()

    def _pause_soon(self) -> None:
        """Pause after an interrupt; a step that takes longer pauses when it ends."""
        with suppress(NbdebugError):
            self._wait(self.put(Pause()), PAUSE_SECONDS)

    def _wait(self, ticket: Ticket, timeout: float = math.inf) -> None:
        end, writer = time.monotonic() + timeout, self._history.inside.writer
        while not ticket.answer.done() and time.monotonic() < end:
            ended = writer is not None and not writer.is_alive()
            concurrent.futures.wait([ticket.answer], WAIT_SLICE)
            if ended and not ticket.answer.done():
                raise ClosedError(
                    "The training thread has ended, as in a forked process; make a new Debugger."
                )

    def new_call(self) -> int:
        """Number for changes that are taken back together."""
        return self._queue.new_call()

    def set(
        self, values: Mapping[str, Any], who: str = "api", why: str = "", call: int = 0
    ) -> list[Ticket]:
        """Put one command per control, all or none.

        Args:
            call: number of an earlier call, with which these are taken back; 0 for a new one.

        Raises:
            ControlNameError, ControlValueError: no command was put.
        """
        if not self._in_loop:
            self.refuse_inside("set")
        checked = self._validator.controls(values)
        call = call or self.new_call()
        return [self.put(SetControl(n, value, who, why, call)) for n, value in checked.items()]

    def wait_applied(self, tickets: Sequence[Ticket]) -> None:
        """Wait until the controls of `set` are set.

        Raises:
            ControlValueError: some were refused; each is a row of `changes`, with its reason.
        """
        answers = [self.answer(ticket) for ticket in tickets]
        changes = [answer for answer in answers if isinstance(answer, ControlChange)]
        refused = [
            f"{c.control}={c.new!r:.80} ({c.note})" for c in changes if c.status == "refused"
        ]
        if refused:
            applied = [c.control for c in changes if c.status == "applied"]
            raise ControlValueError(
                f"Not set: {'; '.join(refused)}. Set all the same: "
                f"{', '.join(applied) or 'nothing'}."
            )

    def applied_or_told(self, tickets: Sequence[Ticket]) -> None:
        """Wait until the controls of `set` are set, or, while training runs, tell refusals later.

        Raises:
            ControlValueError: as `wait_applied`; while training runs it is a notice instead.
        """
        if self._history.status.state == "paused" and not self._inside:
            self.wait_applied(tickets)
            return
        for ticket in tickets:
            ticket.answer.add_done_callback(partial(self._tell_refusal, ticket.command))

    def _tell_refusal(self, command: Command, answer: concurrent.futures.Future[Any]) -> None:
        error = answer.exception()
        result = answer.result() if error is None else None
        if error is not None and not isinstance(error, ClosedError):
            reason = message_of(error)
        elif isinstance(result, ControlChange) and result.status == "refused":
            reason = result.note
        else:
            return
        if isinstance(command, SetControl):
            text = f"{command.value!r:.80} was refused: {reason}"
            step, title = self._history.status.step, f"{command.control} was not set"
            self._history.add_notice(Notice(step, "warning", title, text))
