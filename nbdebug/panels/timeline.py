"""The Timeline tab: rewind, checkpoint, break, fork and compare, replay."""

from __future__ import annotations

import html
import math
from typing import Any

from nbdebug.core.commands.running import Run
from nbdebug.core.commands.timeline import (
    BreakWhen,
    ClearBreakpoint,
    DiscardFork,
    ForkSteps,
    KeepFork,
    NameCheckpoint,
    Replay,
    Rewind,
)
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Progress
from nbdebug.core.results.flight_record import FlightRecord, flight_table
from nbdebug.core.results.fork_result import ForkResult
from nbdebug.core.results.fork_table import fork_table
from nbdebug.core.results.timeline import ActiveBreakpoints
from nbdebug.panels._buttons import button, progress_row
from nbdebug.panels._forms import row, submit, text_field
from nbdebug.panels._timeline_lanes import timeline_lanes
from nbdebug.panels.base import Panel
from nbdebug.rules._fork_start import STEPS_BACK, steps_back
from nbdebug.rules._remedies import grad_norm_p90

TIMELINE_COMMANDS = (Rewind.name, ForkSteps.name, KeepFork.name, Replay.name)
TIPS = {
    "rewind": "Rewind training to just before this step and pause. Steps from there on are "
    "discarded; the plots keep them as a grey branch. Enter a step, a negative number of steps "
    "back, or the name of a checkpoint; a click on a mark above fills in its step.",
    "checkpoint": "Save a checkpoint under this name between two steps, to rewind to it later.",
    "replay": "Run all steps again from the beginning between two steps, changes of controls "
    "included, and compare every loss and the final weights. Training stays where it is.",
    "break": "Pause before the update of every step at which this condition holds, such as "
    "grad_norm > 10, val_loss rises 5, step == 500. Takes effect at the next step.",
    "clear": "Remove this breakpoint. Takes effect at the next step.",
    "fork": "Train this many steps with and without each value on a copy, between two steps, with "
    "the same batches and dropout masks. Training stays where it is.",
    "keep": "Rewind training to the start of the fork, apply this change and train the same steps.",
    "discard": "Remove this comparison. Training does not change.",
    "stop": "Cancel this command at once. Training stays where it was.",
    "continue": "Continue with the next batch. This batch is excluded, also from a later replay.",
    "remedy": "Go back {back} steps on a copy and train {steps} steps with and without this "
    "change. Training stays where it is.",
}


class Timeline(Panel):
    """Marks of all checkpoints, changes, forks and breaks, and the forms of their commands."""

    name = "timeline"
    tab = "Timeline"
    order = 60
    title = "Timeline"
    help = "rewind to any step: click a mark or enter a step, then press Rewind"
    height = 320
    wide = True
    needs = ("grad_norm",)

    def build(self) -> None:
        self._forked: tuple[ForkResult | None, bool] | None = None

    def update(self, snapshot: Snapshot) -> None:
        live = snapshot.status.state != "closed"
        labels = {spec.name: spec.label for spec in self.context.controls}
        self._section("0", timeline_lanes(snapshot, labels))
        self._section("1", _rewind_forms() if live else "")
        self._section("2", _failure_trials(snapshot) if live else "")
        self._section("3", _breakpoint_form(snapshot) if live else "")
        self._section("4", self._fork_form() if live else "")
        self._section("5", _progress(snapshot))
        shown = snapshot.results.of(ForkResult), live
        if shown != self._forked:
            self._forked = shown
            self._section("6", _fork_result(*shown))

    def _section(self, name: str, page: str) -> None:
        self.context.sink.set_section(self.name, name, page)

    def _fork_form(self) -> str:
        options = "".join(
            f'<option value="{spec.name}">{html.escape(spec.label)}</option>'
            for spec in self.context.controls
            if not spec.action and not spec.unavailable and spec.kind != "samples"
        )
        choose = f'<label>Try <select data-field="control" aria-label="Control">{options}</select>'
        return row(
            choose + "</label>",
            text_field("values", "at", "1e-4, 1e-2", 14, "Values, separated by commas"),
            text_field("steps", "for", "200", 6, "Steps to train with each value"),
            "<span>steps</span>",
            submit("Fork and compare", ForkSteps.name, TIPS["fork"]),
        )


def _progress(snapshot: Snapshot) -> str:
    """Progress of a rewind, a fork or a replay; an empty row if none runs, so nothing jumps."""
    progress = snapshot.results.of(Progress)
    if progress is None or progress.command not in TIMELINE_COMMANDS:
        return '<div class="nbd-row"></div>'
    running = progress_row(progress, TIPS["stop"])
    return f'<div class="nbd-row" role="status">{running}</div>'


def _rewind_forms() -> str:
    rewind = row(
        text_field("step", "Step", "", 10, "Step to rewind to, or name of a checkpoint"),
        submit("Rewind", Rewind.name, TIPS["rewind"]),
    )
    save = row(
        text_field("label", "Checkpoint", "", 14, "Name of the checkpoint"),
        submit("Save", NameCheckpoint.name, TIPS["checkpoint"]),
    )
    replay = row(button("Replay everything", Replay.name, {}, TIPS["replay"]))
    return f'<div class="nbd-rows">{rewind}{save}{replay}</div>'


def _breakpoint_form(snapshot: Snapshot) -> str:
    known = "".join(
        button(f"{name} ✕", ClearBreakpoint.name, {"breakpoint": name}, TIPS["clear"])
        for name in snapshot.results.of(ActiveBreakpoints, ActiveBreakpoints()).names
    )
    return row(
        text_field("condition", "Break when", "", 26, "Condition, such as grad_norm > 10"),
        submit("Add", BreakWhen.name, TIPS["break"]),
        known,
    )


def _failure_trials(snapshot: Snapshot) -> str:
    """Buttons after a NaN or Inf: continue without the batch, or try a change on a copy."""
    failure = snapshot.status.failure
    if failure is None or failure.kind != "non_finite":
        return ""
    step = snapshot.status.step
    back = steps_back(snapshot)
    tip = TIPS["remedy"].format(back=back, steps=2 * STEPS_BACK)
    fixed = {"start": -back if back else None, "steps": 2 * STEPS_BACK}
    tries = [("A tenth of the learning rate", "lr", snapshot.latest.get("lr", math.nan) / 10)]
    tries.append(("Clip at the 90th percentile", "clip_threshold", grad_norm_p90(snapshot)))
    made = [
        button("Continue without this batch", Run.name, {}, TIPS["continue"]),
        _try("Exclude such batches", {"not_finite": "exclude"}, fixed, tip),
    ]
    for label, control, value in tries:
        if not value > 0:
            continue
        settings = {control: float(f"{value:.3g}")}
        made.append(_try(f"{label} ({value:.3g})", settings, fixed, tip))
    flight = snapshot.results.of(FlightRecord)
    look = "" if flight is None else flight_table(flight)
    return look + row('<span role="status">NaN or Inf at step ' + f"{step:,}:</span>", *made)


def _try(label: str, settings: dict[str, Any], fixed: dict[str, Any], tip: str) -> str:
    return button(f"Try: {label}", ForkSteps.name, {**fixed, "settings": settings}, tip)


def _fork_result(fork: ForkResult | None, live: bool) -> str:
    if fork is None:
        return ""
    made = [
        button(f"Keep {trial.label}", KeepFork.name, {"which": number}, TIPS["keep"])
        for number, trial in enumerate(fork.trials)
        if live and not trial.ended
    ]
    made.append(button("Discard", DiscardFork.name, {}, TIPS["discard"]))
    return fork_table(fork) + row(*made)
