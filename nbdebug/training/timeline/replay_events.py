"""What was done to a training between its steps, and who watches it being done again."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from nbdebug.core.commands.running import ReestimateBatchNorm, SetControl


@dataclass(frozen=True, slots=True)
class Event:
    """What was done at a step boundary; without a command the batch was left out.

    `fallback` is how many steps a schedule is made for that begins now.
    """

    step: int
    command: SetControl | ReestimateBatchNorm | None
    fallback: int


class ReplayObserver:
    """Sees a replay from inside; this one does nothing."""

    def begin(self) -> None:
        """The first state is restored."""

    def event(self, event: Event) -> AbstractContextManager[None]:
        """Something is done again inside."""
        return nullcontext()

    def step(self) -> AbstractContextManager[None]:
        """A step is made again inside."""
        return nullcontext()


NO_OBSERVER = ReplayObserver()
