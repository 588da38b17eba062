"""Drawing of the picture of a network, as HTML with SVG lines between its parts."""

from __future__ import annotations

import html
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from nbdebug.core.html.heat import heat
from nbdebug.core.results.inside.layout import places
from nbdebug.core.results.inside.part_values import PartValues
from nbdebug.core.results.inside.structure import Part, Structure

# Pixels: a box, the gaps between boxes, and the room of a line that goes around them.
WIDTH, HEIGHT, GAP, ROW_GAP, LANE = 148, 62, 14, 20, 9
STYLE = """<style>
.nbd-graph { position: relative; font-size: 11px; line-height: 14px;
  color: var(--jp-ui-font-color1, #222); }
.nbd-graph svg { position: absolute; left: 0; top: 0; overflow: visible; }
.nbd-graph path { fill: none; stroke: var(--jp-ui-font-color3, #999); stroke-width: 1.4; }
.nbd-graph .nbd-part { position: absolute; box-sizing: border-box; padding: 2px 5px;
  text-align: left; font: inherit; overflow: hidden; border-radius: 3px; color: inherit;
  background: var(--jp-layout-color1, #fff); border: 1px solid var(--jp-border-color1, #bbb); }
.nbd-graph button.nbd-part { cursor: pointer; }
.nbd-graph button.nbd-part:hover { border-color: var(--jp-brand-color1, #0072b2); }
.nbd-graph .nbd-part:focus-visible { outline: 2px solid var(--jp-brand-color1, #0072b2); }
.nbd-graph .nbd-function { border-style: dashed; }
.nbd-graph .nbd-folded { box-shadow: 2px 2px 0 var(--jp-border-color2, #ddd); }
.nbd-graph .nbd-chosen { border-color: var(--jp-brand-color1, #0072b2); border-width: 2px; }
.nbd-graph .nbd-marked { border-color: var(--jp-error-color1, #c62828); border-width: 2px; }
.nbd-graph .nbd-marked small { color: var(--jp-error-color1, #c62828); }
.nbd-graph :is(b, small) { display: block; font-size: 11px; font-weight: 500; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap; }
.nbd-graph small { color: var(--jp-ui-font-color2, #666); font-weight: 400; }
.nbd-graph img { display: block; width: 100%; height: 26px; image-rendering: pixelated;
  object-fit: fill; background: var(--jp-layout-color2, #f3f3f3); }
</style>"""


class Drawn(Protocol):
    """The picture of a network as it is drawn; see `NetworkPicture`."""

    @property
    def structure(self) -> Structure:
        """Parts and connections."""

    @property
    def values(self) -> Mapping[str, PartValues]:
        """Values by name of the part."""


def network_page(
    picture: Drawn,
    block: str = "",
    chosen: str = "",
    marked: Collection[str] = (),
    buttons: tuple[str, str] | None = None,
) -> str:
    """Draw the parts of a block, folded so far that they stay readable.

    Args:
        block: path of a module, "" for the whole network.
        chosen: name of the part that is looked at; marked: names of layers that findings blame.
        buttons: names of the options that a click on a folded block and on a part sets; None for
            a drawing that takes no clicks.
    """
    parts = picture.structure.folded(block).parts
    if not parts:
        return "<p>No call of the model was recorded.</p>"
    drawing = _Drawing(parts)
    boxes = [
        _box(part, drawing.corner(at), picture, (chosen, marked, buttons))
        for at, part in enumerate(parts)
    ]
    lines = drawing.lines()
    wide, high = drawing.width, drawing.height
    size = f"width:{wide}px;height:{high}px"
    drawn = f'<svg width="{wide}" height="{high}" aria-hidden="true">{lines}</svg>'
    return f'{STYLE}<div class="nbd-graph" style="{size}">{drawn}{"".join(boxes)}</div>'


