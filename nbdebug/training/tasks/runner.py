"""What takes its time between two steps: tests, checks, the ways of the timeline."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from nbdebug.core.commands.commands import (
    Examine,
    FindCulprits,
    ForkSteps,
    KeepFork,
    LookBack,
    RangeTest,
    Replay,
    Rewind,
    SetControl,
    Summarise,
    WriteScript,
)
from nbdebug.core.commands.queue import Ticket
from nbdebug.core.history.history import History
from nbdebug.core.records import Notice, Severity
from nbdebug.errors import ClosedError, TaskStopped
from nbdebug.rules._diagnosis import Diagnosis
from nbdebug.training.engine.control_set import ControlSet
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.script.writer import write_script
from nbdebug.training.tasks.check_runner import CheckRunner
from nbdebug.training.tasks.flight_recorder import last_steps
from nbdebug.training.tasks.fork import fork
from nbdebug.training.tasks.lr_range_test import sweep
from nbdebug.training.tasks.model_summary import summarise
from nbdebug.training.tasks.worst_samples import worst_samples
from nbdebug.training.timeline.timeline import Timeline

QUICK = 2.0
TITLES = {
    RangeTest: "The learning-rate range test failed",
    Rewind: "The rewind failed",
    ForkSteps: "The fork failed",
    KeepFork: "The fork could not be kept",
    Replay: "The replay failed",
    FindCulprits: "The samples could not be looked at",
}


class TaskRunner:
    """Carries out commands that give a result, and keeps the last results for who asked."""

    def __init__(
        self,
        loop: Loop,
        settings: ControlSet,
        history: History,
        checking: CheckRunner,
        timeline: Timeline,
        diagnosis: Diagnosis,
    ) -> None:
        self._loop, self._settings, self._history = loop, settings, history
        self._checking, self._timeline = checking, timeline
        self._diagnosis = diagnosis
        self._results: deque[tuple[int, Any]] = deque(maxlen=8)

    def result(self, number: int) -> Any:
        """What came of the command with this number, or the exception it raised."""
        known = dict(self._results)
        if number not in known:
            raise ClosedError("This Debugger was closed before that could begin.")
        if isinstance(known[number], Exception):
            raise known[number]
        return known[number]

    def run(self, ticket: Ticket, halting: Callable[[], bool]) -> bool:
        """Carry out one of `LONG`; whether it came to its end.

        What it raises is kept for who asked, and told; training is then where it was.
        """
        command: Any = ticket.command
        try:
            with TaskProgress(command.control, self._history, halting) as task:
                self._results.append((ticket.number, self._do(command, task)))
        except Exception as error:
            self._results.append((ticket.number, error))
            if type(command) in TITLES:
                self._tell(TITLES[type(command)], error)
            return False
        return True

    def _do(self, command: Any, task: TaskProgress) -> Any:
        loop, timeline = self._loop, self._timeline
        if isinstance(command, RangeTest):
            test = sweep(loop, command, task)
            self._history.set_range_test(test)
            return test
        if isinstance(command, Examine):
            return self._checking.run(command, task)
        if isinstance(command, Summarise):
            return summarise(loop.session)
        if isinstance(command, Rewind):
            place = timeline.place(command.target)
            found = timeline.rewind(place, task, command.who, command.why)
            if found.compared or not found.equal:
                self._history.set_repeated(found)
            if not found.equal:
                self._say("warning", "What was run again is not what it was", str(found))
            return found
        if isinstance(command, Replay):
            found = timeline.replay(task)
            self._history.set_repeated(found)
            self._say("info" if found.equal else "warning", "Replay", str(found))
            return found
        if isinstance(command, WriteScript):
            return write_script(timeline, loop.session, task, command)
        if isinstance(command, LookBack):
            record = last_steps(timeline, loop.session, task)
            self._history.set_flight(record)
            return record
        if isinstance(command, FindCulprits):
            worst = worst_samples(timeline, loop.session, loop.breakpoints, command, task)
            self._history.set_culprits(worst)
            return worst
        if isinstance(command, KeepFork):
            return self._keep(command, task)
        result = fork(timeline, loop, self._settings, command, task, self._diagnosis)
        self._history.set_fork(result)
        return result

    def _keep(self, command: KeepFork, task: TaskProgress) -> None:
        fork = command.fork
        here, journal = self._loop.session.step, self._timeline.journal
        journal.check_reachable(fork, here)
        if (here, len(journal.events)) != (fork.step, fork.cursor):
            self._timeline.rewind((fork.step, fork.cursor), task, command.who, "a fork kept")
        for name, value in fork.trials[command.which].settings.items():
            self.change(SetControl(name, value, command.who, "a fork kept"))

    def look_back(self) -> None:
        """After a value that is not finite: look at the last steps, where that is quick."""
        seconds = self._loop.step_seconds * self._timeline.behind
        if seconds < QUICK:
            self.run(Ticket(0, LookBack()), lambda: False)

    def change(self, command: SetControl) -> None:
        """Give a control a value, in a way that can be taken back and repeated."""
        self._timeline.take()
        if self._settings.apply(command):
            self._timeline.done(command)
        self._loop.settings_changed()

    def _tell(self, title: str, error: Exception) -> None:
        if isinstance(error, TaskStopped):
            return
        text = f"{type(error).__name__}: {error} Everything was put back as it was."
        self._say("warning", title, text)

    def _say(self, severity: Severity, title: str, text: str) -> None:
        self._history.add_notice(Notice(self._loop.session.step, severity, title, text))
