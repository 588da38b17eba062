"""Values of controls that apply to all layers or, given as a dict, to some layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from nbdebug.core.names import unknown_name
from nbdebug.errors import ControlValueError

T = TypeVar("T")


def validate_by_layer(
    control: str,
    value: Any,
    layers: Iterable[str],
    check: Callable[[str, Any], T],
    kind: str = "layer",
) -> T | dict[str, T]:
    """Validate a value for all layers, or a dict of values by layer.

    Args:
        check: validates one value; its arguments are the name for error texts and the value.
        kind: what the parts are, such as "optimizer".

    Raises:
        ControlValueError: a layer does not exist (the error lists those that do), or `check`
            refused a value.
    """
    if isinstance(value, Mapping):
        return validate_each_layer(control, value, layers, check, kind)
    return check(control, value)


def validate_each_layer(
    control: str,
    values: Mapping[Any, Any],
    layers: Iterable[str],
    check: Callable[[str, Any], T],
    kind: str = "layer",
) -> dict[str, T]:
    """Validate a dict of values by layer, as `validate_by_layer` does."""
    known = list(layers)
    for layer in values:
        if layer not in known:
            raise ControlValueError(f"{control}: {unknown_name(kind, str(layer), known)}")
    return {layer: check(f"{control} of {layer}", part) for layer, part in values.items()}


def expand_by_layer(value: T | dict[str, T], layers: Iterable[str]) -> dict[str, T]:
    """Expand a validated value to one value per layer."""
    return value if isinstance(value, dict) else dict.fromkeys(layers, value)


def collapse_by_layer(values: dict[str, T], empty: T) -> T | dict[str, T]:
    """Reduce values by layer to one value if all are equal; `empty` if there are no layers."""
    if len(set(values.values())) > 1:
        return values
    return next(iter(values.values()), empty)


def former_by_layer(control: str, old: Any, then: Mapping[str, T], now: Mapping[str, T]) -> Any:
    """The value that takes back a change of layers, of those that the model still has.

    Args:
        then: layers at the change, by name; now: those of now.

    Raises:
        ControlValueError: the model has none of them any more.
    """
    if then.keys() == now.keys() and all(now[name] is part for name, part in then.items()):
        return old
    values = expand_by_layer(old, then)
    found = {n: value for n, value in values.items() if n in now and now[n] is then.get(n)}
    if not found:
        raise ControlValueError(
            f"The model has no layer any more whose {control} was changed then: the loop has "
            "exchanged them."
        )
    return found
