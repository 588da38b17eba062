"""Base class of checks: a check examines a training between two steps and changes nothing."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from nbdebug.checks._context import CheckContext
from nbdebug.core.deprecated import warn_deprecated
from nbdebug.core.results.checks.check_result import CheckResult, Outcome


class Check(ABC):
    """Examines one property of a training setup.

    The docstring of a check is the text that the user reads: the first line names the property
    that is checked, the rest tells why it matters. A check may train, change modes and attach
    hooks: the check runner restores the training afterwards and verifies that nothing changed.

    Attributes:
        name: unique name; step: 1 to 5 of the checklist; order: position in the step.
        title: short title for the table.
        source: paper or documentation that describes the check.
        expensive: the check takes seconds and runs only on request.
        explains: names of checks that fail as a consequence when this check fails; "*" stands
            for all checks that raised an exception.
        runs_loss: False for a check that runs the model and no loss; it may judge data for which
            the loss would end a GPU.
        sees_step: True for a check of what a step does beside its model and its loss: it needs a
            step that can be repeated whole.
        moves_far: True for a check that trains to where the user's code may refuse to go on: of a
            loop it computes the first steps without the loop, where that can be done.
        alters: True for a check that gives a step samples, weights or modes that training does
            not: a loop that raises or asserts is spared it, as it is one that moves far.
        runs_model: False for a check that runs nothing of the user's and needs no batch.
    """

    name: ClassVar[str]
    step: ClassVar[int]
    title: ClassVar[str]
    source: ClassVar[str]
    order: ClassVar[int] = 100
    expensive: ClassVar[bool] = False
    explains: ClassVar[tuple[str, ...]] = ()
    runs_loss: ClassVar[bool] = True
    runs_model: ClassVar[bool] = True
    sees_step: ClassVar[bool] = False
    moves_far: ClassVar[bool] = False
    alters: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Read `dear`, the old name of `expensive`."""
        super().__init_subclass__(**kwargs)
        if "dear" in vars(cls):
            warn_deprecated(f"The attribute dear of the check {cls.__name__}", "expensive")
            cls.expensive = bool(vars(cls)["dear"])

    @abstractmethod
    def examine(self, context: CheckContext) -> Outcome:
        """Run the check.

        Raises:
            Exception: any; the report shows the exception in the row of this check.
        """

    def examine_graph(self, nodes: Sequence[tuple[str, Any]]) -> Outcome | None:
        """Judge the graph of losses of one step, of a loop that cannot repeat it.

        Args:
            nodes: of the graph, with the names of their operations, such as Mul.

        Returns:
            None if the check needs more than these.
        """
        return None

    def result(self, outcome: Outcome, seconds: float, at: int) -> CheckResult:
        """The outcome as a row of the report; `at` is the training step that comes next."""
        return CheckResult(
            name=self.name, title=self.title, step=self.step, status=outcome.status,
            seen=outcome.seen, expected=outcome.expected, remedy=outcome.remedy,
            why=" ".join((inspect.getdoc(type(self)) or "").split()), source=self.source,
            seconds=seconds, at=at, expensive=self.expensive, proposal=outcome.proposal,
            raised=outcome.raised,
            explains=self.explains,
        )  # fmt: skip
