"""The timeline as HTML: lanes of marks, each a button that takes its step."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping

from nbdebug.core.commands.commands import Rewind
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.plots.markers import format_value
from nbdebug.plots.theme import BLUE, GREY, ORANGE, VERMILLION

LANES = (
    ("checkpoint", "Checkpoints", GREY),
    ("change", "Changes", BLUE),
    ("fork", "Forks", ORANGE),
    ("break", "Breaks", VERMILLION),
)
TOP, GAP = 10, 20
MOST = 60
Place = tuple[str, int, str]


def strip(snapshot: Snapshot, labels: Mapping[str, str]) -> str:
    """All lanes, from step 0 to where training is or ever was.

    Args:
        labels: what the dashboard calls each control.
    """
    now = snapshot.status.step
    end = max([now, 1, *(branch.until for branch in snapshot.branches)])
    height = {lane: TOP + GAP * number for number, (lane, _, _) in enumerate(LANES)}
    parts = [
        f'<div class="nbd-lane" style="top:{height[lane]}px"><span>{label}</span></div>'
        for lane, label, _ in LANES
    ]
    parts += [
        f'<div class="nbd-gone" title="{_left(branch.at, branch.until)}" style="top:'
        f"{height['checkpoint']}px;left:{branch.at / end:.2%};"
        f'width:{(branch.until - branch.at) / end:.2%}"></div>'
        for branch in snapshot.branches
    ]
    parts.append(f'<div class="nbd-now" title="step {now:,}" style="left:{now / end:.2%}"></div>')
    colours = {lane: colour for lane, _, colour in LANES}
    for lane, _, _ in LANES:
        found = [place for place in _places(snapshot, labels) if place[0] == lane]
        for _, step, text in _thinned(found):
            parts.append(_mark(step, text, step / end, height[lane], colours[lane]))
    empty = "" if now or snapshot.branches else "<span>Nothing has happened yet: press Run.</span>"
    parts.append(f'<div class="nbd-ends"><span>0</span>{empty}<span>step {end:,}</span></div>')
    return f'<div class="nbd-strip" role="group" aria-label="Timeline">{"".join(parts)}</div>'


def _places(snapshot: Snapshot, labels: Mapping[str, str]) -> Iterator[Place]:
    for mark in snapshot.marks:
        lane = "checkpoint" if mark.kind == "named" else mark.kind
        word = {"checkpoint": "checkpoint", "named": "checkpoint"}.get(mark.kind, mark.kind)
        yield lane, mark.step, f"{word} {mark.name}".rstrip()
    for change in snapshot.changes:
        if change.status == "applied":
            label = labels.get(change.control, change.control)
            yield (
                "change",
                change.step,
                f"{label}: {format_value(change.old)} to {format_value(change.new)}",
            )


def _thinned(places: list[Place]) -> list[Place]:
    """One mark a step, at most 60: named ones and both ends stay, others are taken evenly."""
    by_step: dict[int, Place] = {}
    for lane, step, text in places:
        before = by_step.get(step)
        joined = text if before is None or before[2] == "checkpoint" else f"{before[2]}; {text}"
        by_step[step] = (lane, step, joined)
    kept = [by_step[step] for step in sorted(by_step)]
    stride = -(-len(kept) // MOST)
    last = len(kept) - 1
    return [p for i, p in enumerate(kept) if i % stride == 0 or i == last or p[2] != "checkpoint"]


def _mark(step: int, text: str, share: float, top: int, colour: str) -> str:
    label = html.escape(f"step {step:,}: {text}")
    value = html.escape(json.dumps(step))
    return (
        f'<button type="button" class="nbd-mark" data-control="{Rewind.control}" data-fill="step" '
        f'data-value="{value}" title="{label}" aria-label="{label}" '
        f'style="left:{share:.2%};top:{top}px;--nbd-mark:{colour}"></button>'
    )


def _left(at: int, until: int) -> str:
    return f"left behind by a rewind: steps {at:,} to {until:,}"
