"""Places of the parts of a structure in a picture, from top to bottom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nbdebug.core.results.inside.structure import Part

MAX_IN_ROW, MAX_ROWS = 6, 7


@dataclass(frozen=True, slots=True)
class Place:
    """Place of a part.

    Attributes:
        row: from the top, over all stacks; column: from the left; columns: number of parts in
            the row.
        stack: of rows, from the left; height: rows above it in the stack.
    """

    row: int
    column: int
    columns: int
    stack: int = 0
    height: int = 0


def places(parts: Sequence[Part]) -> list[Place]:
    """Place of every part: below all parts that it takes something from.

    Parts beside each other in a row do not depend on each other. A row holds at most six parts:
    more of them go on in the next row. A stack holds at most seven rows: more of them go on in
    the next stack, as evenly as it can be.
    """
    depths = _depths(parts)
    by_depth: dict[int, list[int]] = {}
    for at, depth in enumerate(depths):
        by_depth.setdefault(depth, []).append(at)
    found: dict[int, Place] = {}
    row = 0
    for depth in sorted(by_depth):
        members = sorted(by_depth[depth], key=lambda at: (_middle(parts[at], found), at))
        for start in range(0, len(members), MAX_IN_ROW):
            group = members[start : start + MAX_IN_ROW]
            for column, at in enumerate(group):
                found[at] = Place(row, column, len(group))
            row += 1
    stacks = -(-row // MAX_ROWS)
    high = -(-row // max(stacks, 1))
    return [
        Place(one.row, one.column, one.columns, one.row // high, one.row % high)
        for one in (found[at] for at in range(len(parts)))
    ]


def _depths(parts: Sequence[Part]) -> list[int]:
    """Length of the longest way to every part, along inputs from earlier parts."""
    depths: list[int] = []
    for at, part in enumerate(parts):
        before = [depths[one] for one in part.inputs if one < at]
        depths.append(max(before) + 1 if before else 0)
    # What takes nothing stands just above what takes it.
    for at, part in enumerate(parts):
        takers = [depths[one] for one in range(at + 1, len(parts)) if at in parts[one].inputs]
        if not part.inputs and not part.entry and takers:
            depths[at] = max(min(takers) - 1, 0)
    return depths


def _middle(part: Part, found: dict[int, Place]) -> float:
    """Mean place of what a part takes, from 0 on the left to 1 on the right."""
    above = [found[one] for one in part.inputs if one in found]
    return sum((p.column + 0.5) / p.columns for p in above) / len(above) if above else 0.5
