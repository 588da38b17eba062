"""Structure of a model in a record: rows of plain values, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nbdebug.core.results.inside.structure import Part, Structure

# A record has room for so much; a file that holds more is no record of ours.
MAX_PARTS, MAX_CONNECTIONS = 2_000, 10_000
MAX_NAME_LENGTH, MAX_NAME_DEPTH, MAX_DIMENSIONS = 200, 40, 16


def structure_to_rows(structure: Structure) -> list[dict[str, Any]]:
    """One row for each part, without values that are usual.

    Returns:
        The rows; none for a model whose call failed, or with more than 2,000 parts.
    """
    if structure.error is not None or not _fits(structure.parts):
        return []
    return [dict(_row(part)) for part in structure.parts]


def rows_to_structure(rows: Sequence[Mapping[str, Any]]) -> Structure:
    """Structure from the rows of a checked document; without parts where the rows do not fit."""
    if len(rows) > MAX_PARTS:
        return Structure()
    parts = tuple(map(_part, rows))
    return Structure(parts) if _fits(parts) else Structure()


def _fits(parts: Sequence[Part]) -> bool:
    if len(parts) > MAX_PARTS or sum(len(part.inputs) for part in parts) > MAX_CONNECTIONS:
        return False
    return all(_is_usual(part, len(parts)) for part in parts)


def _is_usual(part: Part, count: int) -> bool:
    """Tell if a part can be drawn in a moment."""
    named = bool(part.name) and max(len(part.name), len(part.kind)) <= MAX_NAME_LENGTH
    flat = part.name.count(".") <= MAX_NAME_DEPTH and len(part.shape or ()) <= MAX_DIMENSIONS
    return named and flat and part.size == 1 and all(0 <= one < count for one in part.inputs)


def _row(part: Part) -> Iterator[tuple[str, Any]]:
    yield "part", part.name
    yield "kind", part.kind
    if part.inputs:
        yield "inputs", list(part.inputs)
    if part.shape:
        yield "shape", list(part.shape)
    if part.parameters:
        yield from (("parameters", part.parameters), ("trainable", part.trainable))
    if part.calls != 1:
        yield "calls", part.calls
    if not part.module:
        yield "function", True
    if part.entry:
        yield "entry", True


def _part(row: Mapping[str, Any]) -> Part:
    shape = row.get("shape")
    return Part(
        name=row.get("part") or "",
        kind=row.get("kind") or "",
        inputs=tuple(sorted(one for one in row.get("inputs") or () if one is not None)),
        shape=tuple(one or 0 for one in shape) if shape else None,
        parameters=row.get("parameters") or 0,
        trainable=row.get("trainable") or 0,
        calls=row.get("calls") or 1,
        module=row.get("function") is not True,
        entry=row.get("entry") is True,
    )
