"""What was done to a training, what was named, and how often it went back."""

from __future__ import annotations

from nbdebug.core.results.fork import ForkResult
from nbdebug.core.results.timeline import Mark, MarkKind
from nbdebug.errors import ArgumentError
from nbdebug.training.timeline.replay_events import Event


class EditLog:
    """The way that training came, apart from its steps.

    Attributes:
        events: everything that was done at step boundaries, in order.
        marks: what the dashboard shows besides checkpoints.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.marks: list[Mark] = []
        self._names: dict[str, tuple[int, int]] = {}
        self._rewind_steps: list[int] = []

    @property
    def rewinds(self) -> int:
        """How often training went back."""
        return len(self._rewind_steps)

    def has_event_at(self, step: int) -> bool:
        """Whether something was done at this step, the newest one, already."""
        return bool(self.events) and self.events[-1].step == step

    def excluded_batches(self, step: int) -> int:
        """How many batches were left out at this step, which is still to be made."""
        return sum(event.step == step and event.command is None for event in self.events)

    def name(self, name: str, step: int) -> None:
        """Give a name to where training stands."""
        self._names[name] = (step, len(self.events))
        self.mark(step, "named", name)

    def mark(self, step: int, kind: MarkKind, name: str = "") -> None:
        """Note that something happened at a step."""
        self.marks.append(Mark(step, kind, name))

    def resolve(self, target: int | str, first: int, here: int) -> tuple[int, int]:
        """The step and the number of events that a step or a name stands for.

        Args:
            first: the first step that can be gone back to; here: where training stands.

        Raises:
            ArgumentError: there is no such place behind.
        """
        if isinstance(target, str):
            if target not in self._names:
                known = ", ".join(self._names) or "none"
                raise ArgumentError(f"There is no checkpoint {target!r}; named are: {known}.")
            return self._names[target]
        step = target + here if target < 0 else target
        if isinstance(target, bool) or not first <= step <= here:
            raise ArgumentError(
                f"step must be from {first} to {here}, where training stands, or from "
                f"{first - here} to -1 for so many steps back; got {target!r}."
            )
        done = sum(event.step < step for event in self.events)
        return step, done

    def check_reachable(self, fork: ForkResult, here: int) -> None:
        """ArgumentError when training has left the way that a fork was made on."""
        later = self._rewind_steps[fork.rewinds :]
        if fork.step > here or any(step < fork.step for step in later):
            raise ArgumentError(
                f"The fork at step {fork.step:,} lies on a way that training has left: make it "
                "again."
            )

    def truncate(self, target: tuple[int, int]) -> None:
        """Training went back to a place: forget what came after."""
        step, cursor = target
        self._rewind_steps.append(step)
        del self.events[cursor:]
        self._names = {name: place for name, place in self._names.items() if place <= target}
        self.marks = [mark for mark in self.marks if mark.step <= step]

    def clear(self) -> None:
        """Training begins anew."""
        self.truncate((-1, 0))
        self._names = {}
