"""The contract of a control: a setting that may change while the model trains."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any, ClassVar

from nbdebug.core.control_spec import ControlSpec
from nbdebug.errors import ControlValueError
from nbdebug.model.training_state import TrainingState


class Control(ABC):
    """One setting. The same value twice is the same state; the old value undoes it.

    Attributes:
        name: what `Debugger.set` and the records call it.
        label: what the dashboard calls it.
        order: place among the controls.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    order: ClassVar[int] = 0

    @abstractmethod
    def spec(self, session: TrainingState) -> ControlSpec:
        """Range, scale, help, and whether it can be used now."""

    @abstractmethod
    def read(self, session: TrainingState) -> Any:
        """The value in force."""

    @abstractmethod
    def validate(self, session: TrainingState, value: Any) -> Any:
        """The value as it will be applied.

        Raises:
            ControlValueError: names the range; nothing was changed.
        """

    @abstractmethod
    def apply(self, session: TrainingState, value: Any) -> str:
        """Put a validated value in force; runs between two steps.

        Returns:
            What the user should know about it, or "".
        """

    def series(self, session: TrainingState) -> float:
        """The value in force as a number for plots; NaN when it is not one."""
        value = self.read(session)
        parts = list(value.values()) if isinstance(value, dict) else [value]
        if any(isinstance(part, str) for part in parts):
            return math.nan
        return float(sum(parts) / len(parts))


def number(
    name: str,
    value: Any,
    low: float,
    high: float,
    *,
    low_open: bool = False,
    high_open: bool = False,
) -> float:
    """A finite float within a range, else ControlValueError."""
    left, right = "(" if low_open else "[", ")" if high_open else "]"
    right = ")" if high == math.inf else right
    wanted = f"{name} must be a number in {left}{low:g}, {high:g}{right}, got {value!r}."
    if isinstance(value, bool | str):
        raise ControlValueError(wanted)
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise ControlValueError(wanted) from None
    below = result <= low if low_open else result < low
    above = result >= high if high_open else result > high
    if math.isnan(result) or math.isinf(result) or below or above:
        raise ControlValueError(wanted)
    return result


def whole_number(name: str, value: Any, low: int) -> int:
    """A whole number from `low` on, else ControlValueError."""
    found = number(name, value, low, math.inf)
    if found != int(found):
        raise ControlValueError(f"{name} must be a whole number, got {value!r}.")
    return int(found)


def choice(name: str, value: Any, choices: Collection[str]) -> str:
    """One of `choices`, else ControlValueError."""
    if value not in choices:
        raise ControlValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}.")
    return str(value)


def require_available(spec: ControlSpec) -> None:
    """ControlValueError with the reason when a control cannot be used."""
    if spec.unavailable:
        raise ControlValueError(f"{spec.name} cannot be changed: {spec.unavailable}")
