"""Facts of what a loop of the user's own compares, copies and changes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OneSidedTargets:
    """All targets of the binary losses of one of several optimizers are of one side.

    Attributes:
        step: of the last update that was looked at, None if this is over.
        name: of the optimizer; value: mean of its targets.
        updates: that were looked at; calls: of losses in all of them.
        line: of the backward pass, "" if unknown.
    """

    step: int | None
    name: str = ""
    value: float = 0.0
    updates: int = 0
    calls: int = 0
    line: str = ""


@dataclass(frozen=True, slots=True)
class BoundedWeights:
    """Other code than the optimizer holds the weights within a bound, behind each update.

    Attributes:
        step: of the last update that was looked at, None if this is over.
        bound: largest size of a weight; share: of the weights that are at it.
    """

    step: int | None
    bound: float = 0.0
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class CutPasses:
    """A loop leaves each pass over data in a fixed order after the same first batches.

    Attributes:
        step: batches before the end of the last of these passes, None if this is over.
        taken: batches of a pass; batches: that the loader has; size: of a batch, 0 if unknown.
        line: of the loop over the batches, "" if unknown.
    """

    step: int | None
    taken: int = 0
    batches: int = 0
    size: int = 0
    line: str = ""


@dataclass(frozen=True, slots=True)
class LostBatches:
    """Before each update a loop clears the gradients of the same number of batches unused.

    Attributes:
        step: of the last of these updates, None if this is over.
        lost: batches whose gradients were cleared; used: those that the update follows from.
        line: of the update, "" if unknown.
    """

    step: int | None
    lost: int = 0
    used: int = 0
    line: str = ""


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """A loop logs as a validation numbers of rows that it trains with.

    Attributes:
        step: of the last validation that was looked at, None if this is over.
        rows: different ones of it; line: that calls the model, "" if unknown.
    """

    step: int | None
    rows: int = 0
    line: str = ""


@dataclass(frozen=True, slots=True)
class SummedLosses:
    """A loop passes back a loss that holds losses of earlier steps.

    Attributes:
        step: at which it did first; ago: updates since one of those was passed back.
        line: of the backward pass, "" if unknown.
    """

    step: int
    ago: int = 1
    line: str = ""
