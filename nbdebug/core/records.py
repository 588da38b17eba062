"""Frozen records of plain values, exchanged between threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nbdebug.errors import ArgumentError, NonFiniteOrigin

Array = NDArray[np.float64]
ChangeStatus = Literal["applied", "refused", "superseded", "undone"]
ChangeKind = Literal["control", "rewind", "reestimate"]
NoticeKind = Literal["message", "finding", "non_finite", "exception", "breakpoint"]
MAX_NOTE_LENGTH = 2000
RunState = Literal["paused", "running", "closed"]
Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Reading:
    """Numbers of several series measured together, `values` [K] in the order of `names`.

    NaN stands for "not measured at this step".
    """

    names: tuple[str, ...]
    values: Array


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts [B] of equally wide bins between `low` and `high`, measured at `step`."""

    name: str
    step: int
    low: float
    high: float
    counts: Array


@dataclass(frozen=True, slots=True)
class StepRecord:
    """The numbers of one optimizer step, counted from 0."""

    step: int
    readings: tuple[Reading, ...]
    histograms: tuple[Histogram, ...] = ()


@dataclass(frozen=True, slots=True)
class ControlChange:
    """One request to change a control or to rewind, and its outcome.

    Attributes:
        step: the first step with the new value.
        samples: training samples seen before that step.
        control: name of the control, or "timeline" for a rewind.
        old: value in force before; new: requested value.
        who: "dashboard", "api", "reset" or the name of the requesting program.
        why: the given reason, or "".
        status: applied, refused (see note), superseded by a later value, or undone by a rewind.
        note: a message for the user: a clamped value, a delay, the reason of a refusal.
        kind: a control's value, a rewind, or a re-estimation of BatchNorm statistics.
    """

    step: int
    samples: int
    epoch: float
    control: str
    old: Any
    new: Any
    who: str
    why: str
    status: ChangeStatus
    note: str = ""
    kind: ChangeKind = "control"


@dataclass(frozen=True, slots=True)
class Progress:
    """A long command in progress between two steps, and its completed share, 0 to 1."""

    command: str
    title: str
    share: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """The learning rate of future steps if nothing is changed.

    A schedule that waits for a loss to stagnate is assumed to be constant.

    Attributes:
        step: [P] future steps, the next one first; lr: [P] their learning rates.
        ghost_step: [G] steps, ghost_lr: [G] the forecast before the last edit; empty without
            an edit.
    """

    step: NDArray[np.int64]
    lr: Array
    ghost_step: NDArray[np.int64]
    ghost_lr: Array


@dataclass(frozen=True, slots=True)
class Notice:
    """A message to the user: a failure, a part that was switched off, a clamped value.

    Attributes:
        kind: why training stopped, "finding" for one that came or went, or "message" for
            everything else.
        origin: place of the first NaN or Inf; "" if unknown.
    """

    step: int
    severity: Severity
    title: str
    text: str
    traceback: str = ""
    kind: NoticeKind = "message"
    origin: NonFiniteOrigin = ""


@dataclass(frozen=True, slots=True)
class Note:
    """A note by the user, with the position of training at that time."""

    step: int
    samples: int
    epoch: float
    text: str

    @classmethod
    def at(cls, status: Status, text: object) -> Note:
        """Create a note at the current position of training.

        Raises:
            ArgumentError: `text` is no text, is empty or has more than 2,000 characters.
        """
        if not isinstance(text, str) or not text.strip():
            raise ArgumentError(f"A note must be a non-empty text, got {text!r}.")
        if len(text) > MAX_NOTE_LENGTH:
            raise ArgumentError(
                f"A note has at most {MAX_NOTE_LENGTH:,} characters, got {len(text)}."
            )
        return cls(status.step, status.samples, status.epoch, text.strip())


@dataclass(frozen=True, slots=True)
class Status:
    """State and position of training.

    Attributes:
        epoch: whole epochs and the share of the current one.
        goal: the step at which the run will pause, None without a limit.
        failure: why training stopped, None if it stopped on request.
        finished: True if the last run made all its epochs, or its loop came to an end.
    """

    state: RunState = "paused"
    step: int = 0
    samples: int = 0
    epoch: float = 0.0
    goal: int | None = None
    failure: Notice | None = None
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Attendance:
    """Dashboards that are attached, and the one that steers.

    Attributes:
        names: of all that look, in the order in which they came.
        steers: the one that steers, "" for none.
        you: the one that holds this copy, "" in the process of the training.
    """

    names: tuple[str, ...] = ()
    steers: str = ""
    you: str = ""

    @property
    def steerer(self) -> str:
        """The one that steers, "you" for the holder of this copy, "nobody" for none."""
        return "you" if self.steers and self.steers == self.you else self.steers or "nobody"

    def __str__(self) -> str:
        """Tell who steers, and how many look."""
        if not self.names:
            return "nobody is attached"
        verb = "steer" if self.steerer == "you" else "steers"
        return f"{self.steerer} {verb}, {len(self.names)} attached"
