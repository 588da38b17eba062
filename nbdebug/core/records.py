"""What crosses the doors between threads: frozen records of plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nbdebug.errors import ArgumentError, NonFiniteOrigin

Array = NDArray[np.float64]
ChangeStatus = Literal["applied", "refused", "superseded", "undone"]
ChangeKind = Literal["control", "rewind", "reestimate"]
NoticeKind = Literal["message", "non_finite", "exception", "breakpoint"]
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
    """One request to change a control or to go back, and its outcome.

    Attributes:
        step: the first step that runs with the new value.
        samples: training samples seen before that step.
        control: name of the control; "timeline" for a rewind.
        old: value in force before; new: value asked for.
        who: "dashboard", "api", "reset" or the name of the program that asked.
        why: the reason given, or "".
        status: applied, refused (see note), superseded by a later value, or undone by a rewind.
        note: what the user should know: a clamped value, a delay, a refusal's reason.
        kind: a control's value, a rewind, or BatchNorm statistics that were estimated again.
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
    """A long command under way between two steps, and the share of it that is done, 0 to 1."""

    command: str
    title: str
    share: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """The learning rate that is to come, when nothing is changed.

    What waits for a loss to stagnate is foreseen as constant.

    Attributes:
        step: [P] steps, the next one first; lr: [P] the learning rate they will run with.
        ghost_step: [G] steps, ghost_lr: [G] what was to come before the last edit; empty
            when there was none.
    """

    step: NDArray[np.int64]
    lr: Array
    ghost_step: NDArray[np.int64]
    ghost_lr: Array


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user must see: a failure, a part switched off, a clamped value.

    Attributes:
        kind: why training stopped, where it did; "message" for everything else.
        origin: where a value was NaN or Inf first, as far as it is known.
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
    """A sentence of the user's own, tied to where training stood."""

    step: int
    samples: int
    epoch: float
    text: str

    @classmethod
    def at(cls, status: Status, text: object) -> Note:
        """A note on where training stands.

        Raises:
            ArgumentError: it is no text, or longer than 2,000 characters.
        """
        if not isinstance(text, str) or not text.strip():
            raise ArgumentError(f"A note is a sentence, got {text!r}.")
        if len(text) > MAX_NOTE_LENGTH:
            raise ArgumentError(
                f"A note has at most {MAX_NOTE_LENGTH:,} characters, got {len(text)}."
            )
        return cls(status.step, status.samples, status.epoch, text.strip())


@dataclass(frozen=True, slots=True)
class Status:
    """Where training stands.

    Attributes:
        epoch: whole epochs and the share of the current one.
        goal: the step at which the run will pause, None when it goes on until paused.
        failure: why it stopped, None when it stopped on request.
    """

    state: RunState = "paused"
    step: int = 0
    samples: int = 0
    epoch: float = 0.0
    goal: int | None = None
    failure: Notice | None = None
