"""Values that hold for all layers or, by a dict, for some."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from nbdebug.core.names import unknown_name
from nbdebug.errors import ControlValueError

T = TypeVar("T")


def checked(
    control: str, value: Any, layers: Iterable[str], check: Callable[[str, Any], T]
) -> T | dict[str, T]:
    """A value for all layers, or one for each layer that a dict names.

    Args:
        check: takes what to call the value in an error, and the value.

    Raises:
        ControlValueError: for a layer that is not there, listing those that are, or what
            `check` raises.
    """
    if isinstance(value, Mapping):
        return checked_each(control, value, layers, check)
    return check(control, value)


def checked_each(
    control: str,
    values: Mapping[Any, Any],
    layers: Iterable[str],
    check: Callable[[str, Any], T],
) -> dict[str, T]:
    """What `checked` does with a dict."""
    known = list(layers)
    for layer in values:
        if layer not in known:
            raise ControlValueError(f"{control}: {unknown_name('layer', str(layer), known)}")
    return {layer: check(f"{control} of {layer}", part) for layer, part in values.items()}


def spread(value: T | dict[str, T], layers: Iterable[str]) -> dict[str, T]:
    """A checked value, layer by layer."""
    return value if isinstance(value, dict) else dict.fromkeys(layers, value)


def gathered(values: dict[str, T], empty: T) -> T | dict[str, T]:
    """The value all layers agree in, else what each has; `empty` without layers."""
    if len(set(values.values())) > 1:
        return values
    return next(iter(values.values()), empty)
