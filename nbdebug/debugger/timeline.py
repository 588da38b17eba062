"""What a Debugger can do with time: checkpoints, rewind, fork and compare, replay."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, cast

import torch

from nbdebug.core.commands import commands
from nbdebug.core.results.findings import Finding
from nbdebug.core.results.flight_record import FlightRecord
from nbdebug.core.results.fork import Fork, ForkResult
from nbdebug.core.results.timeline import ReplayResult
from nbdebug.core.results.worst_samples import WorstSamples
from nbdebug.debugger.examination import Examining
from nbdebug.errors import ArgumentError
from nbdebug.rules._fork_start import FORK_STEPS, fork_start
from nbdebug.training.engine.breakpoints import Breakpoints, Inspection


class Travelling(Examining):
    """The verbs of the timeline."""

    _breakpoints: Breakpoints

    def checkpoint(self, name: str | None = None) -> int:
        """Keep the state of training, to come back to it by its step or by a name.

        Checkpoints are taken without asking, too: every so many steps, and before each change
        of a control.

        Returns:
            The step it stands at.
        """
        self.history.wait_handled(self._put(commands.NameCheckpoint(name or "")))
        return next(m.step for m in reversed(self.history.marks) if m.kind == "named")

    def reset(self) -> None:
        """Back to the beginning: weights, optimizer, RNG, data order, controls, History."""
        self.history.wait_handled(self._put(commands.Reset()))

    def rewind(self, step: int | str, *, why: str = "") -> ReplayResult:
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
        return cast(ReplayResult, self._result(commands.Rewind(step, why=why)))

    def fork(
        self,
        steps: int = 200,
        *,
        start: int | str | None = None,
        cures: str = "",
        **changes: Any,
    ) -> Fork:
        """Train some steps with and without a change, on the same batches and dropout masks.

        Training stays where it is; `keep` of what this gives goes on with the change.

        Args:
            steps: how many, from 1 to 100,000.
            start: where to begin, as for `rewind`; None is where training stands. What was
                changed between there and now is not changed in the fork.
            cures: name of the finding that the change is to cure: the fork then says whether it
                is gone at the end.
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
        result = cast(ForkResult, self._result(commands.ForkSteps(steps, checked, start, cures)))

        def keep(which: int) -> None:
            if not 0 <= which < len(result.trials):
                raise ArgumentError(f"which must be from 0 to {len(result.trials) - 1}.")
            self._worker.result(self._do(commands.KeepFork(result, which), "paused"))

        return Fork(result, keep)

    def try_remedy(
        self, finding: Finding | None = None, which: int = 0, steps: int = FORK_STEPS
    ) -> Fork:
        """Prove a remedy of a finding: train some steps without and with it, as a fork.

        It begins where training stands; after a stop, or where harm stays done, before that.

        Args:
            finding: one of `findings`; None is the first one.
            which: number of the remedy.
            steps: how many, from 1 to 100,000.

        Raises:
            ArgumentError: there is no such finding or remedy, or it is no value of a control.
        """
        found = self.rules.look()
        chosen = finding if finding is not None else next(iter(found), None)
        if chosen is None:
            raise ArgumentError("There is no finding: nothing looks sick.")
        if not 0 <= which < len(chosen.remedies):
            raise ArgumentError(
                f"{chosen.name} has {len(chosen.remedies)} remedies, counted from 0; got {which}."
            )
        remedy = chosen.remedies[which]
        if not remedy.settings:
            raise ArgumentError(f"{remedy.text!r} is no value of a control: it cannot be tried.")
        start = fork_start(self.history.snapshot(()), chosen)
        return self.fork(steps, start=start, cures=chosen.name, **remedy.settings)

    def replay(self) -> ReplayResult:
        """Run everything again from the beginning, changes included, and compare.

        Training stays where it is. `equal` of what this gives is True when each loss and, at
        the end, weights, buffers and optimizer are equal to the bit.

        Raises:
            DataError: the data cannot be read again from its beginning.
            TaskStopped: it was stopped.
        """
        return cast(ReplayResult, self._result(commands.Replay()))

    def flight_record(self) -> FlightRecord:
        """The last steps again, on a copy, with the largest output of every module.

        After a stop for a value that is not finite the batch that was left out comes last; there
        this is made without asking, where it takes less than 2 seconds.

        Raises:
            DataError: the data cannot be read again; TaskStopped: it was stopped.
        """
        return cast(FlightRecord, self._result(commands.LookBack()))

    def script(
        self,
        path: str | PathLike[str],
        *,
        model: str | None = None,
        data: Callable[[], Any] | None = None,
    ) -> None:
        """Write a plain PyTorch program that makes the same steps and ends in the same weights.

        Changes stand at their steps. Initial weights and data are in a `.pt` file beside it,
        loaded with `weights_only=True`; the trained weights are saved as `<name>-trained.pt`.

        Args:
            path: where to write it, such as "train.py".
            model: the expression that builds the model, such as "Net(width=64)"; None finds it
                for layers of torch.nn and for classes that need no argument.
            data: a function of yours that gives the tensors (X, y); None writes them into the
                file.

        Raises:
            ScriptError: something was done that plain PyTorch cannot say; says what.
            TaskStopped: it was stopped.
        """
        self._result(commands.WriteScript(str(path), model, data))

    def culprits(self, step: int | None = None, top: int = 8) -> WorstSamples:
        """The samples of a batch with the largest losses, each looked at alone.

        In eval mode, at the weights before the update of that step; at most 256 samples and 5
        seconds. Training notices nothing. `set(excluded_samples=[...])` and
        `set(relabelled={...})` act on what was found.

        Args:
            step: whose batch; None is the one that training stopped in, else the last one.
            top: how many samples to give.

        Raises:
            ArgumentError: there is no such step behind; DataError: its batch cannot be read again.
            ModelError: the model cannot take a single sample.
        """
        return cast(WorstSamples, self._result(commands.FindCulprits(step, top)))

    def break_when(self, condition: str | Callable[[Mapping[str, float]], Any]) -> None:
        """Pause before the update of a step at which a condition holds.

        There `batch`, `outputs` and `gradients` can be looked at; `step`, `start` and `run` make
        the update and go on.

        Args:
            condition: `"grad_norm > 10"`, `"val_loss rises 5"` (5 measurements in a row),
                `"step == 500"`, joined by `and`, `or` and parentheses; any series will do. It is
                parsed, never run as code. Or a function of all newest values by name.

        Raises:
            ArgumentError: the condition cannot be read, or there is no such series.
        """
        self._breakpoints.check(condition)
        self.history.wait_handled(self._put(commands.BreakWhen(condition)))

    def clear_breakpoints(self, condition: str | None = None) -> None:
        """Forget one breakpoint, all without a condition."""
        self.history.wait_handled(self._put(commands.ClearBreak(condition)))

    @property
    def breakpoints(self) -> tuple[str, ...]:
        """The conditions that pause training."""
        return self.history.snapshot(()).breakpoints

    @property
    def stopped(self) -> Inspection | None:
        """The step that training stopped in before its update: at a breakpoint, or at a value
        that is not finite. None while it goes on."""
        return self._breakpoints.found

    @property
    def batch(self) -> Any:
        """The batch of the step that training stopped in, None when it did not."""
        return None if self.stopped is None else self.stopped.batch

    @property
    def outputs(self) -> Any:
        """What the model gave in the step that training stopped in; None with a `step_fn`."""
        return None if self.stopped is None else self.stopped.outputs

    @property
    def gradients(self) -> dict[str, torch.Tensor]:
        """Gradients before clipping in the step that training stopped in, by parameter."""
        return {} if self.stopped is None else self.stopped.gradients

    def _result(self, command: commands.Command) -> Any:
        return self._worker.result(self._do(command))
