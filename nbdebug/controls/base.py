"""Base class of controls: a control is a setting that can change during training."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any, ClassVar

from nbdebug.core.control_spec import ControlSpec
from nbdebug.core.names import did_you_mean
from nbdebug.errors import ControlValueError
from nbdebug.model.training_state import TrainingState

PLAIN_NUMBERS = frozenset({int, float, bool})


class Control(ABC):
    """One setting of a training.

    Applying the same value twice has the same effect as once; applying the old value undoes a
    change.

    Attributes:
        name: name in `Debugger.set` and in records.
        label: name in the dashboard.
        order: position among the controls.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    order: ClassVar[int] = 0

    @abstractmethod
    def spec(self, session: TrainingState) -> ControlSpec:
        """Range, scale, help text, and the reason if the control cannot be used now."""

    @abstractmethod
    def read(self, session: TrainingState) -> Any:
        """The current value."""

    @abstractmethod
    def validate(self, session: TrainingState, value: Any) -> Any:
        """Convert a value to the form in which `apply` takes it, without changing anything.

        Raises:
            ControlValueError: the value is out of range; the text names the range.
        """

    @abstractmethod
    def apply(self, session: TrainingState, value: Any) -> str:
        """Apply a validated value; called between two steps.

        Returns:
            A note for the user, or "".
        """

    def put_back(self, session: TrainingState, value: Any) -> None:
        """Apply a value that was in force before, such as when training is rewound.

        Raises:
            ControlValueError: it is not possible any more.
        """
        self.apply(session, self.validate(session, value))

    def anchor(self, session: TrainingState) -> Any:
        """Parts that a value belongs to, before a change that may be taken back later."""
        return None

    def former(self, session: TrainingState, old: Any, new: Any, anchor: Any) -> Any:
        """The value that takes back a change from `old` to `new`, made at an `anchor`.

        Raises:
            ControlValueError: the user's code has taken away what was changed.
        """
        return old

    def series(self, session: TrainingState) -> float:
        """The current value as a number for plots; NaN if the value is not a number."""
        value = self.read(session)
        if type(value) in PLAIN_NUMBERS:
            return float(value)
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
    """Convert to a finite float within a range; raises ControlValueError."""
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
    """Convert to a whole number of at least `low`; raises ControlValueError."""
    found = number(name, value, low, math.inf)
    if found != int(found):
        raise ControlValueError(f"{name} must be a whole number, got {value!r}.")
    return int(found)


def choice(name: str, value: Any, choices: Collection[str]) -> str:
    """Validate that the value is one of `choices`; raises ControlValueError."""
    if value not in choices:
        near = did_you_mean(value, choices) if isinstance(value, str) else ""
        said = f"{name} must be one of {', '.join(choices)}, got {value!r}.{near}"
        raise ControlValueError(said)
    return str(value)


def require_available(spec: ControlSpec) -> None:
    """Raise ControlValueError with the reason if a control cannot be used."""
    if spec.unavailable:
        raise ControlValueError(f"{spec.name} cannot be changed: {spec.unavailable}")
