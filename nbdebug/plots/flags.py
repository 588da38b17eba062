"""Short texts at the upper ends of the marks of control changes: "lr x10", "BN, Drop"."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bokeh.model import Model
from bokeh.models import Node
from bokeh.models.annotations import Label
from bokeh.plotting import figure

from nbdebug.core.control_spec import ControlSpec
from nbdebug.core.records import ControlChange
from nbdebug.plots.markers import format_value
from nbdebug.plots.theme import PURPLE

MAX_FLAGS = 6
MAX_FLAG_LENGTH = 26
# Of the narrowest plot, and of a letter of 10 px; what is drawn may be wider.
PLOT_PIXELS, LETTER_PIXELS, GAP_PIXELS = 350, 5.8, 8
EDGE_PIXELS = 4
# Changes this close together are one turn of a dial.
TURN_PIXELS = 12
# What is more is read better as the new value.
MAX_RATIO = 99
SHORT_LABELS = {
    "lr": "lr",
    "batch_size": "batch",
    "accumulate": "accumulate",
    "clip_threshold": "clip at",
    "clip_mode": "clip",
    "weight_decay": "decay",
    "bn_momentum": "BN momentum",
}
SHORT_WORDS = (
    ("BatchNorm", "BN"),
    ("LayerNorm", "LN"),
    ("GroupNorm", "GN"),
    ("InstanceNorm", "IN"),
    ("RMSNorm", "RMS"),
    (", then ", ", "),
    ("Dropout", "Drop"),
    ("activation", "act"),
)


@dataclass(frozen=True, slots=True)
class Flag:
    """A text at a position of the time axis; `left` puts it on the left of its mark."""

    x: float
    text: str
    left: bool = False


class PropertySink(Protocol):
    """Receiver of properties; see `PlotSink`."""

    def set_prop(self, model: Model, attribute: str, value: Any) -> None: ...


class Flags:
    """The labels of a figure, none of which covers another."""

    def __init__(self, made: figure) -> None:
        self.labels = [
            Label(
                x=0, y=Node(target="frame", symbol="top"), x_offset=6, y_offset=-1, text="",
                text_font_size="10px", text_color=PURPLE, text_baseline="top", visible=False,
                tags=["flag"],
            )
            for _ in range(MAX_FLAGS)
        ]  # fmt: skip
        for label in self.labels:
            made.add_layout(label)

    def update(self, sink: PropertySink, flags: Sequence[Flag]) -> None:
        """Show these flags, at most six."""
        for place, label in enumerate(self.labels):
            there = place < len(flags)
            sink.set_prop(label, "visible", there)
            if there:
                flag = flags[place]
                sink.set_prop(label, "x", flag.x)
                sink.set_prop(label, "text", flag.text)
                sink.set_prop(label, "text_align", "right" if flag.left else "left")
                sink.set_prop(label, "x_offset", -6 if flag.left else 6)


def flags(
    changes: Iterable[tuple[float, ControlChange]],
    specs: Mapping[str, ControlSpec],
    shown: tuple[float, float],
) -> list[Flag]:
    """Flags of the newest changes that are shown, without those that would cover a newer one.

    Args:
        changes: position and change, the oldest first.
        specs: of the controls, by name.
        shown: first and last position of the axis.
    """
    low, high = shown
    unit = (high - low) / PLOT_PIXELS
    if not unit > 0:
        return []
    # A change lies at the step that comes next, just behind the newest one.
    inside = [(x, change) for x, change in changes if low <= x <= high + 2 * EDGE_PIXELS * unit]
    kept: list[Flag] = []
    taken: list[tuple[float, float]] = []
    for turn in reversed(_turns(inside, TURN_PIXELS * unit)):
        text = flag_text([change for _, change in turn], specs)
        width = (len(text) * LETTER_PIXELS + GAP_PIXELS) * unit
        x = turn[-1][0]
        for left in (False, True):
            start, end = (x - width, x) if left else (x, x + width)
            free = all(end <= other or start >= until for other, until in taken)
            if text and free and start >= low and end <= high + 2 * EDGE_PIXELS * unit:
                kept.append(Flag(x, text, left))
                taken.append((start, end))
                break
        if len(kept) == MAX_FLAGS:
            break
    return kept


def _turns(
    changes: Sequence[tuple[float, ControlChange]], near: float
) -> list[list[tuple[float, ControlChange]]]:
    """Changes in groups: each is near the one before it."""
    groups: list[list[tuple[float, ControlChange]]] = []
    for x, change in changes:
        if groups and x - groups[-1][-1][0] <= near:
            groups[-1].append((x, change))
        else:
            groups.append([(x, change)])
    return groups


def flag_text(changes: Sequence[ControlChange], specs: Mapping[str, ControlSpec]) -> str:
    """Text for changes at almost the same time; "" if they took each other back."""
    ends: dict[str, tuple[ControlChange, ControlChange]] = {}
    for change in changes:
        ends[change.control] = (ends.get(change.control, (change,))[0], change)
    parts = [
        _short(control, first.old, last, specs)
        for control, (first, last) in ends.items()
        if last.kind != "control" or first.old != last.new
    ]
    text = ""
    for number, part in enumerate(parts):
        longer = f"{text}, {part}" if text else part
        if text and len(longer) > MAX_FLAG_LENGTH:
            return f"{text} +{len(parts) - number}"
        text = longer
    return text if len(text) <= MAX_FLAG_LENGTH else text[: MAX_FLAG_LENGTH - 1] + "…"


def _short(control: str, old: Any, last: ControlChange, specs: Mapping[str, ControlSpec]) -> str:
    new, spec = last.new, specs.get(control)
    if last.kind == "rewind":
        return "rewound"
    if last.kind == "reestimate":
        return "BN statistics"
    label = SHORT_LABELS.get(control, spec.label if spec is not None else control)
    if isinstance(new, dict):
        return f"{label} by layer"
    if control == "lr" and _positive(old) and _positive(new):
        ratio = new / old
        if not 1 / MAX_RATIO <= ratio <= MAX_RATIO:
            return f"lr {new:.3g}"
        return f"lr x{ratio:.2g}" if ratio >= 1 else f"lr /{1 / ratio:.2g}"
    if control == "batch_size":
        return f"batch {old} → {new}"
    named = str(dict(spec.choices).get(new, new)) if spec is not None else str(new)
    if control == "layer_order":
        return short_words(named)
    if spec is not None and spec.choices:
        return f"clip {new}" if control == "clip_mode" else re.sub(r" \(.*\)$", "", named)
    return f"{label} {format_value(new)}" if named else label


def short_words(text: str) -> str:
    """Text with the abbreviations of the field: BN, Drop, act."""
    for word, short in SHORT_WORDS:
        text = text.replace(word, short)
    return text


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0
