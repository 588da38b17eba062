"""What the dashboard asks for, as commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from nbdebug.core.commands.commands import (
    SEVERAL,
    BreakWhen,
    ClearBreak,
    CloseCulprits,
    Command,
    DiscardFork,
    Examine,
    FindCulprits,
    ForkSteps,
    KeepFork,
    NameCheckpoint,
    RangeTest,
    Reestimate,
    Replay,
    Rewind,
    Run,
    SetControl,
    Stop,
)
from nbdebug.core.commands.queue import CommandQueue
from nbdebug.core.history.history import History
from nbdebug.core.results.run_list import ADD_NOTE, RunRequest
from nbdebug.errors import ArgumentError
from nbdebug.runs.store.runs_tab import RunsTabService
from nbdebug.training.engine.breakpoints import Breakpoints
from nbdebug.training.engine.control_set import ControlSet
from nbdebug.training.tasks.check_runner import CheckRunner

WHO = "dashboard"


class Requests:
    """What the dashboard's controls call; holds no Debugger, so that one can be let go."""

    def __init__(
        self,
        settings: ControlSet,
        checking: CheckRunner,
        breakpoints: Breakpoints,
        history: History,
        queue: CommandQueue,
        desk: RunsTabService | None = None,
    ) -> None:
        self._settings, self._checking, self._breakpoints = settings, checking, breakpoints
        self._history, self._queue, self._desk = history, queue, desk
        self._others: dict[str, Callable[[Any], Command]] = {
            Examine.control: self._examine,
            NameCheckpoint.control: lambda value: NameCheckpoint(_field(value, "name")),
            Rewind.control: lambda value: Rewind(_place(_field(value, "step")), who=WHO),
            Replay.control: lambda value: Replay(),
            BreakWhen.control: self._break_when,
            ClearBreak.control: lambda value: ClearBreak(str(value)),
            ForkSteps.control: self._fork,
            KeepFork.control: self._keep_fork,
            DiscardFork.control: lambda value: DiscardFork(),
            FindCulprits.control: lambda value: FindCulprits(value if value else None),
            CloseCulprits.control: lambda value: CloseCulprits(),
        }

    def __call__(self, name: str, value: Any) -> None:
        """Ask for a value, at the next step boundary.

        Some values name a command of their own: BatchNorm's statistics anew, a range test, the
        end of what is under way; so do some names: checks, and what the timeline can do. Notes
        and kept runs are no affair of training.

        Raises:
            ControlValueError, CheckNameError, ArgumentError: nothing was asked for.
        """
        fixed: dict[tuple[str, Any], Command] = {
            (Stop.control, Stop.value): Stop(),
            (Stop.control, Run.value): Run(),
            (Reestimate.control, Reestimate.value): Reestimate(who=WHO),
            (RangeTest.control, RangeTest.value): RangeTest(),
        }
        if (name, value) in fixed:
            self._queue.put(fixed[name, value])
        elif name in self._others:
            self._queue.put(self._others[name](value))
        elif name == ADD_NOTE:
            self._history.add_note(_field(value, "text"))
        elif name == RunRequest.control:
            self._ask_desk(RunRequest.of(value))
        elif name == SEVERAL:
            for control, valid in self._settings.validate(json.loads(value)).items():
                self._queue.put(SetControl(control, valid, who=WHO))
        else:
            for control, valid in self._settings.validate({name: value}).items():
                self._queue.put(SetControl(control, valid, who=WHO))

    def _ask_desk(self, request: RunRequest) -> None:
        if self._desk is None:
            raise ArgumentError("This training is not recorded: it was made with runs=None.")
        self._desk.ask(request)

    def _examine(self, value: Any) -> Command:
        return Examine(self._checking.chosen(str(value).split(",")))

    def _break_when(self, value: Any) -> Command:
        condition = _field(value, "condition")
        self._breakpoints.check(condition)
        return BreakWhen(condition)

    def _fork(self, value: Any) -> Command:
        start = _field(value, "start")
        steps = _whole(_field(value, "steps"), "steps")
        place = _place(start) if start else None
        settings = json.loads(value).get(SEVERAL)
        if settings:
            way = self._settings.validate(settings)
            return ForkSteps(steps, (way,), place, _field(value, "cures"))
        name = _field(value, "control")
        values = [_number_or_word(part) for part in _field(value, "values").split(",")]
        # A threshold alone would do nothing while clipping is off.
        more = {"clip_mode": "norm"} if name == "clip_threshold" and self._clips_nothing() else {}
        ways = tuple(self._settings.validate({**more, name: each}) for each in values)
        return ForkSteps(steps, ways, place)

    def _clips_nothing(self) -> bool:
        return bool(self._settings.values()["clip_mode"] == "off")

    def _keep_fork(self, value: Any) -> Command:
        fork = self._history.snapshot(()).fork
        if fork is None or not 0 <= int(value) < len(fork.trials):
            raise ArgumentError("There is no such fork any more: make a new one.")
        return KeepFork(fork, int(value), WHO)


def _field(value: Any, name: str) -> str:
    """A field of a form, which comes as JSON."""
    fields = json.loads(value) if isinstance(value, str) and value.startswith("{") else {}
    return str(fields.get(name, "")).strip()


def _place(text: str) -> int | str:
    """A step, or the name of a checkpoint."""
    try:
        return int(text.replace(",", ""))
    except ValueError:
        return text


def _whole(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ArgumentError(f"{name} must be a whole number, got {text!r}.") from None


def _number_or_word(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text.strip()
