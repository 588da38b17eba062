"""Structure of checkpoint files: types and ranges of all values, before any of them is used."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from nbdebug.errors import CheckpointError
from nbdebug.model.schedule.builders import SCHEDULE_KINDS, USER_SCHEDULE

MAX_WHOLE, MAX_DEPTH = 2**53, 60
LEAVES = (int, float, complex, str, bool, bytes, type(None))
# Refuses a value at a place; the place is part of the message.
Shape = Callable[[Any, str], None]


def refuse(place: str, value: Any, expected: str) -> None:
    """Raise CheckpointError for a value at a place."""
    raise CheckpointError(f"{place} is {_shown(value)}: expected {expected}")


def _shown(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"{value!r:.60}"


def whole(low: int | None = None) -> Shape:
    """Shape of a whole number."""

    def check(value: Any, place: str) -> None:
        least = -MAX_WHOLE if low is None else low
        if type(value) is not int or not least <= value <= MAX_WHOLE:
            refuse(place, value, f"a whole number from {least:,} to {MAX_WHOLE:,}")

    return check


def real(low: float = -math.inf) -> Shape:
    """Shape of a finite number."""

    def check(value: Any, place: str) -> None:
        if isinstance(value, torch.Tensor) and value.numel() == 1 and not value.is_complex():
            value = value.item()
        finite = isinstance(value, int | float) and abs(value) < math.inf
        if not finite or isinstance(value, bool) or value < low:
            refuse(place, value, f"a finite number{'' if low == -math.inf else f' from {low:g}'}")

    return check


def plain_real(low: float) -> Shape:
    """Shape of a finite number that is no tensor."""

    def check(value: Any, place: str) -> None:
        if isinstance(value, torch.Tensor):
            refuse(place, value, "a number")
        real(low)(value, place)

    return check


def of_type(*types: type) -> Shape:
    """Shape of a value of one of these types."""

    def check(value: Any, place: str) -> None:
        if type(value) not in types:
            refuse(place, value, " or ".join(kind.__name__ for kind in types))

    return check


def optional(shape: Shape) -> Shape:
    """Shape of None or a value."""

    def check(value: Any, place: str) -> None:
        if value is not None:
            shape(value, place)

    return check


def without_tensors(value: Any, place: str) -> None:
    """Shape of nested numbers and texts."""
    if isinstance(value, torch.Tensor):
        refuse(place, value, "a number or a text")
    parts = value.values() if isinstance(value, Mapping) else value
    for part in parts if isinstance(value, Mapping | list | tuple) else ():
        without_tensors(part, place)


def one_of(*known: Any) -> Shape:
    """Shape of one of some values."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, str | None) or value not in known:
            refuse(place, value, f"one of {', '.join(map(str, known))}")

    return check


def each(shape: Shape, low: int = 0, high: int = MAX_WHOLE) -> Shape:
    """Shape of a list or tuple."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, list | tuple) or not low <= len(value) <= high:
            refuse(place, value, f"a list of at least {low}")
        for number, part in enumerate(value):
            shape(part, f"{place}[{number}]")

    return check


def row(*shapes: Shape) -> Shape:
    """Shape of a list or tuple with one shape for each part."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, list | tuple) or len(value) != len(shapes):
            refuse(place, value, f"a list of {len(shapes)}")
        for number, (part, shape) in enumerate(zip(value, shapes, strict=True)):
            shape(part, f"{place}[{number}]")

    return check


def by_name(shape: Shape) -> Shape:
    """Shape of a mapping from texts."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, Mapping):
            refuse(place, value, "a mapping")
        for name, part in value.items():
            if not isinstance(name, str):
                refuse(f"a name in {place}", name, "a text")
            shape(part, f"{place}.{name}")

    return check


def fields(**shapes: Shape) -> Shape:
    """Shape of a mapping with these entries; others are ignored."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, Mapping):
            refuse(place, value, "a mapping")
        for name, shape in shapes.items():
            if name not in value:
                raise CheckpointError(f"{place}.{name} is missing" if place else f"no {name}")
            shape(value[name], f"{place}.{name}" if place else name)

    return check


def anything(value: Any, place: str) -> None:
    """Shape of any value that a file may hold."""