class _Drawing:
    """Pixels of boxes and lines; every stack of rows has lanes for lines on its right side."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts, self._where = parts, places(parts)
        self._around = {
            (one, at)
            for at, part in enumerate(parts)
            for one in part.inputs
            if self._stack(one) == self._stack(at) and not self._follows(one, at)
        }
        self._left, self._columns = [GAP], []
        for stack in range(1 + max(place.stack for place in self._where)):
            inside = [place for place in self._where if place.stack == stack]
            self._columns.append(max(place.columns for place in inside))
            lanes = sum(self._stack(at) == stack for _, at in self._around)
            wide = self._columns[-1] * (WIDTH + GAP) + lanes * LANE + GAP
            self._left.append(self._left[-1] + wide)
        self.width = self._left[-1]
        self.height = (1 + max(place.height for place in self._where)) * (HEIGHT + ROW_GAP)

    def corner(self, at: int) -> tuple[float, float]:
        """Left upper corner of a box; rows are centred in their stack."""
        place = self._where[at]
        start = (self._columns[place.stack] - place.columns) * (WIDTH + GAP) / 2
        left = self._left[place.stack] + start + place.column * (WIDTH + GAP)
        return left, place.height * (HEIGHT + ROW_GAP) + 8

    def lines(self) -> str:
        """SVG paths of all connections."""
        paths, used = [], [0] * len(self._columns)
        for at, part in enumerate(self._parts):
            x, y = self.corner(at)
            if part.entry and self._where[at].row == 0:
                paths.append(_path(x + WIDTH / 2, y - 14, x + WIDTH / 2, y))
            for one in part.inputs:
                a, b = self.corner(one)
                if (one, at) in self._around:
                    stack = self._stack(at)
                    used[stack] += 1
                    right = self._left[stack] + self._columns[stack] * (WIDTH + GAP) - GAP
                    lane = right + used[stack] * LANE
                    start, end = b + HEIGHT * 0.7, y + HEIGHT * 0.3
                    paths.append(_round(a + WIDTH, start, x + WIDTH, end, lane))
                elif self._stack(one) == self._stack(at):
                    paths.append(_path(a + WIDTH / 2, b + HEIGHT, x + WIDTH / 2, y))
                else:
                    paths.append(_across(a + WIDTH, b + HEIGHT / 2, x, y + HEIGHT / 2))
        return "".join(paths)

    def _stack(self, at: int) -> int:
        return self._where[at].stack

    def _follows(self, one: int, at: int) -> bool:
        """Tell if a part is in the row below another one."""
        return self._where[at].row - self._where[one].row == 1


def _round(a: float, b: float, x: float, y: float, lane: float) -> str:
    """Line around what stands between, or back to the part itself."""
    middle = (b + y) / 2
    return (
        f'<path d="M{a:.0f} {b:.0f}H{lane - 5:.0f}Q{lane:.0f} {b:.0f} {lane:.0f} {middle:.0f}'
        f'Q{lane:.0f} {y:.0f} {lane - 5:.0f} {y:.0f}H{x:.0f}"/>'
    )


def _across(a: float, b: float, x: float, y: float) -> str:
    """Line from one stack to another."""
    middle = (a + x) / 2
    tip = f"M{x - 5:.0f} {y - 3:.0f}L{x:.0f} {y:.0f}L{x - 5:.0f} {y + 3:.0f}"
    curve = f"M{a:.0f} {b:.0f}C{middle:.0f} {b:.0f} {middle:.0f} {y:.0f} {x:.0f} {y:.0f}"
    return f'<path d="{curve}{tip}"/>'


def _path(a: float, b: float, x: float, y: float) -> str:
    middle = (b + y) / 2
    tip = f"M{x - 3:.0f} {y - 5:.0f}L{x:.0f} {y:.0f}L{x + 3:.0f} {y - 5:.0f}"
    return (
        f'<path d="M{a:.0f} {b:.0f}C{a:.0f} {middle:.0f} {x:.0f} {middle:.0f} {x:.0f} {y}{tip}"/>'
    )


def _box(
    part: Part,
    corner: tuple[float, float],
    picture: Drawn,
    state: tuple[str, Collection[str], tuple[str, str] | None],
) -> str:
    chosen, marked, buttons = state
    values = _shown(part, picture.values)
    blamed = any(part.holds(name) for name in marked)
    classes = ["nbd-part"]
    classes += ["nbd-function"] if not part.module else []
    classes += ["nbd-folded"] if part.size > 1 else []
    classes += ["nbd-chosen"] if chosen and part.holds(chosen) else []
    classes += ["nbd-marked"] if blamed or part.error else []
    place = f"left:{corner[0]:.0f}px;top:{corner[1]:.0f}px;width:{WIDTH}px;height:{HEIGHT}px"
    tip, tag, acts = _tip(part, values, blamed), "div", ""
    if buttons is not None:
        tag = "button"
        option = buttons[0] if part.size > 1 else buttons[1]
        acts = f' type="button" data-choose="{option}" data-value="{html.escape(part.name)}"'
    drawn = values is not None and values.picture.size
    image = f'<img alt="" src="{heat(values.picture)}">' if values is not None and drawn else ""
    said = html.escape(_said(part, values))
    return (
        f'<{tag} class="{" ".join(classes)}" style="{place}" title="{html.escape(tip)}"{acts}>'
        f"<b>{html.escape(part.title)}</b>{image}<small>{said}</small></{tag}>"
    )


def _shown(part: Part, values: Mapping[str, PartValues]) -> PartValues | None:
    """Values of a part; of a folded one those of its last member, or its largest update."""
    members = [values[name] for name in part.members if name in values]
    updates = [one for one in members if math.isfinite(one.ratio)]
    return max(updates, key=lambda one: one.ratio) if updates else values.get(part.last)


def _said(part: Part, values: PartValues | None = None) -> str:
    if part.error:
        return part.error
    if values is not None and math.isfinite(values.ratio):
        most = "up to " if part.size > 1 else ""
        return f"update {most}{percent_text(values.ratio)}"
    whole = part.shape is not None and part.kind == "Parameter"
    words = [str(part.shape) if whole else shape_text(part.shape)]
    words += [f"{part.size} parts"] if part.size > 1 else []
    words += [f"called {part.calls} times"] if part.calls > 1 else []
    words += [f"{count_text(part.parameters)} par."] if part.parameters else []
    words += ["frozen"] if part.frozen else []
    return " · ".join(word for word in words if word)


def _tip(part: Part, values: PartValues | None, blamed: bool) -> str:
    lines = [part.title, _said(part, values)]
    if values is not None:
        lines.append(values_text(values))
    lines += ["A finding blames it."] if blamed else []
    lines += ["Click to unfold."] if part.size > 1 else []
    return "\n".join(line for line in lines if line)


def shape_text(shape: tuple[int, ...] | None) -> str:
    """Shape without the number of samples: "(16, 8, 8)"; "" if it is unknown."""
    return f"({', '.join(map(str, shape[1:]))})" if shape else ""


def count_text(count: int) -> str:
    """A number of parameters in three digits: 650, 16.6k, 9.9M."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)


def percent_text(share: float) -> str:
    """A share in two digits, or three from 10% on: 0.41%, 0.0012%, 137%."""
    return f"{100 * share:.{2 if share < 0.1 else 3}g}%"


def values_text(values: PartValues) -> str:
    """Statistics of values in one line."""
    if math.isfinite(values.ratio):
        text = f"{percent_text(values.ratio)} of the weights by L2 norm"
        spread = f"; single ones from {values.low:.3g} to {values.high:.3g} of their RMS"
        return text + (spread if values.count else "")
    if not math.isfinite(values.mean):
        return f"all {values.count:,} values are NaN or Inf" if values.count else "no values"
    text = (
        f"mean {values.mean:.3g}, std {values.std:.3g}, from {values.low:.3g} to {values.high:.3g}"
    )
    text += f", {values.zeros:.0%} zeros" if values.zeros >= 0.005 else ""
    return text + (f", {values.broken:.1%} NaN or Inf" if values.broken else "")
