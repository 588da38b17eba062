"""Runner of commands: looks up the handler of each command."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

from nbdebug.core.commands.base import Command
from nbdebug.core.commands.examining import RecordFlight
from nbdebug.core.error_text import describe_error
from nbdebug.core.plugins import discover
from nbdebug.errors import PluginError, TaskStopped
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.tasks.handler import Handler, Training

# A flight record is made automatically if it takes less than this.
MAX_FLIGHT_RECORD_SECONDS = 2.0


class CommandRunner:
    """Table of handlers, one for each kind of command."""

    def __init__(self, training: Training) -> None:
        self._training = training
        kinds = discover("nbdebug.training.tasks", Handler, self._report)
        self._handlers: dict[type[Command], Handler[Any]] = {
            kind.command: kind(training) for kind in kinds
        }

    def _report(self, plugin: str, error: BaseException) -> None:
        text = f"{describe_error(error)}. All other commands work without it."
        self._training.notify("warning", f"{plugin} could not be loaded", text)

    def run(self, command: Command, halting: Callable[[], bool] = lambda: False) -> Any:
        """Run a command and return its answer.

        Args:
            halting: returns whether a long command is asked to stop.

        Raises:
            Exception: whatever the handler raised; a message is shown if the handler has a title.
        """
        handler = self._handlers.get(type(command))
        if handler is None:
            raise PluginError(f"There is no handler for the command {command.name!r}.")
        self._training.session.follow_parts()
        trials = self._training.controls.trials if command.long else nullcontext
        try:
            with (
                TaskProgress(command.name, self._training.history, halting) as progress,
                trials(),
            ):
                return handler.handle(command, progress)
        except TaskStopped:
            raise
        except BaseException as error:
            if handler.failed:
                text = f"{describe_error(error)} Training was restored."
                self._training.notify("warning", handler.failed, text)
            raise
        finally:
            self._training.session.ready.end_looks()

    def record_flight(self) -> None:
        """Make a flight record after a NaN or Inf, if that is quick."""
        training = self._training
        seconds = training.loop.step_seconds * training.timeline.steps_to_rerun
        if seconds < MAX_FLIGHT_RECORD_SECONDS:
            # Without rereadable data (a stream) there is none; a request for one reports why.
            with suppress(BaseException):
                self.run(RecordFlight())
