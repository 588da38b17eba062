"""Fork: some steps with and without a change, from the same state on the same batches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from nbdebug.core.commands.running import SetControl
from nbdebug.core.commands.timeline import ForkSteps
from nbdebug.core.history.history import History
from nbdebug.core.records import Status
from nbdebug.core.results.fork_result import ForkResult, Trial
from nbdebug.errors import ControlValueError, NonFiniteError, TaskStopped
from nbdebug.rules._diagnosis import Diagnosis
from nbdebug.training.engine.control_set import ControlSet
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.engine.stopping.stop_report import MAX_EXCLUDED_IN_A_ROW, failure_of
from nbdebug.training.timeline.checkpoint import Checkpoint
from nbdebug.training.timeline.failures import is_alone, leave_out_batch
from nbdebug.training.timeline.timeline import Timeline


def fork(
    timeline: Timeline,
    loop: Loop,
    controls: ControlSet,
    command: ForkSteps,
    progress: TaskProgress,
    diagnosis: Diagnosis,
) -> ForkResult:
    """Train every variant, then return to the present state.

    Each variant has a separate History, and the rules judge it at its end. Random numbers and
    batches are the same for all variants, unless a change alters how many are drawn.

    Raises:
        TaskStopped: the fork was stopped; training is where it was.
        ControlValueError: a change was refused.
        ArgumentError: there is no rule for the finding to cure.
        Exception: whatever the user's code raised; training is where it was.
    """
    title = diagnosis.title(command.for_finding) if command.for_finding else ""
    # The rollback would make all probes due, so `trial_steps` is outside.
    with loop.trial_steps(), timeline.rolled_back() as present:
        start = present
        if command.start is not None:
            start = timeline.capture_at(timeline.resolve(command.start), progress)
        base, *trials = _train_variants(start, loop, controls, command, progress, diagnosis)
    timeline.mark("fork", ", ".join({name: 0 for trial in trials for name in trial.settings}))
    return ForkResult(
        start.step,
        command.steps,
        start.cursor,
        timeline.edits.rewinds,
        base,
        tuple(trials),
        _note(command.changes),
        command.for_finding,
        title,
        start.fallback,
        command.passed_over,
    )


def _train_variants(
    start: Checkpoint,
    loop: Loop,
    controls: ControlSet,
    command: ForkSteps,
    progress: TaskProgress,
    diagnosis: Diagnosis,
) -> list[Trial]:
    """Train from `start`, the present state: first without a change, then each variant."""
    trials: list[Trial] = []
    clips = controls.values()["clip_mode"] != "off"
    variants = ({}, *(one if clips else _clipping(one) for one in command.changes))
    for number, changes in enumerate(variants):
        if number:
            start.restore(loop, controls)
        history = History()
        _change(controls, changes, history)
        loop.controls_changed()
        loss, ended = _train(loop, history, command.steps, progress, (number, len(variants)))
        held_out = history.last("val_loss") if "val_loss" in history.series else math.nan
        findings = diagnosis.judge(start.step, history)
        loss.setflags(write=False)
        trials.append(Trial(changes, loss, ended, findings, held_out))
    return trials


def _clipping(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The changes, with clipping by norm: a threshold alone does nothing while clipping is off."""
    return {"clip_mode": "norm", **changes} if "clip_threshold" in changes else changes


def _change(controls: ControlSet, changes: Mapping[str, Any], history: History) -> None:
    """Apply values and record them for the rules, or raise ControlValueError."""
    for name, value in changes.items():
        change = controls.apply(SetControl(name, value, "fork"))
        history.add_change(change)
        if change.status != "applied":
            raise ControlValueError(f"{name} could not be set to {value!r}: {change.note}")


def _train(
    loop: Loop, history: History, steps: int, progress: TaskProgress, variant: tuple[int, int]
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], str]:
    """Train a variant; return its losses [N] and the reason of an early end, or ""."""
    losses = np.full(steps, math.nan)
    number, count = variant
    for done in range(steps):
        share = (number + done / steps) / count
        progress.advance(share, f"Fork, variant {number + 1} of {count}")
        if progress.should_stop():
            raise TaskStopped("The fork was stopped; training is where it was.")
        error = _make_step(loop, history)
        if error is not None:
            history.set_status(replace(_status(loop), failure=failure_of(error, loop.session.step)))
            return losses, f"NaN or Inf after {done} steps"
        losses[done] = loop.last[0]
    history.set_status(_status(loop))
    return losses, ""


def _status(loop: Loop) -> Status:
    session = loop.session
    return Status(step=session.step, samples=session.samples, epoch=session.epoch)


def _make_step(loop: Loop, history: History) -> NonFiniteError | None:
    """Make a step, past excluded batches; return the error if there is no finite one."""
    error = None
    for _ in range(MAX_EXCLUDED_IN_A_ROW if loop.session.exclude_nonfinite else 1):
        try:
            _step_past_lone_batch(loop, history)
        except NonFiniteError as raised:
            error = raised
            continue
        return None
    return error


def _step_past_lone_batch(loop: Loop, history: History) -> None:
    """Make a step; a batch of one sample that BatchNorm cannot take is left out, as in training."""
    try:
        loop.trial_step(history)
    except ValueError as error:
        if not is_alone(loop, error, loop.batch):
            raise
        leave_out_batch(loop, history)
        loop.trial_step(history)


def _note(changes: tuple[Mapping[str, Any], ...]) -> str:
    if any("batch_size" in variant for variant in changes):
        return "The batch size differs, so steps of different trials have different batches."
    if any("accumulate" in variant for variant in changes):
        return "Steps of different trials have different numbers of batches."
    return ""
