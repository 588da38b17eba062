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
    """A mark on the timeline: a checkpoint to rewind to, or an event."""

    step: int
    kind: MarkKind
    name: str = ""


@dataclass(frozen=True, slots=True)
class TimelineMarks:
    """All marks of a training, unordered."""

    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class ActiveBreakpoints:
    """Names of the active breakpoints."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Branch:
    """Steps that a rewind abandoned: from `at` to `until`."""

    at: int
    until: int
    series: Mapping[str, Series] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """First step that a rerun did not reproduce.

    Attributes:
        recorded, repeated: loss and gradient norm then and now; NaN for NaN or Inf.
        where: the likely cause.
    """

    step: int
    recorded: tuple[float, float]
    repeated: tuple[float, float]
    where: str = ""

    def __str__(self) -> str:
        (loss, norm), (again, norm_again) = self.recorded, self.repeated
        what = f"loss {loss!r} then, {again!r} now"
        if loss == again or (loss != loss and again != again):
            what = f"gradient norm {norm!r} then, {norm_again!r} now"
        return f"step {self.step:,} differs: {what}. {self.where}".rstrip()


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """Comparison of rerun steps with the recorded ones.

    Attributes:
        start: step of the first checkpoint; step: the last step.
        compared: number of steps whose loss and gradient norm were compared.
        difference: the first difference, None if all steps were bit-identical.
        end_equal: whether the final state equals that of training, None if not compared.
    """

    start: int
    step: int
    compared: int
    difference: Difference | None = None
    end_equal: bool | None = None

    @property
    def equal(self) -> bool:
        """Tell if everything that was compared is bit-identical."""
        return self.difference is None and self.end_equal is not False

    def __str__(self) -> str:
        made = self.step - self.start
        if not made:
            return f"Back at the checkpoint of step {self.start:,}."
        text = f"{made:,} steps rerun from step {self.start:,}"
        if self.difference is not None:
            return f"{text}; {self.difference}"
        if self.compared < made:
            text += f"; the last {self.compared:,} losses are bit-identical"
        else:
            text += ", each loss and gradient norm bit-identical"
        if self.end_equal is not None:
            equal = "are" if self.end_equal else "are NOT"
            text += f"; weights, buffers and optimizer {equal} bit-identical at the end"
        return f"{text}."

    __repr__ = __str__
