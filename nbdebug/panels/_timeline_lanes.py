"""The timeline as HTML: lanes of marks, each a button that fills in its step."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.timeline import TimelineMarks
from nbdebug.plots.markers import format_value
from nbdebug.plots.theme import BLUE, GREY, ORANGE, VERMILLION

LANES = (
    ("checkpoint", "Checkpoints", GREY),
    ("change", "Changes", BLUE),
    ("fork", "Forks", ORANGE),
    ("break", "Breaks", VERMILLION),
)
FIRST_LANE_TOP, LANE_GAP = 10, 20
MAX_MARKS = 60


class LaneMark(NamedTuple):
    """A mark in a lane; `automatic` for a checkpoint without a name."""

    lane: str
    step: int
    text: str
    automatic: bool = False


def timeline_lanes(snapshot: Snapshot, labels: Mapping[str, str]) -> str:
    """HTML of all lanes, from step 0 to the last step that was ever trained.

    Args:
        labels: label of each control in the dashboard.
    """
    now = snapshot.status.step
    end = max([now, 1, *(branch.until for branch in snapshot.branches)])
    height = {lane: FIRST_LANE_TOP + LANE_GAP * number for number, (lane, _, _) in enumerate(LANES)}
    parts = [
        f'<div class="nbd-lane" style="top:{height[lane]}px"><span>{label}</span></div>'
        for lane, label, _ in LANES
    ]
    parts += [
        f'<div class="nbd-gone" title="{_discarded(branch.at, branch.until)}" style="top:'
        f"{height['checkpoint']}px;left:{branch.at / end:.2%};"
        f'width:{(branch.until - branch.at) / end:.2%}"></div>'
        for branch in snapshot.branches
    ]
    parts.append(f'<div class="nbd-now" title="step {now:,}" style="left:{now / end:.2%}"></div>')
    colours = {lane: colour for lane, _, colour in LANES}
    for lane, _, _ in LANES:
        found = [mark for mark in _marks(snapshot, labels) if mark.lane == lane]
        for mark in _thinned(found):
            parts.append(_mark(mark, mark.step / end, height[lane], colours[lane]))
    empty = "" if now or snapshot.branches else "<span>No steps yet: press Run.</span>"
    parts.append(f'<div class="nbd-ends"><span>0</span>{empty}<span>step {end:,}</span></div>')
    return f'<div class="nbd-strip" role="group" aria-label="Timeline">{"".join(parts)}</div>'


def _marks(snapshot: Snapshot, labels: Mapping[str, str]) -> Iterator[LaneMark]:
    for mark in snapshot.results.of(TimelineMarks, TimelineMarks()).marks:
        lane = "checkpoint" if mark.kind == "named" else mark.kind
        text = f"{lane} {mark.name}".rstrip()
        yield LaneMark(lane, mark.step, text, mark.kind == "checkpoint")
    for change in snapshot.changes:
        if change.status == "applied":
            known = labels.get(change.control, change.control)
            label = "Rewind" if change.kind == "rewind" else known
            text = f"{label}: {format_value(change.old)} to {format_value(change.new)}"
            yield LaneMark("change", change.step, text)


def _thinned(marks: list[LaneMark]) -> list[LaneMark]:
    """One mark per step; of more than 60, only every n-th automatic checkpoint is kept."""
    by_step: dict[int, LaneMark] = {}
    for mark in marks:
        before = by_step.get(mark.step)
        if before is not None and not before.automatic:
            mark = mark._replace(text=f"{before.text}; {mark.text}", automatic=False)
        by_step[mark.step] = mark
    kept = [by_step[step] for step in sorted(by_step)]
    stride = -(-len(kept) // MAX_MARKS)
    last = len(kept) - 1
    return [m for i, m in enumerate(kept) if i % stride == 0 or i == last or not m.automatic]


def _mark(mark: LaneMark, share: float, top: int, colour: str) -> str:
    label = html.escape(f"step {mark.step:,}: {mark.text}")
    value = html.escape(json.dumps(mark.step))
    return (
        f'<button type="button" class="nbd-mark" data-fill="step" '
        f'data-value="{value}" title="{label}" aria-label="{label}" '
        f'style="left:{share:.2%};top:{top}px;--nbd-mark:{colour}"></button>'
    )


def _discarded(at: int, until: int) -> str:
    return f"discarded by a rewind: steps {at:,} to {until:,}"
