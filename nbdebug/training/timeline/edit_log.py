"""Log of edits, named checkpoints and rewinds of a training."""

from __future__ import annotations

from nbdebug.core.results.fork_result import ForkResult
from nbdebug.core.results.timeline import Mark, MarkKind
from nbdebug.errors import ArgumentError
from nbdebug.training.timeline.replay_events import Event
from nbdebug.training.timeline.undo.undo_stack import UndoStack


class EditLog:
    """Everything that happened to a training between its steps.

    Attributes:
        events: edits at step boundaries, in order.
        marks: marks for the dashboard, without checkpoints.
        undo: the control changes that can be taken back.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.marks: list[Mark] = []
        self.undo = UndoStack()
        self._names: dict[str, tuple[int, int]] = {}
        self._rewind_places: list[tuple[int, int]] = []

    @property
    def rewinds(self) -> int:
        """Number of rewinds."""
        return len(self._rewind_places)

    def has_event_at(self, step: int) -> bool:
        """Tell if there is an event at this step, the latest one."""
        return bool(self.events) and self.events[-1].step == step

    def commands_at(self, step: int) -> int:
        """Number of changes made at this step."""
        return sum(event.step == step and event.command is not None for event in self.events)

    def excluded_batches(self, step: int) -> int:
        """Number of batches excluded at this step, which is still to be made."""
        return sum(event.step == step and event.command is None for event in self.events)

    def name(self, name: str, step: int) -> None:
        """Name the current position."""
        self._names[name] = (step, len(self.events))
        self.mark(step, "named", name)

    def mark(self, step: int, kind: MarkKind, name: str = "") -> None:
        """Add a mark at a step."""
        self.marks.append(Mark(step, kind, name))

    def resolve(self, target: int | str, first: int, here: int) -> tuple[int, int]:
        """Resolve a step or a name to a step and the number of events before it.

        Args:
            first: the first step that a rewind can reach; here: the current step.

        Raises:
            ArgumentError: the target is unknown or out of range.
        """
        if isinstance(target, str):
            if target not in self._names:
                known = ", ".join(self._names) or "none"
                raise ArgumentError(f"There is no checkpoint {target!r}; there are: {known}.")
            return self._names[target]
        step = target + here if target < 0 else target
        if isinstance(target, bool) or not first <= step <= here:
            raise ArgumentError(
                "step must be a whole number of steps, or the name of a checkpoint: "
                f"{_range(first, here)}; got {target!r}."
            )
        done = sum(event.step < step for event in self.events)
        return step, done

    def check_reachable(self, fork: ForkResult, here: int) -> None:
        """Raise ArgumentError if a rewind has abandoned the branch of a fork."""
        later = self._rewind_places[fork.rewinds :]
        if fork.step > here or any(place < (fork.step, fork.cursor) for place in later):
            raise ArgumentError(
                f"The fork at step {fork.step:,} is on a branch you rewound past; create it again."
            )

    def truncate(self, target: tuple[int, int]) -> None:
        """Drop everything after `target`, for a rewind."""
        step, cursor = target
        self._rewind_places.append(target)
        del self.events[cursor:]
        self.undo.truncate(cursor)
        self._names = {name: known for name, known in self._names.items() if known <= target}
        self.marks = [mark for mark in self.marks if mark.step <= step]

    def clear(self) -> None:
        """Drop everything, for a new run."""
        self.truncate((-1, 0))
        self._names = {}


def _range(first: int, here: int) -> str:
    """Places that a rewind can reach, in words."""
    if first == here:
        return f"there is only {here}, the current step, since none was made from there"
    back = f"from {first - here} to -1" if here - first > 1 else "-1"
    places = f"from {first} to {here}, the current step, or {back}"
    return f"{places} to count back from the current step"
