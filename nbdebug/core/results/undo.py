"""Taking back a change of controls: what would be taken back, and what was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbdebug.core.history.latest import LatestResults

MAX_NAMED_PARTS = 3


@dataclass(frozen=True, slots=True)
class ValueChange:
    """One control of a change, and its values before and after.

    Attributes:
        label: of the control; before, after: its values, as the dashboard words them; `before` is
            "" for an action, such as new weights.
    """

    control: str
    label: str
    old: Any
    new: Any
    before: str
    after: str

    def __str__(self) -> str:
        if not self.before:
            return f"{self.label}: {self.after}"
        return f"{self.label} {self.before} -> {self.after}"


@dataclass(frozen=True, slots=True)
class UndoableChange:
    """The change that `undo` would take back: all values of one call of `set`.

    Attributes:
        step: the first step with the new values.
        values: the controls, in the order in which they were set.
        refusal: why the change cannot be taken back without a rewind, or "".
    """

    step: int
    values: tuple[ValueChange, ...]
    refusal: str = ""

    def __str__(self) -> str:
        return f"{', '.join(map(str, self.values))}, set at step {self.step:,}"


@dataclass(frozen=True, slots=True)
class UndoResult:
    """A change that was taken back.

    Attributes:
        change: the change; `change.step` is the first step that was made with it.
        step: where training was when it was taken back.
        harm: whether the loss rose clearly after the change, as the rule `diverging` judges it.
        rewind_to: the step to offer a rewind to, since the change did harm; None without an offer.
        rewound: whether training was rewound to before the change.
        note: messages of the controls, or "".
    """

    change: UndoableChange
    step: int
    harm: bool = False
    rewind_to: int | None = None
    rewound: bool = False
    note: str = ""

    def __str__(self) -> str:
        text = f"Taken back: {self.change}."
        if self.rewound:
            text = f"{text} Training is back at step {self.change.step:,}."
        elif self.rewind_to is not None:
            text = (
                f"{text} The loss has risen since then: dbg.rewind({self.rewind_to}) goes back to "
                "before the change."
            )
        return f"{text} {self.note}".rstrip()

    __repr__ = __str__


def undo_label(results: LatestResults) -> str | None:
    """Text for the tooltip of an undo button: what it would take back; None for nothing.

    The text is such as "Learning rate 0.1 -> 0.01, set at step 619".
    """
    change = results.of(UndoableChange)
    if change is None:
        return None
    return f"{change}. {change.refusal}" if change.refusal else str(change)


def value_text(value: Any, choices: Mapping[str, str]) -> str:
    """A control's value as text, with the label of a choice.

    Args:
        choices: label of each choice, by value.
    """
    if isinstance(value, Mapping):
        shown = [f"{name}: {value_text(one, choices)}" for name, one in value.items()]
        more = ", ..." if len(shown) > MAX_NAMED_PARTS else ""
        return f"{{{', '.join(shown[:MAX_NAMED_PARTS])}{more}}}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return choices.get(value, value) if isinstance(value, str) else f"{value!r:.80}"
