"""Old names of controls, of their values and of attributes, accepted until they are removed."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbdebug.errors import ControlNameError

REMOVED_IN = "0.3"
CONTROLS: Mapping[str, str] = {"left_out": "excluded_samples"}
VALUES: Mapping[tuple[str, str], str] = {("not_finite", "leave_out"): "exclude"}
# Frames of nbdebug, and of the import machinery and abc, between a warning and its cause.
INTERNAL = (str(Path(__file__).parents[1]), "<frozen ")


def current_name(control: str) -> str:
    """Today's name of a control; a name that was never changed is returned as given."""
    return CONTROLS.get(control, control)


def current_value(control: str, value: Any) -> Any:
    """Today's form of the value of a control, which is given by its current name."""
    return VALUES.get((control, value), value) if isinstance(value, str) else value


def current_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of an old record or checkpoint, with today's names and values."""
    named = {current_name(name): value for name, value in settings.items()}
    return {name: current_value(name, value) for name, value in named.items()}


def accepted_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that a user gave, with today's names and values; old ones emit a warning.

    Raises:
        ControlNameError: a control is given by its old name and by its new one.
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        new, newer = current_name(name), current_value(current_name(name), value)
        if new != name:
            if new in settings:
                raise ControlNameError(f"{name} is the old name of {new}: give only {new}.")
            warn_deprecated(f"The control {name!r}", repr(new))
        if newer is not value:
            warn_deprecated(f"{new}={value!r}", f"{new}={newer!r}")
        found[new] = newer
    return found


def warn_deprecated(old: str, new: str) -> None:
    """Emit a DeprecationWarning that points at the nearest caller outside of nbdebug."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(INTERNAL):
        level, frame = level + 1, frame.f_back
    warnings.warn(
        f"{old} was renamed to {new}; the old name is accepted until nbdebug {REMOVED_IN}.",
        DeprecationWarning,
        stacklevel=level,
    )
