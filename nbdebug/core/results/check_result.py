"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["pass", "warning", "fail", "not_applicable", "not_run"]

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
    """A remedy that is a control's value."""

    control: str
    value: float | str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check says.

    Attributes:
        seen: what was found, with the number; for a check that does not apply, because.
        expected: what it should be, with the number.
        remedy: what to do.
        proposal: the remedy as the value of a control, None where it is none.
        raised: whether the check itself could not be made.
    """

    status: Verdict
    seen: str
    expected: str = ""
    remedy: str = ""
    proposal: Proposal | None = None
    raised: bool = False


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The row of one check.

    Attributes:
        name, title, step, dear: of the check; step 1 to 5 of the checklist.
        status, seen, expected, remedy, proposal, raised: see `Outcome`.
        why: why it matters; source: where this is known from.
        seconds: what it cost.
        at: the training step before which it was made.
        explains: checks whose bad result follows from a bad one of this check; "*" are all
            that could not be made.
        because: title of the check that explains this one, "" for a cause of its own; cause: the
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
    dear: bool = False
    proposal: Proposal | None = None
    raised: bool = False
    explains: tuple[str, ...] = ()
    because: str = ""
    cause: str = ""
