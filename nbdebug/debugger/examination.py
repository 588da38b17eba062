"""What a Debugger can be asked between two steps; training notices nothing of it."""

from __future__ import annotations

from typing import cast

from nbdebug.core.commands import commands
from nbdebug.core.commands.queue import CommandQueue
from nbdebug.core.history.history import History
from nbdebug.core.records import Notice
from nbdebug.core.results.check_report import CheckReport
from nbdebug.core.results.findings import Findings
from nbdebug.core.results.lr_range_test import LrRangeTest
from nbdebug.core.results.model_summary import ModelSummary
from nbdebug.errors import ClosedError, ModelError
from nbdebug.rules._diagnosis import Diagnosis
from nbdebug.training.engine.control_set import ControlSet
from nbdebug.training.tasks.check_runner import CheckRunner
from nbdebug.training.worker import Worker


class Examining:
    """The verbs of a Debugger that examine; it brings the parts they work with."""

    history: History
    _queue: CommandQueue
    _worker: Worker
    _checking: CheckRunner
    _settings: ControlSet
    _diagnosis: Diagnosis

    @property
    def findings(self) -> Findings:
        """What looks sick, why, and what to do: root causes first."""
        return self.rules.look()

    @property
    def rules(self) -> Diagnosis:
        """The rules that findings come from; `add` takes one of your own, `remove` a name."""
        return self._diagnosis

    def _leave_out(self, plugin: str, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}. Everything else works without it."
        self.history.add_notice(Notice(0, "warning", f"{plugin} could not be loaded", text))

    def pause(self) -> None:
        """Finish the step under way and pause; nothing is lost."""
        self.history.wait_handled(self._put(commands.Pause()))

    def lr_range_test(self, low: float = 1e-7, high: float = 10.0, steps: int = 100) -> LrRangeTest:
        """Sweep the learning rate from `low` to `high` and see how the loss answers.

        Made between two steps, of which training notices nothing (Smith 2015); it ends when
        the loss explodes, or on `pause`. `dbg.set(lr=result.suggestion)` takes what it found.

        Raises:
            ArgumentError: low, high or steps make no sense.
            Exception: whatever the model, the loss or the data raised, as it was.
        """
        number = self._do(commands.RangeTest(low, high, steps))
        return cast(LrRangeTest, self._worker.result(number))

    def check(self, *names: str, slow: bool = False) -> CheckReport:
        """Run checks of the five-step checklist between two steps; nothing is moved by them.

        Args:
            names: of the checks; without names all that are cheap.
            slow: without names also those that train for some seconds.

        Raises:
            CheckNameError: there is no such check; the message lists those there are.
        """
        chosen = self._checking.chosen(names, slow)
        self._do(commands.Examine(chosen))
        return CheckReport.of(result for result in self.history.checks if result.name in chosen)

    def reestimate_batchnorm(self) -> None:
        """Average BatchNorm's running statistics anew over up to 100 training batches.

        Raises:
            ModelError: there is nothing to estimate or to estimate from; nothing was changed.
        """
        self.history.wait_handled(self._put(commands.Reestimate()))
        change = next(
            c for c in reversed(self.history.changes) if c.new == commands.Reestimate.value
        )
        if change.status == "refused":
            raise ModelError(change.note)

    def summary(self) -> ModelSummary:
        """The model as a table: layer, output shape, parameters, and how many of them learn.

        One training batch is run through the model in eval mode, between two steps.

        Raises:
            ModelError: the model cannot be run on a batch, or training has a `step_fn`.
        """
        return cast(ModelSummary, self._worker.result(self._do(commands.Summarise())))

    def _put(self, command: commands.Command) -> int:
        if self.history.status.state == "closed":
            raise ClosedError("This Debugger was closed; make a new one.")
        return self._queue.put(command)

    def _do(self, command: commands.Command, state: str | None = None) -> int:
        """Put a command and wait until it is done; interrupting the kernel pauses training."""
        number = self._put(command)
        try:
            self.history.wait_handled(number, state)
        except KeyboardInterrupt:
            self.pause()
            raise
        return number
