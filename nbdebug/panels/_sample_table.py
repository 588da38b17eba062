"""The worst samples of a batch, with buttons to exclude or relabel each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nbdebug.core.commands.base import SET_CONTROLS
from nbdebug.core.commands.examining import CloseWorstSamples, FindWorstSamples
from nbdebug.core.results.findings import Finding
from nbdebug.core.results.worst_samples import WorstSample, WorstSamples, worst_sample_table
from nbdebug.panels._buttons import button, choice_button
from nbdebug.panels.attribution import EXPLAIN
from nbdebug.panels.network_picture import INDEX, SAMPLE, PictureOfNetwork

# Findings that single samples may cause; True: samples of the step at which the finding began.
SAMPLE_FINDINGS = {
    "not_finite": False,
    "gradient_spike": True,
    "diverging": False,
    "not_learning": False,
    "no_better_than_constant": False,
}
SHOW_TIP = (
    "Compute loss and gradient of each sample of the batch alone, between two steps. Training "
    "does not change."
)
EXCLUDE_TIP = "Exclude this sample from all batches. Takes effect at the next batch; can be undone."
RELABEL_TIP = (
    "Train on this sample with the model's prediction as its target; the data itself stays as it "
    "is. Takes effect at the next batch; can be undone."
)
UNDO_TIP = "Train on this sample again as it is in the data. Takes effect at the next batch."
LOOK_TIP = (
    "Look inside: show what each part of the network gives for this sample, and which inputs its "
    "output depends on. Training does not change."
)
CLOSE_TIP = "Hide this table. Takes effect at once."
InForce = tuple[tuple[int, ...], dict[int, Any]]


def samples_button(finding: Finding, busy: bool) -> str:
    """Button that lists the samples behind a finding; "" if no single sample causes it."""
    if finding.name not in SAMPLE_FINDINGS:
        return ""
    fields = {"step": finding.since} if SAMPLE_FINDINGS[finding.name] and finding.since else {}
    asked = button("Show the samples", FindWorstSamples.name, fields, SHOW_TIP, busy)
    return f'<div class="nbd-row">{asked}</div>'


def sample_rows(found: WorstSamples | None, in_force: InForce, available: set[str]) -> str:
    """Table of the samples, and buttons that undo exclusions and new labels.

    Args:
        in_force: excluded samples, and new targets by sample.
        available: controls that can be used.
    """
    undo = "".join(_undo_buttons(*in_force))
    edits = f'<div class="nbd-row" role="status">{undo}</div>' if undo else ""
    if found is None:
        return edits
    tools = tuple(_tools(sample, in_force, available) for sample in found.samples)
    close = f'<div class="nbd-row">{button("Close", CloseWorstSamples.name, {}, CLOSE_TIP)}</div>'
    return worst_sample_table(found, tools) + edits + close


def _tools(sample: WorstSample, in_force: InForce, available: set[str]) -> str:
    excluded, relabelled = in_force
    if sample.index is None:
        return ""
    made = look_inside(f"{INDEX}{sample.index}") if available else ""
    if "excluded_samples" in available and sample.index not in excluded:
        made += _ask("Exclude", {"excluded_samples": [*excluded, sample.index]}, EXCLUDE_TIP)
    guess = sample.prediction
    if "relabelled" in available and isinstance(guess, int) and guess != sample.target:
        changed = {**relabelled, sample.index: guess}
        if relabelled.get(sample.index) != guess:
            made += _ask(f"Relabel as {guess}", {"relabelled": changed}, RELABEL_TIP)
    return (
        f'<span style="display:inline-flex;gap:8px;white-space:nowrap">{made}</span>'
        if made
        else ""
    )


def look_inside(sample: str, label: str = "Look inside") -> str:
    """Button that shows activations and saliency of a sample.

    Args:
        sample: value of the option of the samples.
    """
    also = {EXPLAIN: "saliency"}
    return choice_button(label, SAMPLE, sample, PictureOfNetwork.tab, LOOK_TIP, also)


def _undo_buttons(excluded: tuple[int, ...], relabelled: dict[int, Any]) -> Iterator[str]:
    for index in excluded:
        rest = [other for other in excluded if other != index]
        yield _ask(f"{index} is excluded ✕", {"excluded_samples": rest}, UNDO_TIP)
    for index, target in relabelled.items():
        others = {other: value for other, value in relabelled.items() if other != index}
        yield _ask(f"{index} is now {target} ✕", {"relabelled": others}, UNDO_TIP)


def _ask(label: str, settings: dict[str, Any], tip: str) -> str:
    return button(label, SET_CONTROLS, {"settings": settings}, tip)
