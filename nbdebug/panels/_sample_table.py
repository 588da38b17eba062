"""The samples behind a finding, with what can be done about each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nbdebug.core.commands.base import SET_CONTROLS
from nbdebug.core.commands.examining import CloseWorstSamples, FindWorstSamples
from nbdebug.core.results.findings import Finding
from nbdebug.core.results.worst_samples import WorstSample, WorstSamples, worst_sample_table
from nbdebug.panels._buttons import button

# Where single samples may be behind it; whether it is those of the step it began at.
SHOWN = {
    "not_finite": False,
    "gradient_spike": True,
    "diverging": False,
    "not_learning": False,
    "no_better_than_constant": False,
}
LOOK = "Looks at each sample of the batch alone, for its loss and gradient; moves nothing."
LEAVE = "No batch holds this sample any more. Takes effect at the next batch; can be undone."
RELABEL = (
    "Trains on this sample with what the model predicts as its target; the data is not written "
    "to. Takes effect at the next batch; can be undone."
)
UNDO = "Trains on it again as it is in the data. Takes effect at the next batch."
CLOSE = "Puts this table away."
TOOLS = "display:inline-flex;gap:8px;white-space:nowrap"
InForce = tuple[tuple[int, ...], dict[int, Any]]


def look_button(finding: Finding, busy: bool) -> str:
    """Asks for the samples behind a finding; "" where there are none to speak of."""
    if finding.name not in SHOWN:
        return ""
    fields = {"step": finding.since} if SHOWN[finding.name] and finding.since else {}
    asked = button("Show the samples", FindWorstSamples.name, fields, LOOK, busy)
    return f'<div class="nbd-row">{asked}</div>'


def culprit_rows(found: WorstSamples | None, in_force: InForce, available: set[str]) -> str:
    """The table, and what was done about samples.

    Args:
        in_force: samples left out, and new targets by sample.
        available: controls that can be used.
    """
    done = "".join(_done(*in_force))
    said = f'<div class="nbd-row" role="status">{done}</div>' if done else ""
    if found is None:
        return said
    tools = tuple(_tools(sample, in_force, available) for sample in found.samples)
    close = f'<div class="nbd-row">{button("Close", CloseWorstSamples.name, {}, CLOSE)}</div>'
    return worst_sample_table(found, tools) + said + close


def _tools(sample: WorstSample, in_force: InForce, available: set[str]) -> str:
    excluded, relabelled = in_force
    if sample.index is None:
        return ""
    made = ""
    if "excluded_samples" in available and sample.index not in excluded:
        made += _ask("Leave out", {"excluded_samples": [*excluded, sample.index]}, LEAVE)
    guess = sample.prediction
    if "relabelled" in available and isinstance(guess, int) and guess != sample.target:
        changed = {**relabelled, sample.index: guess}
        if relabelled.get(sample.index) != guess:
            made += _ask(f"Relabel as {guess}", {"relabelled": changed}, RELABEL)
    return (
        f'<span style="display:inline-flex;gap:8px;white-space:nowrap">{made}</span>'
        if made
        else ""
    )


def _done(excluded: tuple[int, ...], relabelled: dict[int, Any]) -> Iterator[str]:
    for index in excluded:
        rest = [other for other in excluded if other != index]
        yield _ask(f"{index} is left out ✕", {"excluded_samples": rest}, UNDO)
    for index, target in relabelled.items():
        others = {other: value for other, value in relabelled.items() if other != index}
        yield _ask(f"{index} is now {target} ✕", {"relabelled": others}, UNDO)


def _ask(label: str, settings: dict[str, Any], tip: str) -> str:
    return button(label, SET_CONTROLS, {"settings": settings}, tip)
