"""Effect that values of controls would have: none where they are in force."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nbdebug.training.engine.control_set import ControlSet


def would_change(controls: ControlSet, values: Mapping[str, Any]) -> bool:
    """Tell if controls accept these values, and any of them is not in force.

    Without values, such as of a remedy in words, the answer is yes.
    """
    if not controls.accepts(values):
        return False
    now = controls.values()
    return not values or any(
        controls.is_action(name) or not _same(now.get(name), value)
        for name, value in values.items()
    )


def _same(one: Any, other: Any) -> bool:
    """True if two values of a control are equal, numbers up to a thousandth."""
    if isinstance(one, float) or isinstance(other, float):
        known = isinstance(one, int | float) and isinstance(other, int | float)
        return known and math.isclose(one, other, rel_tol=1e-3)
    return bool(one == other)
