"""What a Debugger can do with time: checkpoints, rewind, fork and compare, replay."""

from __future__ import annotations

import itertools
from typing import Any, cast

from nbdebug.core import commands
from nbdebug.core.errors import ArgumentError
from nbdebug.core.fork import Fork, ForkResult
from nbdebug.core.timeline import Repeated
from nbdebug.examining import Examining
from nbdebug.training.settings import Settings


class Travelling(Examining):
    """The verbs of the timeline."""

    _settings: Settings

    def checkpoint(self, name: str | None = None) -> int:
        """Keep the state of training, to come back to it by its step or by a name.

        Checkpoints are taken without asking, too: every so many steps, and before each change
        of a control.

        Returns:
            The step it stands at.
        """
        self.history.wait_handled(self._put(commands.NameCheckpoint(name or "")))
        return next(m.step for m in reversed(self.history.marks) if m.kind == "named")

    def rewind(self, step: int | str, *, why: str = "") -> Repeated:
        """Go back to where a step is to be made, and pause there.

        The nearest earlier checkpoint is restored and the steps from there are run again; each
        loss and gradient norm is compared with what was recorded. What was done at that step
        and later is undone and stays as a grey branch.

        Args:
            step: from 0 to where training stands; a negative number goes so many steps back; or
                the name of a checkpoint.

        Raises:
            ArgumentError: there is no such step or name behind.
            DataError: the data cannot be read again from there.
            TaskStopped: it was stopped; training is where it was.
        """
        return cast(Repeated, self._result(commands.Rewind(step, why=why)))

    def fork(self, steps: int = 200, **changes: Any) -> Fork:
        """Train some steps with and without a change, on the same batches and dropout masks.

        Training stays where it is; `keep` of what this gives goes on with the change.

        Args:
            steps: how many, from 1 to 100,000.
            **changes: values of controls; a list tries each of its values, several lists all
                combinations, 16 at most.

        Raises:
            ControlNameError, ControlValueError, ArgumentError: nothing was tried.
            TaskStopped: it was stopped.
            Exception: whatever the model, the loss or the data raised, as it was.
        """
        choices = {n: v if isinstance(v, list) else [v] for n, v in changes.items()}
        ways = [
            dict(zip(choices, way, strict=True)) for way in itertools.product(*choices.values())
        ]
        checked = tuple(self._settings.validate(way) for way in ways)
        result = cast(ForkResult, self._result(commands.ForkSteps(steps, checked)))

        def keep(which: int) -> None:
            if not 0 <= which < len(result.trials):
                raise ArgumentError(f"which must be from 0 to {len(result.trials) - 1}.")
            settings = result.trials[which].settings
            command = commands.KeepFork(result.step, result.cursor, result.steps, settings)
            number = self._do(command, "paused")
            self._worker.result(number)

        return Fork(result, keep)

    def replay(self) -> Repeated:
        """Run everything again from the beginning, changes included, and compare.

        Training stays where it is. `equal` of what this gives is True when each loss and, at
        the end, weights, buffers and optimizer are equal to the bit.

        Raises:
            DataError: the data cannot be read again from its beginning.
            TaskStopped: it was stopped.
        """
        return cast(Repeated, self._result(commands.Replay()))

    def _result(self, command: commands.Command) -> Any:
        return self._worker.result(self._do(command))
