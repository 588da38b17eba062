"""Buttons that try or apply a remedy, and the result of a trial."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from nbdebug.core.commands.base import SET_CONTROLS
from nbdebug.core.commands.timeline import DiscardFork, ForkSteps, KeepFork
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Progress
from nbdebug.core.results.findings import Finding, Remedy
from nbdebug.core.results.fork_result import ForkResult, Trial
from nbdebug.panels._buttons import button, progress_row
from nbdebug.panels.base import PanelContext
from nbdebug.rules._fork_start import FORK_STEPS, fork_start, fork_steps

TRY_TIP = (
    f"Train {FORK_STEPS} steps with and without this remedy on a copy, between two steps, with the "
    "same batches and dropout masks. Training stays where it is until you press Keep."
)
APPLY_TIP = "Apply this remedy without a trial; takes effect at the next step."
KEEP_TIP = "Rewind training to the start of the trial, apply this remedy and train the same steps."
DISCARD_TIP = "Remove this trial. Training does not change."
STOP_TIP = "Stop this trial at once. Training stays where it was."


def known_values(context: PanelContext) -> dict[str, Any]:
    """Values in force of the controls that can be set now."""
    values = context.values_in_force()
    return {one.name: values.get(one.name) for one in context.controls if not one.unavailable}


def usable(remedy: Remedy, known: Mapping[str, Any]) -> bool:
    """Tell if the controls of a remedy can all be set now, and that would change something.

    Args:
        known: values in force of the controls that can be set.
    """
    settings = remedy.settings
    return set(settings) <= set(known) and any(known[name] != settings[name] for name in settings)


def values_text(remedy: Remedy, labels: Mapping[str, str]) -> str:
    """Numbers that a remedy sets, such as "Learning rate 0.006"; "" without a number."""
    values = [
        f"{labels.get(name, name)} {value:.3g}"
        for name, value in remedy.settings.items()
        if isinstance(value, float)
    ]
    return ", ".join(values)


def remedy_buttons(
    finding: Finding, remedy: Remedy, snapshot: Snapshot, busy: bool, what: str = ""
) -> str:
    """Buttons Try and Apply of a remedy.

    Args:
        what: words after "Try", to tell what is tried.
    """
    fields: dict[str, Any] = {
        "settings": dict(remedy.settings),
        "steps": fork_steps(snapshot, finding, fork_start(snapshot, finding)),
        "for_finding": finding.name,
        "start": fork_start(snapshot, finding),
    }
    apply = {"settings": dict(remedy.settings)}
    return button(f"Try {what}".strip(), ForkSteps.name, fields, TRY_TIP, busy) + button(
        "Apply", SET_CONTROLS, apply, APPLY_TIP, busy
    )


def trial_progress(snapshot: Snapshot) -> str:
    """Progress of a trial under way with a button that stops it, "" without one."""
    progress = snapshot.results.of(Progress)
    if progress is None or progress.command not in (ForkSteps.name, KeepFork.name):
        return ""
    return progress_row(progress, STOP_TIP)


def trial_result(finding: Finding, snapshot: Snapshot) -> str:
    """Result of the trials for this finding, with Keep and Discard; "" without a trial."""
    fork = snapshot.results.of(ForkResult)
    if fork is None or fork.for_finding != finding.name:
        return ""
    parts = []
    for number, trial in enumerate(fork.trials):
        said = html.escape(_came_to(fork, trial))
        parts.append(f'<span class="nbd-verdict" title="{said}">{said}</span>')
        if not trial.ended:
            label = "Keep" if len(fork.trials) == 1 else f"Keep {trial.label}"
            parts.append(button(label, KeepFork.name, {"which": number}, KEEP_TIP))
    parts.append(button("Discard", DiscardFork.name, {}, DISCARD_TIP))
    return "".join(parts)


def _came_to(fork: ForkResult, trial: Trial) -> str:
    """A sentence about one trial: whether the finding is gone, and the loss."""
    cured = fork.cured(trial)
    if fork.for_finding not in fork.base.findings.names:
        gone = "the finding goes away with and without the change"
    elif cured is None:
        judged = fork.for_finding not in trial.findings.not_judged
        gone = "the finding is gone, but the loss is not lower: this is no proof of a cure"
        if not judged:
            gone = "too little was measured to say whether the finding is gone"
    else:
        gone = "the finding is gone" if cured else "the finding is still there"
    return f"After {fork.steps:,} steps with {trial.label}: {gone}; {fork.verdict(trial)}."
