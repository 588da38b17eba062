"""Facts of the user's loop: metrics, schedulers, its log, calls in an order that does harm."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MetricNames:
    """Metrics that may be measured, as series `<name>` and `val_<name>`."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoggedLines:
    """Lines of a loop of the user's own that log values, by the name of the series."""

    lines: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class LoopSchedule:
    """Schedulers that a loop of the user's own steps, in words; "" without any."""

    schedulers: str


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Tells if a trainer writes an average into its log where the loss is NaN or Inf."""

    hides_nan: bool


@dataclass(frozen=True, slots=True)
class ClearedGradients:
    """A loop of its own cleared gradients between the backward pass and the update.

    Attributes:
        step: the first step in which it did.
        partly: those of some parameters alone were lost, before another backward pass.
    """

    step: int
    partly: bool = False


@dataclass(frozen=True, slots=True)
class NoUpdate:
    """A loop of its own goes through batches, and its optimizer makes no update.

    Attributes:
        step: number of updates before; batches: since then.
    """

    step: int
    batches: int


@dataclass(frozen=True, slots=True)
class RepeatedBackward:
    """A loop of its own made the backward pass of one loss twice before an update.

    Attributes:
        step: the first step in which it did; line: of the second pass, "" if unknown.
    """

    step: int
    line: str = ""


@dataclass(frozen=True, slots=True)
class EarlyClipping:
    """A loop of its own clipped gradients before its backward pass made them.

    Attributes:
        step: the first step in which it did; line: of the clipping, "" if unknown.
        after: True if it clipped them after the update.
    """

    step: int
    line: str = ""
    after: bool = False


@dataclass(frozen=True, slots=True)
class ScaledClipping:
    """A loop of its own clipped gradients that a GradScaler had not unscaled.

    Attributes:
        step: the first step in which it did; scale: of the gradients then.
        line: of the clipping, "" if unknown.
    """

    step: int
    scale: float
    line: str = ""


@dataclass(frozen=True, slots=True)
class ScaledUpdate:
    """A loop of its own made an update with gradients that a GradScaler had not unscaled.

    Attributes:
        step: the first step in which it did; scale: of the gradients; line: of the update.
    """

    step: int
    scale: float
    line: str = ""


@dataclass(frozen=True, slots=True)
class LoopClipping:
    """A loop of its own clips its gradients to a fraction, update by update.

    Attributes:
        step: the first of such updates; None once they are over.
        kept: share of the norm that is left; limit: that the loop clips at.
        line: of the clipping, "" if unknown.
    """

    step: int | None
    kept: float = 1.0
    limit: float = 0.0
    line: str = ""


@dataclass(frozen=True, slots=True)
class UpdatesInEval:
    """A loop of its own makes updates while the model is in eval mode.

    Attributes:
        step: the first such step, None if the model is back in training mode.
        layers: kinds of layers that work differently in eval mode.
    """

    step: int | None
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ValidationInTraining:
    """A loop of its own calls its model between two updates, for outputs alone, in training mode.

    Attributes:
        step: before which it did first, None if it has called the model in eval mode since.
        calls: in that place; layers: kinds of layers that work differently in eval mode.
        moves: True if running statistics take in what it is called with.
        line: of the first call, "" if unknown.
    """

    step: int | None
    calls: int = 0
    layers: tuple[str, ...] = ()
    moves: bool = False
    line: str = ""


@dataclass(frozen=True, slots=True)
class UpdatesOutside:
    """A loop of its own updates the weights between two passes, or between two of its steps.

    Attributes:
        step: before which it did first; count: of these updates so far.
        line: of the first of them; caller: of the function that line is in; "" if unknown.
    """

    step: int
    count: int
    line: str = ""
    caller: str = ""


@dataclass(frozen=True, slots=True)
class TakenBack:
    """A loop of its own leads the weights back between an update and the next backward pass.

    Attributes:
        step: at which this was clear, None if it does so no more.
        share: of an update that is taken back, about.
    """

    step: int | None
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class UndividedLosses:
    """A loop of its own adds up the gradients of several losses, none of which is divided.

    Attributes:
        step: at which this was clear; passes: before each update; line: of them, "" if unknown.
    """

    step: int
    passes: int
    line: str = ""


@dataclass(frozen=True, slots=True)
class RenewedOptimizer:
    """A loop of its own makes a new optimizer for each update.

    Attributes:
        step: at which this was clear; kind: class of the optimizer.
        count: of the optimizers so far; lost: names of what each of them had to gather again.
    """

    step: int
    kind: str
    count: int
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SchedulerUse:
    """One scheduler, and how it was stepped.

    Attributes:
        kind: class of the scheduler; count: of its own position, such as its last_epoch.
        moves: updates before which it was stepped; updates: made since it was seen first.
        epochs: in which they were made; planned: epochs that the loop will
            make, 0 if unknown.
        total: steps that it was made for, 0 if it has no end or that is unknown.
        peak: step at which its rate is highest, of those with a function of the step.
        highest: factor at that step, NaN for other schedulers; base: rate that it multiplies.
        rate: in force; lowest, largest: among those in force so far.
        beside: it belongs to an optimizer that makes no update; relieved: another scheduler of the
            same optimizer is stepped.
    """

    kind: str
    count: int
    moves: int
    updates: int
    epochs: float
    planned: int
    total: int
    peak: int
    highest: float
    base: float
    rate: float
    lowest: float
    largest: float
    beside: bool
    relieved: bool


@dataclass(frozen=True, slots=True)
class OtherInputs:
    """A loop of its own gave its model inputs on another scale, in eval mode between two updates.

    Attributes:
        step: before which it did, None if it does not any more; calls: of that line.
        trained, evaluated: mean and standard deviation of the inputs of training steps, and of
            those of these calls.
        line: of the calls, "" if unknown.
    """

    step: int | None
    calls: int = 0
    trained: tuple[float, float] = (0.0, 1.0)
    evaluated: tuple[float, float] = (0.0, 1.0)
    line: str = ""


@dataclass(frozen=True, slots=True)
class LoopSchedulers:
    """Schedulers that a loop of the user's own reaches, after some of its steps.

    Attributes:
        step: at which this was seen; each: one for each scheduler.
    """

    step: int
    each: tuple[SchedulerUse, ...]


@dataclass(frozen=True, slots=True)
class PlateauValues:
    """Values that a ReduceLROnPlateau was stepped with, once it has lowered the learning rate.

    Attributes:
        mode: "min" or "max"; values: some of them, each at the step in `steps`,
            before the rate was almost 0.
        before, after: learning rate at first and now; lowered: times that it was lowered.
        line: of the call, "" if unknown.
    """

    mode: str
    steps: tuple[int, ...]
    values: tuple[float, ...]
    before: float
    after: float
    lowered: int
    line: str = ""
