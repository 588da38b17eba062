"""Count of how often a failed step fails again in the same way."""

from __future__ import annotations

from typing import Any

from nbdebug.core.history.history import History
from nbdebug.core.records import Notice
from nbdebug.errors import NonFiniteError
from nbdebug.training.engine.breakpoints import Break
from nbdebug.training.engine.step_guard import MAX_REPEATS


class Retries:
    """Counts how often the same failure came back when its step was tried again."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.clear()

    def clear(self) -> None:
        """Forget the last failure, after a step that succeeded."""
        self._last: Any = None
        self._times = 0

    def count(self, step: int, error: BaseException) -> int:
        """Count a failure; 0 for a new one."""
        if isinstance(error, NonFiniteError | Break):
            return 0
        failed = step, type(error), error.args
        self._times = self._times + 1 if failed == self._last else 0
        self._last = failed
        if self._times == MAX_REPEATS:
            text = (
                f"Step {step} failed {self._times + 1} times in the same way. Lists, dicts and "
                "helper objects in attributes of the model are now left as the failed step left "
                "them, so that Run can get past it."
            )
            title = "A failure that may depend on the model's own state"
            self._history.add_notice(Notice(step, "warning", title, text))
        return self._times
