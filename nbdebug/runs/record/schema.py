"""Types of the documents of a run, checked where a run is read.

What has another type is refused; text is made safe to show: one line where one is expected, and
no half of a character. Names that are not listed here are kept as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from nbdebug.runs.record.json_values import NONFINITE_NAMES, nonfinite_name

Kind = Callable[[Any], Any]

MAX_LINE_LENGTH, MAX_DEPTH = 1000, 50
MAX_COUNT = 2**63 - 1
# The year 2255: dates of pandas end soon after.
MAX_SECONDS = 9e9
STATUSES = ("running", "finished", "failed", "interrupted")
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
# Control characters, and those that change the direction of text.
INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class MisfitError(ValueError):
    """A value of another type; collects the path to it."""

    def __init__(self, expected: str, value: Any) -> None:
        super().__init__(expected)
        self.expected, self.path = expected, ""
        self.got = value if isinstance(value, int | float | str | None) else type(value).__name__

    def __str__(self) -> str:
        got = repr(self.got)
        short = got if len(got) <= 60 else f"{got[:59]}…"
        return f"{self.path.lstrip('.')}: expected {self.expected}, got {short}".lstrip(": ")


def text(value: Any) -> Any:
    """Text of any length, numbers converted."""
    if isinstance(value, str):
        # Half of a surrogate pair cannot be encoded.
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if value is None or isinstance(value, bool | int | float):
        return None if value is None else str(value)
    raise MisfitError("text", value)


def line(value: Any) -> Any:
    """One line of at most 1,000 characters."""
    found = text(value)
    if not found:
        return found
    found = found if len(found) <= MAX_LINE_LENGTH else f"{found[: MAX_LINE_LENGTH - 1]}…"
    return INVISIBLE.sub(" ", found)


def key(value: Any) -> str:
    """The key of a run: part of names of files, and of queries to the store."""
    if isinstance(value, str) and KEY.fullmatch(value):
        return value
    raise MisfitError("a key of letters, digits, '_' and '-'", value)


def status(value: Any) -> str:
    """The status of a run."""
    if isinstance(value, str) and value in STATUSES:
        return value
    raise MisfitError(f"one of {', '.join(STATUSES)}", value)


def count(value: Any) -> Any:
    """A whole number from 0 to the largest that fits into 64 bits."""
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if value is None:
        return None
    if whole and not isinstance(value, bool) and 0 <= value <= MAX_COUNT:
        return int(value)
    raise MisfitError("a whole number", value)


def number(value: Any) -> Any:
    """A number; NaN and Inf by their names."""
    if value is None or isinstance(value, int) or value in NONFINITE_NAMES:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else nonfinite_name(value)
    raise MisfitError("a number", value)


def moment(value: Any) -> Any:
    """Seconds since 1970."""
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    if value is None or (fits and 0 <= value <= MAX_SECONDS):
        return value
    raise MisfitError("seconds since 1970", value)


def anything(value: Any, depth: int = 0) -> Any:
    """Values of any form; text is made safe."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float):
        return number(value)
    if depth > MAX_DEPTH:
        raise MisfitError("values that are nested less deeply", value)
    if isinstance(value, list):
        return [anything(part, depth + 1) for part in value]
    if isinstance(value, dict):
        return {text(name): anything(part, depth + 1) for name, part in value.items()}
    return value


def list_of(kind: Kind) -> Kind:
    """A list of values of one kind; None is an empty list."""

    def checked(value: Any) -> list[Any]:
        if not isinstance(value, list | None):
            raise MisfitError("a list", value)
        return [_at(f"[{index}]", kind, part) for index, part in enumerate(value or ())]

    return checked


def names_of(kind: Kind) -> Kind:
    """Values of one kind by name; None is empty."""

    def checked(value: Any) -> dict[str, Any]:
        return {line(name): _at(f".{name}", kind, part) for name, part in _items(value)}

    return checked


def fields(**kinds: Kind) -> Kind:
    """Values by name, each of its own kind; None is empty."""

    def checked(value: Any) -> dict[str, Any]:
        return {
            line(name): _at(f".{name}", kinds.get(name, anything), part)
            for name, part in _items(value)
        }

    return checked


def known(kind: Kind, nullable: tuple[str, ...]) -> Kind:
    """Fields of which None is none at all, but for those that are nullable."""

    def checked(value: Any) -> dict[str, Any]:
        found = kind(value)
        return {n: part for n, part in found.items() if part is not None or n in nullable}

    return checked


def _items(value: Any) -> Any:
    if not isinstance(value, dict | None):
        raise MisfitError("names with values", value)
    return (value or {}).items()


def _at(place: str, kind: Kind, value: Any) -> Any:
    try:
        return kind(value)
    except MisfitError as misfit:
        misfit.path = place[:100] + misfit.path
        raise


PART = fields(shape=list_of(count), dtype=line, sha256=line, classes=names_of(number))
LAYER = fields(
    layer=line, kind=line, settings=text, parameters=count, trainable=count,
    output_shape=list_of(count),
)  # fmt: skip
MODEL_PART = fields(
    part=line, kind=line, inputs=list_of(count), shape=list_of(count), parameters=count,
    trainable=count, calls=count,
)  # fmt: skip
REMEDY = fields(text=text, settings=names_of(anything))
KINDS: Mapping[str, Kind] = {
    "run": known(fields(
        key=key, name=line, nbdebug=line, host=line, pid=count, born=moment, status=status,
        started=moment, ended=moment, seen=moment, step=count, samples=count, epoch=number,
        failure=text, metrics=list_of(line),
    ), ("ended", "failure")),
    "parameters": fields(
        optimizer=line, schedule=line, lr=number, batch_size=count, seed=number, device=line
    ),
    "changes": list_of(fields(
        step=count, samples=count, epoch=number, control=line, old=anything, new=anything,
        who=line, why=text, status=line, note=text, kind=line,
    )),
    "notes": list_of(fields(step=count, samples=count, epoch=number, text=text)),
    "findings": list_of(fields(
        name=line, title=line, severity=line, since=number, until=number, value=number,
        threshold=number, seen=text, why=text, because=line, source=text,
        evidence=list_of(number), remedies=list_of(REMEDY),
    )),
    "checks": list_of(fields(
        name=line, title=line, step=number, status=line, seen=text, expected=text, remedy=text,
        why=text, source=text, because=line, at=number, seconds=number,
    )),
    "cells": list_of(text),
    "model": fields(**{
        "class": line, "parameters": count, "trainable": count, "initial_weights": line,
        "layers": list_of(LAYER), "parts": list_of(MODEL_PART),
    }),
    "data": names_of(fields(kind=line, samples=count, parts=list_of(PART))),
    "code": fields(
        model=text, loss=text, git=fields(commit=line, branch=line, diff=text, diff_cut=anything)
    ),
    "environment": fields(packages=names_of(line)),
}  # fmt: skip


def checked_document(name: str, value: Any) -> Any:
    """A document as the rest of nbdebug expects it.

    Raises:
        ValueError: a part has another type, or is out of its range.
    """
    return KINDS[name](value)
