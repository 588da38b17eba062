"""How a Debugger is steered: train, wait, change a control."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbdebug.core.commands import commands
from nbdebug.core.records import Notice
from nbdebug.core.results.timeline import ReplayResult
from nbdebug.debugger.record import Documenting
from nbdebug.errors import ArgumentError
from nbdebug.runs.compare.rerun import changes_to_repeat, compare_records
from nbdebug.runs.store.run import Run

if TYPE_CHECKING:
    import pandas as pd


class Steering(Documenting):
    """The verbs of training and of its controls."""

    def start(self) -> None:
        """Train until paused; returns at once."""
        self._put(commands.Run())

    def step(self, n: int = 1) -> None:
        """Make `n` steps and pause; returns when they are made, raises as `run` does."""
        self.run(steps=n)

    def run(self, steps: int | None = None, epochs: float | None = None) -> None:
        """Train for so many more steps or epochs; returns when they are done.

        Interrupting the kernel pauses training; it can go on afterwards.

        Raises:
            ArgumentError: neither steps nor epochs is given, or both, or a negative one.
            NonFiniteError: loss or gradient became NaN or infinite.
            Exception: whatever the model, the loss or the data raised, as it was.
        """
        if (steps is None) == (epochs is None):
            raise ArgumentError(
                "Say how long: run(steps=...) or run(epochs=...); start() for more."
            )
        self._do(commands.Run(steps, epochs), "paused")
        if self._worker.error is not None:
            raise self._worker.error

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until training is paused; False when `timeout` seconds passed before."""
        return self.history.wait_until(lambda status: status.state != "running", timeout)

    def set(self, *, why: str | None = None, **controls: Any) -> None:
        """Change controls, as the dashboard's sliders do.

        Values are checked at once; they take effect at the next step boundary, or at
        once while paused.

        Args:
            why: a reason, written down with the change.

        Raises:
            ControlNameError, ControlValueError: nothing was changed.
        """
        values = self._settings.validate(controls)
        wanted = [commands.SetControl(name, v, "api", why or "") for name, v in values.items()]
        numbers = [self._put(command) for command in wanted]
        if numbers and self.state == "paused":
            self.history.wait_handled(numbers[-1])

    @property
    def controls(self) -> Mapping[str, Any]:
        """The value in force of every control, by name."""
        return self._settings.values()

    @property
    def changes(self) -> pd.DataFrame:
        """Every change of a control: step, samples, old, new, who, why, status."""
        return self.history.changes_frame()

    @property
    def state(self) -> str:
        """paused, running or closed."""
        return self.history.status.state

    @property
    def failure(self) -> Notice | None:
        """Why training stopped, None when it stopped on request."""
        return self.history.status.failure

    def repeat(self, run: Run) -> ReplayResult:
        """Train as a recorded run was trained: its changes at their steps, to its last step.

        Build this Debugger as that one was: `Debugger(model, data, loss_fn, **run.settings)`, the
        model with the same initial weights. `equal` of what this gives is True where each loss and
        gradient norm that both records still hold one by one is the same to the bit.

        Raises:
            ArgumentError: training has begun already, the initial weights are others, or something
                was done that is no value of a control.
        """
        mine = self.record
        if self.history.status.step:
            raise ArgumentError("Training has begun already: repeat a run on a new Debugger.")
        for step, values, why in changes_to_repeat(run, mine, self.controls):
            if step > self.history.status.step:
                self.run(steps=step - self.history.status.step)
            if values:
                self.set(why=why, **values)
        return compare_records(run, self.record)
