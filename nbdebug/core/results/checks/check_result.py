"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["pass", "warning", "fail", "not_applicable", "not_run"]
# The loop makes no step again; it hides its outputs and targets.
Reason = Literal["", "cannot_repeat", "hidden"]
# Said by the check of the modes, minded by the rule of a validation that is too good.
OTHER_INPUTS = "the step gives the model other inputs in training mode"

CHECKLIST_STEPS = {
    1: "Start simple",
    2: "Look at the loss",
    3: "Look inside the layers",
    4: "Look at parameters and data",
    5: "Document",
}

STATUS_SIGNS = {"pass": "✓", "warning": "!", "fail": "✗", "not_applicable": "-", "not_run": "·"}

STATUS_LABELS = {
    "pass": "passed",
    "warning": "with a warning",
    "fail": "failed",
    "not_applicable": "not applicable",
    "not_run": "not run yet",
}

BAD_STATUSES = ("fail", "warning")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A remedy in the form of a control's value."""

    control: str
    value: float | str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one check.

    Attributes:
        seen: what was found, with the number; for a check that does not apply, the reason.
        expected: the expected state, with the number.
        remedy: the recommended action.
        proposal: the remedy as the value of a control, if there is one.
        raised: whether the check itself raised an exception.
        reason: why a check does not apply, where more is told of it; "" for others.
    """

    status: Verdict
    seen: str
    expected: str = ""
    remedy: str = ""
    proposal: Proposal | None = None
    raised: bool = False
    reason: Reason = ""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The row of one check.

    Attributes:
        name, title, step, expensive: of the check; step 1 to 5 of the checklist.
        status, seen, expected, remedy, proposal, raised: see `Outcome`.
        why: why the check matters; source: reference for it.
        seconds: duration of the check.
        at: the training step before which the check ran.
        explains: checks whose bad result follows from a bad result of this check; "*" for all
            that raised an exception.
        because: title of the check that explains this one, "" for a root cause; cause: the
            name of that check.
    """

    name: str
    title: str
    step: int
    status: Verdict
    seen: str
    expected: str
    remedy: str
    why: str
    source: str
    seconds: float
    at: int = 0
    expensive: bool = False
    proposal: Proposal | None = None
    raised: bool = False
    explains: tuple[str, ...] = ()
    because: str = ""
    cause: str = ""
