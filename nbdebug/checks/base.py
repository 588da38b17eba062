"""The contract of a check: it looks at a training before or between steps, and moves nothing."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import ClassVar

from nbdebug.checks._context import CheckContext
from nbdebug.core.results.check_result import CheckResult, Outcome


class Check(ABC):
    """Examines one thing.

    The docstring is what the user reads: the first line says what is looked at, the rest
    why it matters. A check may train, change modes and attach hooks as it likes: whoever
    runs it puts everything back and proves it.

    Attributes:
        name: unique; step: 1 to 5 of the checklist; order: its place in it.
        title: short, for the table.
        source: where this is known from.
        dear: takes seconds, so it runs on request alone.
        explains: checks whose bad result follows from a bad one of this check; "*" are all
            that could not be made.
    """

    name: ClassVar[str]
    step: ClassVar[int]
    title: ClassVar[str]
    source: ClassVar[str]
    order: ClassVar[int] = 100
    dear: ClassVar[bool] = False
    explains: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def examine(self, context: CheckContext) -> Outcome:
        """Look, and say what was seen.

        Raises:
            Exception: anything; the report says so in the check's row and goes on.
        """

    def result(self, outcome: Outcome, seconds: float, at: int) -> CheckResult:
        """The outcome, seen before training step `at`, as a row of the report."""
        return CheckResult(
            name=self.name, title=self.title, step=self.step, status=outcome.status,
            seen=outcome.seen, expected=outcome.expected, remedy=outcome.remedy,
            why=" ".join((inspect.getdoc(type(self)) or "").split()), source=self.source,
            seconds=seconds, at=at, dear=self.dear, proposal=outcome.proposal,
            raised=outcome.raised,
            explains=self.explains,
        )  # fmt: skip
