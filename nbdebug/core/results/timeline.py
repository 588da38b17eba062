"""The timeline of a training in plain values: marks, abandoned branches, results of replays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from nbdebug.core.series import Series

MarkKind = Literal["checkpoint", "named", "break", "fork"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A step at which something can be gone back to, or at which something happened."""

    step: int
    kind: MarkKind
    name: str = ""


@dataclass(frozen=True, slots=True)
class TimelineMarks:
    """All marks of a training, in no order."""

    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class ActiveBreakpoints:
    """Names of the breakpoints that may pause training."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Branch:
    """Steps that a rewind abandoned: from `at` on, up to `until`, where training had been."""

    at: int
    until: int
    series: Mapping[str, Series] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """The first step that did not repeat itself.

    Attributes:
        recorded, repeated: loss and gradient norm then and now; NaN where it was not finite.
        where: what is likely to have done it.
    """

    step: int
    recorded: tuple[float, float]
    repeated: tuple[float, float]
    where: str = ""

    def __str__(self) -> str:
        (loss, norm), (again, norm_again) = self.recorded, self.repeated
        what = f"loss {loss!r} then, {again!r} now"
        if loss == again:
            what = f"gradient norm {norm!r} then, {norm_again!r} now"
        return f"step {self.step:,} differs: {what}. {self.where}".rstrip()


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """Comparison of steps that were run again with the recorded ones.

    Attributes:
        start: the step of the checkpoint it began at; step: where it ended.
        compared: how many losses and gradient norms were compared with the recorded ones.
        difference: None when all were equal to the bit.
        end_equal: whether the state at the end is that of training, None when not compared.
    """

    start: int
    step: int
    compared: int
    difference: Difference | None = None
    end_equal: bool | None = None

    @property
    def equal(self) -> bool:
        """Whether everything that was compared is equal to the bit."""
        return self.difference is None and self.end_equal is not False

    def __str__(self) -> str:
        made = self.step - self.start
        if not made:
            return f"Back at the checkpoint of step {self.start:,}."
        text = f"{made:,} steps run again from step {self.start:,}"
        if self.difference is not None:
            return f"{text}; {self.difference}"
        if self.compared < made:
            text += f"; the last {self.compared:,} of their losses are equal to the bit"
        else:
            text += ", each loss and gradient norm equal to the bit"
        if self.end_equal is not None:
            equal = "are" if self.end_equal else "are NOT"
            text += f"; weights, buffers and optimizer {equal} equal to the bit at the end"
        return f"{text}."

    __repr__ = __str__
