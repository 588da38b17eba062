"""The Timeline tab: go back, break, fork and compare, replay."""

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
from nbdebug.core.results.fork import ForkResult, fork_table
from nbdebug.core.results.timeline import ActiveBreakpoints
from nbdebug.panels._buttons import button, under_way_row
from nbdebug.panels._forms import row, submit, text_field
from nbdebug.panels._timeline_strip import strip
from nbdebug.panels.base import Panel
from nbdebug.rules._fork_start import STEPS_BACK, steps_back
from nbdebug.rules._remedies import grad_norm_p90

COMMANDS = (Rewind.name, ForkSteps.name, KeepFork.name, Replay.name)
TIPS = {
    "rewind": "Goes back to where this step is to be made and pauses there: what was done at it "
    "and later is undone and stays as a grey branch. A mark of the timeline fills in its step; a "
    "negative number is so many steps back, a word the name of a checkpoint.",
    "checkpoint": "Keeps the state of training under this name, to come back to by it.",
    "replay": "Runs everything again from the beginning, changes included, and compares each loss "
    "and the weights at the end; training stays where it is.",
    "break": "Pauses before the update of a step at which this holds, such as grad_norm > 10, "
    "val_loss rises 5, step == 500.",
    "clear": "Forgets this breakpoint.",
    "fork": "Trains these steps without and with each value, on the same batches and dropout "
    "masks. Training stays where it is.",
    "keep": "Goes back to where the fork began, makes its change there and trains its steps.",
    "discard": "Puts this comparison away; training is as it was.",
    "stop": "Ends what is under way; training is where it was.",
    "go_on": "Goes on with the next batch; this one is left out, also when it is replayed.",
    "remedy": "Goes {back} steps back on a copy and trains {steps} steps without and with it. "
    "Training stays where it is.",
}


class Timeline(Panel):
    """Where training has been, and the ways back and aside."""

    name = "timeline"
    tab = "Timeline"
    order = 60
    title = "Timeline"
    help = "every step can be gone back to; choose a mark, then Rewind"
    height = 320
    wide = True
    needs = ("grad_norm",)

    def build(self) -> None:
        self._forked: tuple[ForkResult | None, bool] | None = None

    def update(self, snapshot: Snapshot) -> None:
        live = snapshot.status.state != "closed"
        labels = {spec.name: spec.label for spec in self.context.controls}
        self._section("0", strip(snapshot, labels))
        self._section("1", _travel() if live else "")
        self._section("2", _remedies(snapshot) if live else "")
        self._section("3", _breakpoints(snapshot) if live else "")
        self._section("4", self._fork_form() if live else "")
        self._section("5", _under_way(snapshot))
        shown = snapshot.results.of(ForkResult), live
        if shown != self._forked:
            self._forked = shown
            self._section("6", _forked(*shown))

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
            text_field("values", "at", "1e-4, 1e-2", 14, "Values, with commas between"),
            text_field("steps", "for", "200", 6, "Steps of each way"),
            "<span>steps</span>",
            submit("Fork and compare", ForkSteps.name, TIPS["fork"]),
        )


def _under_way(snapshot: Snapshot) -> str:
    """How far a rewind, a fork or a replay is; room for it when there is none."""
    progress = snapshot.results.of(Progress)
    if progress is None or progress.command not in COMMANDS:
        return '<div class="nbd-row"></div>'
    said = under_way_row(progress, TIPS["stop"])
    return f'<div class="nbd-row" role="status">{said}</div>'


def _travel() -> str:
    go = row(
        text_field("step", "Step", "", 10, "Step to go back to, or the name of a checkpoint"),
        submit("Rewind", Rewind.name, TIPS["rewind"]),
    )
    keep = row(
        text_field("label", "Checkpoint", "", 14, "Name of the checkpoint"),
        submit("Keep", NameCheckpoint.name, TIPS["checkpoint"]),
    )
    replay = row(button("Replay everything", Replay.name, {}, TIPS["replay"]))
    return f'<div class="nbd-rows">{go}{keep}{replay}</div>'


def _breakpoints(snapshot: Snapshot) -> str:
    known = "".join(
        button(f"{name} ✕", ClearBreakpoint.name, {"breakpoint": name}, TIPS["clear"])
        for name in snapshot.results.of(ActiveBreakpoints, ActiveBreakpoints()).names
    )
    return row(
        text_field("condition", "Break when", "", 26, "Condition, such as grad_norm > 10"),
        submit("Add", BreakWhen.name, TIPS["break"]),
        known,
    )


def _remedies(snapshot: Snapshot) -> str:
    """After a value that is not finite: what to try, each on a copy from some steps before."""
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
        button("Go on without this batch", Run.name, {}, TIPS["go_on"]),
        _try("Exclude such batches", {"not_finite": "exclude"}, fixed, tip),
    ]
    for label, control, value in tries:
        if not value > 0:
            continue
        settings = {control: float(f"{value:.3g}")}
        made.append(_try(f"{label} ({value:.3g})", settings, fixed, tip))
    flight = snapshot.results.of(FlightRecord)
    look = "" if flight is None else flight_table(flight)
    return look + row('<span role="status">Not finite at step ' + f"{step:,}:</span>", *made)


def _try(label: str, settings: dict[str, Any], fixed: dict[str, Any], tip: str) -> str:
    return button(f"Try: {label}", ForkSteps.name, {**fixed, "settings": settings}, tip)


def _forked(fork: ForkResult | None, live: bool) -> str:
    if fork is None:
        return ""
    made = [
        button(f"Keep {trial.label}", KeepFork.name, {"which": number}, TIPS["keep"])
        for number, trial in enumerate(fork.trials)
        if live and not trial.ended
    ]
    made.append(button("Discard", DiscardFork.name, {}, TIPS["discard"]))
    return fork_table(fork) + row(*made)
