"""Log of losses, gradient norms and failures, for comparison with rerun steps."""

from __future__ import annotations

from array import array
from collections import Counter

MAX_STEPS = 1_000_000


class StepLog:
    """Loss and gradient norm of the last million steps, and which steps were tried again.

    Attributes:
        unvalidated: steps whose validation failed and was left out.
    """

    def __init__(self) -> None:
        self._values = array("d")
        self._first = 0
        self._failures: Counter[int] = Counter()
        self.unvalidated: set[int] = set()

    def add(self, step: int, values: tuple[float, float]) -> None:
        """Add loss and gradient norm of the next step."""
        if not self._values:
            self._first = step
        self._values.extend(values)
        if len(self._values) > 4 * MAX_STEPS:
            del self._values[: 2 * MAX_STEPS]
            self._first += MAX_STEPS

    def at(self, step: int) -> tuple[float, float] | None:
        """Loss and gradient norm of a step, None if no longer known."""
        index = 2 * (step - self._first)
        if not 0 <= index < len(self._values):
            return None
        return self._values[index], self._values[index + 1]

    def drop_from(self, step: int) -> None:
        """Drop a step and all after it."""
        del self._values[max(2 * (step - self._first), 0) :]
        self._failures = Counter({n: times for n, times in self._failures.items() if n < step})
        self.unvalidated = {number for number in self.unvalidated if number < step}

    def add_failure(self, step: int) -> None:
        """Add that a step failed in the user's code and is tried again."""
        self._failures[step] += 1

    def failures(self, step: int) -> int:
        """Number of failures of a step before it succeeded."""
        return self._failures[step]
