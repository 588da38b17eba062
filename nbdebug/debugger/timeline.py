"""`dbg.timeline`: checkpoints, rewind, fork, replay, breakpoints and the script of a training."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, cast

from nbdebug.core.commands.examining import RecordFlight
from nbdebug.core.commands.timeline import (
    BreakWhen,
    ClearBreakpoint,
    ForkSteps,
    KeepFork,
    NameCheckpoint,
    Replay,
    Rewind,
    SaveCheckpoint,
    Undo,
    UndoAndRewind,
    WriteScript,
)
from nbdebug.core.deprecated import warn_deprecated
from nbdebug.core.files.output_files import as_path
from nbdebug.core.history.history import History
from nbdebug.core.results.findings import Finding, Rules
from nbdebug.core.results.flight_record import FlightRecord
from nbdebug.core.results.fork import Fork
from nbdebug.core.results.fork_result import ForkResult
from nbdebug.core.results.timeline import (
    ActiveBreakpoints,
    Branch,
    Mark,
    ReplayResult,
    TimelineMarks,
)
from nbdebug.core.results.undo import UndoableChange, UndoResult
from nbdebug.debugger.client import Client
from nbdebug.debugger.keywords import refuse_unknown_keywords
from nbdebug.errors import ArgumentError
from nbdebug.rules._fork_start import chosen_remedy, fork_start, fork_steps


@refuse_unknown_keywords
class DebuggerTimeline:
    """Timeline of a training: rewind to any step, fork, replay."""

    def __init__(self, client: Client, history: History, rules: Rules) -> None:
        self._client, self._history, self._rules = client, history, rules

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Checkpoints, breaks and forks, each with its step."""
        return self._history.results.of(TimelineMarks, TimelineMarks()).marks

    @property
    def branches(self) -> tuple[Branch, ...]:
        """Steps that rewinds discarded."""
        return self._history.snapshot(()).branches

    def checkpoint(self, name: str | None = None) -> int:
        """Save a checkpoint, to rewind to by its step or by a name.

        Checkpoints are also taken automatically: at intervals, and before each change of a
        control.

        Returns:
            The step of the checkpoint.
        """
        return cast(int, self._client.do(NameCheckpoint(name or "")))

    def save(self) -> str:
        """Write the state of training to disk now, for `Debugger.resume`.

        A Debugger with a name does so every minute and on close.

        Returns:
            The path of the file.

        Raises:
            ArgumentError: the Debugger has no name.
            CheckpointError: the data could not go on from there, or a longer training
                of the same name is on disk.
            OutputError: the file cannot be written.
        """
        return cast(str, self._client.do(SaveCheckpoint()))

    def rewind(self, step: int | str, *, why: str = "") -> ReplayResult:
        """Rewind training to just before `step` and pause.

        The nearest earlier checkpoint is restored and the steps from there are run again; each
        loss and gradient norm is compared with the recorded one. Steps from `step` on are
        discarded; the plots keep them as a grey branch.

        Args:
            step: from 0 to the current step; a negative number of steps back; or the
                name of a checkpoint.
            why: a reason, recorded with the change.

        Raises:
            ArgumentError: there is no such step or name.
            DataError: the data cannot be read again from there.
            TaskStopped: the rewind was stopped; training is where it was.
        """
        return cast(ReplayResult, self._client.do(Rewind(step, why=why)))

    def undo(self, *, rewind: bool = False) -> UndoResult:
        """Take back the last change of controls that is still in force.

        The values that one call of `set` changed are taken back together, and so are the steps of
        a control in the dashboard with less than a second between them. It is a change of its own
        that `replay`, `script` and the record repeat. Each further `undo` takes back an earlier
        change. What a schedule, a rewind or `reset` changed stays, and so do the weights: where
        the loss rose after the change, the result offers the step to rewind to.

        Args:
            rewind: rewind to just before the change instead, and pause there.

        Raises:
            ArgumentError: no change is in force.
            ControlValueError: new weights or edited samples cannot be taken back without a
                rewind, or an old value cannot be set any more; nothing was changed.
        """
        if not isinstance(rewind, bool):
            raise ArgumentError(f"rewind must be True or False, got {rewind!r:.80}.")
        return cast(UndoResult, self._client.do(UndoAndRewind() if rewind else Undo()))

    @property
    def undoable(self) -> UndoableChange | None:
        """The change that `undo` would take back, None without one."""
        return self._history.results.of(UndoableChange)

    def fork(
        self,
        /,
        steps: int = 200,
        *,
        start: int | str | None = None,
        for_finding: str = "",
        **changes: Any,
    ) -> Fork:
        """Train some steps with and without a change, on the same batches and dropout masks.

        Training stays where it is; `keep()` of the result continues with the change.

        Args:
            steps: how many, from 1 to 100,000.
            start: where to begin, as for `rewind`; None is the current step. Changes made between
                `start` and now are not part of the fork.
            for_finding: name of the finding that the change should cure; the result then says
                whether the finding is gone at the end.
            **changes: values of controls; a list tries each of its values, several lists all
                combinations, 16 at most. A clip threshold switches clipping by norm on where
                clipping is off.

        Raises:
            ControlNameError, ControlValueError, ArgumentError: nothing was tried.
            TaskStopped: the fork was stopped.
            Exception: whatever the model, the loss or the data raised, as it was.
        """
        if "cures" in changes:
            warn_deprecated("fork(cures=...)", "fork(for_finding=...)")
            for_finding = changes.pop("cures")
        return self._forked(ForkSteps(steps, _combinations(changes), start, for_finding))

    def _forked(self, command: ForkSteps) -> Fork:
        result: ForkResult = self._client.do(command)
        return Fork(result, lambda which: self._client.do(KeepFork(which, result)))

    def try_remedy(
        self,
        finding: Finding | None = None,
        which: int | None = None,
        steps: int | None = None,
    ) -> Fork:
        """Try a remedy of a finding: fork some steps with and without it.

        The fork begins at the current step; after a stop, or if the weights are already damaged,
        at an earlier checkpoint. It is long enough for the finding to come back.

        Args:
            finding: one of `findings`; None is the first one.
            which: number of the remedy; None is the first one that sets a control. The result
                names those before it, which were not tried.
            steps: how many, from 1 to 100,000; None is 200, and after NaN or Inf five times the
                steps from the start of the fork to it.

        Raises:
            ArgumentError: there is no such finding or remedy, or the remedy is no value of a
                control.
        """
        found = self._rules.look()
        chosen = finding if finding is not None else next(iter(found), None)
        if chosen is None:
            raise ArgumentError("There is no finding: nothing looks sick.")
        if not isinstance(chosen, Finding):
            raise ArgumentError(
                f"finding is a {type(chosen).__name__}: pass one of dbg.findings, such as "
                "dbg.findings[0]."
            )
        number = chosen_remedy(chosen, which)
        snapshot = self._history.snapshot(())
        start = fork_start(snapshot, chosen)
        steps = fork_steps(snapshot, chosen, start) if steps is None else steps
        settings = _combinations(chosen.remedies[number].settings)
        passed = () if which is not None else chosen.remedies[:number]
        texts = tuple(remedy.text for remedy in passed)
        return self._forked(ForkSteps(steps, settings, start, chosen.name, texts))

    def replay(self) -> ReplayResult:
        """Run all steps again from the beginning, changes included, and compare.

        Training stays where it is. `equal` of the result is True if every loss and, at the end,
        weights, buffers and optimizer state are equal to the bit.

        Raises:
            DataError: the data cannot be read again from its beginning.
            TaskStopped: the replay was stopped.
        """
        return cast(ReplayResult, self._client.do(Replay()))

    def flight_record(self) -> FlightRecord:
        """Run the last steps again on a copy, and list the largest output of every module.

        After a NaN or Inf the excluded batch comes last; the record is made automatically there
        if it takes less than 2 seconds.

        Raises:
            DataError: the data cannot be read again.
            TaskStopped: the command was stopped.
        """
        return cast(FlightRecord, self._client.do(RecordFlight()))

    def script(
        self,
        path: str | PathLike[str],
        *,
        model: str | None = None,
        data: Callable[[], Any] | None = None,
    ) -> None:
        """Write a plain PyTorch program that trains the same steps to the same weights.

        Changes are made at their steps. Initial weights and data are in a `.pt` file beside the
        program, loaded with `weights_only=True`; the trained weights are saved as
        `<name>-trained.pt`.

        Args:
            path: where to write the program, such as "train.py".
            model: the expression that builds the model, such as "Net(width=64)"; None finds it
                for layers of torch.nn and for classes that need no argument.
            data: a function of yours that returns the tensors (X, y); None writes them into the
                file.

        Raises:
            ScriptError: a part of training cannot be written in plain PyTorch; the message says
                which.
            OutputError: nothing can be written there.
            TaskStopped: the command was stopped.
        """
        self._client.do(WriteScript(str(as_path(path)), model, data))

    def break_when(self, condition: str | Callable[[Mapping[str, float]], Any]) -> None:
        """Pause before the update of a step at which a condition holds.

        `batch`, `outputs` and `gradients` of that step can then be inspected; `step`, `start` and
        `run` make the update and continue.

        Args:
            condition: `"grad_norm > 10"`, `"val_loss rises 5"` (5 measurements in a row),
                `"step == 500"`, joined by `and`, `or` and parentheses, with any series. The text
                is parsed, never run as code. Or a function of all latest values by name.

        Raises:
            ArgumentError: the condition cannot be read, or there is no such series.
        """
        self._client.do(BreakWhen(condition))

    def clear_breakpoints(self, condition: str | None = None) -> None:
        """Remove one breakpoint; without a condition remove all."""
        self._client.do(ClearBreakpoint(condition))

    @property
    def breakpoints(self) -> tuple[str, ...]:
        """The conditions that pause training."""
        return self._history.results.of(ActiveBreakpoints, ActiveBreakpoints()).names


def _combinations(changes: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return all combinations of values, where a list holds the values to try."""
    choices = {
        name: value if isinstance(value, list) else [value] for name, value in changes.items()
    }
    products = itertools.product(*choices.values())
    return tuple(dict(zip(choices, values, strict=True)) for values in products)