TEXT, FLAG, TENSOR = of_type(str), of_type(bool), of_type(torch.Tensor, torch.nn.Parameter)
RATIOS = each(real(), 1)
SCHEDULE = fields(
    plan=fields(
        kind=one_of(*SCHEDULE_KINDS, USER_SCHEDULE),
        length=optional(whole(1)),
        factor=real(0.0),
        warmup=whole(0),
    ),
    length=whole(0),
    main=one_of(None, *SCHEDULE_KINDS[1:], USER_SCHEDULE),
    warm=FLAG,
    end=optional(whole(0)),
    schedulers=each(by_name(anything)),
    groups=each(by_name(real(0.0)), 1),
)
OPTIMIZER = fields(
    **{"class": TEXT},
    state=optional(by_name(by_name(anything))),
    groups=each(fields(params=each(TEXT)), 1),
    attributes=by_name(of_type(int, float, complex, str, bool, bytes, type(None))),
)


def one_or_several(value: Any, place: str) -> None:
    """Shape of an optimizer, or of several by name."""
    if isinstance(value, Mapping) and "members" in value:
        each(row(TEXT, OPTIMIZER), 1)(value["members"], f"{place}.members")
    else:
        OPTIMIZER(value, place)


CHECKPOINT = fields(
    seed=whole(),
    length=optional(whole(1)),
    counters=fields(step=whole(0), samples=whole(0), epoch=plain_real(0.0), skipped=whole(0)),
    weights=fields(
        parameters=by_name(TENSOR),
        requires_grad=by_name(FLAG),
        buffers=by_name(by_name(optional(TENSOR))),
        training=by_name(FLAG),
    ),
    optimizers=each(row(TEXT, one_or_several), 1),
    shared=each(each(TEXT, 1), 1),
    ratios=row(whole(0), RATIOS, whole(0), RATIOS),
    schedule=row(SCHEDULE, optional(SCHEDULE), row(one_of("scale", "continue"), real(), whole(0))),
    fallback=whole(1),
    scale=optional(by_name(real(0.0))),
    window=each(real(0.0), 0, 1000),
    rng=by_name(anything),
    position=by_name(anything),
    controls=by_name(without_tensors),
)
UNDO = fields(
    schedule_undo=optional(
        fields(what=one_of("plan", "lr"), state=SCHEDULE, own=optional(SCHEDULE))
    ),
    overwritten=optional(
        fields(values=by_name(TENSOR), optimizer=TEXT, state=by_name(optional(by_name(anything))))
    ),
)


def check_structure(data: Mapping[str, Any]) -> None:
    """Check types and ranges of all values of a file.

    Raises:
        CheckpointError: a value is none that training could have left there.
    """
    _check_values(data, "the file", 0)
    CHECKPOINT(data, "")
    # Files of 0.1 do not hold the parts that only undo.
    UNDO({name: data.get(name) for name in ("schedule_undo", "overwritten")}, "")
    optional(by_name(TEXT))(data.get("classes"), "classes")
    optional(fields(parts=each(optional(by_name(anything)))))(data.get("held_out"), "held_out")
    weights = data["weights"]
    by_name(by_name(anything))(weights.get("values", weights.get("attributes")), "weights.values")
    held = {kind for kind, _ in data["optimizers"]}
    if {kind for kinds in data["shared"] for kind in kinds} != held:
        refuse("shared", data["shared"], f"the names {', '.join(sorted(held))}")


def _check_values(value: Any, place: str, depth: int) -> None:
    """Refuse types that a checkpoint has not, and tensors that are larger than their memory."""
    if depth > MAX_DEPTH:
        raise CheckpointError(f"{place[:80]} is nested too deeply")
    if isinstance(value, torch.Tensor):
        strided = value.layout is torch.strided and not value.is_quantized
        if strided and value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise CheckpointError(f"{place[:80]} claims more elements than it has")
    elif isinstance(value, Mapping):
        for name, part in value.items():
            _check_values(part, f"{place}.{name!s:.40}", depth + 1)
    elif isinstance(value, list | tuple | Sequence) and not isinstance(value, str | bytes):
        for part in value:
            _check_values(part, place, depth + 1)
    elif type(value) not in LEAVES:
        refuse(place[:80], value, "a number, a text or a tensor")
