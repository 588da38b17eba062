"""Handler that writes what a loop of the user's own has measured."""

from __future__ import annotations

from nbdebug.core.commands.loops import LogValues
from nbdebug.core.records import StepRecord
from nbdebug.training.engine.probing.logged import logged_readings, note_lines
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.tasks.handler import Handler


class LogValuesHandler(Handler[LogValues]):
    """Handler that adds the values to the series of their names."""

    command = LogValues
    failed = "The values could not be written down"

    def handle(self, command: LogValues, progress: TaskProgress) -> None:
        history = self.training.history
        step = max(min(command.step, self.training.session.step - 1), 0)
        history.append(StepRecord(step, tuple(logged_readings(command.values, history))))
        note_lines(command.values, command.line, history)
