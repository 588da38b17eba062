"""Stack of the control changes in force, so that the last one can be taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nbdebug.core.control_spec import ControlSpec
from nbdebug.core.history.history import History
from nbdebug.core.records import ControlChange
from nbdebug.core.results.undo import UndoableChange, ValueChange, value_text


@dataclass(frozen=True, slots=True)
class Edit:
    """The values that one call of `set`, or one movement of a widget, changed.

    Attributes:
        call: number of the call or movement, 0 for a change of its own.
        place: step of the first value, and the number of events before it.
        change: the values, with their step.
        anchors: what the values were values of, by control; see `Control.anchor`.
    """

    call: int
    place: tuple[int, int]
    change: UndoableChange
    anchors: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Entry:
    """Step in the life of the stack: an edit is added at an event or, for None, taken off."""

    cursor: int
    edit: Edit | None


class UndoStack:
    """Changes of controls that are in force, the last one on top.

    A change that is taken back leaves the stack, so the next undo takes back an earlier one. The
    stack depends only on the events of the timeline: a rewind restores the stack of its place.
    """

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._stack: list[Edit] = []

    @property
    def top(self) -> Edit | None:
        """The change to take back next, None without one."""
        return self._stack[-1] if self._stack else None

    def add(
        self,
        change: ControlChange,
        spec: ControlSpec,
        place: tuple[int, int],
        call: int,
        anchor: Any = None,
    ) -> None:
        """Add an applied change; a value that is as before is no change.

        Args:
            spec: of the control; place: step and number of events before the change.
            call: number of the call of `set` or of the movement of a widget, whose values are taken
                back together; 0 for none.
            anchor: what the value was the value of.
        """
        if change.old == change.new:
            return
        choices = dict(spec.choices)
        before, after = (value_text(value, choices) for value in (change.old, change.new))
        before = "" if spec.action else before
        value = ValueChange(spec.name, spec.label, change.old, change.new, before, after)
        undoable = UndoableChange(place[0], (value,), _refusal(spec, place[0]))
        edit = Edit(call, place, undoable, {spec.name: anchor})
        self._apply(_Entry(place[1], edit))

    def take_off(self, cursor: int) -> None:
        """Take off the change on top, which the events from `cursor` on take back."""
        self._apply(_Entry(cursor, None))

    def truncate(self, cursor: int) -> None:
        """Restore the stack as it was before the event number `cursor`."""
        kept = [entry for entry in self._entries if entry.cursor < cursor]
        if len(kept) == len(self._entries):
            return
        self._entries, self._stack = [], []
        for entry in kept:
            self._apply(entry)

    def publish(self, history: History) -> None:
        """Publish in History what undo would take back."""
        known = history.results.of(UndoableChange)
        now = None if self.top is None else self.top.change
        if now is known:
            return
        if now is None:
            history.drop_result(UndoableChange)
        else:
            history.set_result(now)

    def _apply(self, entry: _Entry) -> None:
        self._entries.append(entry)
        edit, top = entry.edit, self.top
        if edit is None:
            self._stack.pop()
        elif top is not None and edit.call and top.call == edit.call:
            joined = _joined(top, edit)
            self._stack[-1:] = [joined] if joined.change.values else []
        else:
            self._stack.append(edit)


def _joined(first: Edit, second: Edit) -> Edit:
    """A change and one more value of the same call as one change.

    A control that moved twice is one value; one that is back where it was is none.
    """
    one, other = first.change, second.change
    (moved,) = other.values
    values, refusal = list(one.values), one.refusal or other.refusal
    first = replace(first, anchors={**second.anchors, **first.anchors})
    for value in one.values:
        if value.control == moved.control:
            values.remove(value)
            moved = replace(moved, old=value.old, before=value.before)
            if moved.old == moved.new and not refusal:
                return replace(first, change=replace(one, values=tuple(values)))
    return replace(first, change=replace(one, values=(*values, moved), refusal=refusal))


def _refusal(spec: ControlSpec, step: int) -> str:
    """Reason why a control cannot be taken back by another change, or ""."""
    back = f"dbg.undo(rewind=True) goes back to before it, at step {step:,}."
    if spec.action:
        return f"{spec.label} is an action, no value that could be set back; {back}"
    if spec.kind == "samples":
        return (
            f"{spec.label}: batches drawn meanwhile stay as they were; set {spec.name} to the "
            f"samples you want, or {back}"
        )
    return ""
