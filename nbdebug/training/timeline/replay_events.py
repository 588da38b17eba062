"""Events between the steps of a training, and observers of their replay."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from nbdebug.core.commands.running import ReestimateBatchNorm, SetControl


@dataclass(frozen=True, slots=True)
class Event:
    """Event at a step boundary: a command, or an excluded batch if `command` is None.

    `fallback` is the length in steps of a schedule that begins now; `unread` is True if the
    excluded batch could not be read, `alone` if it held one sample, of which BatchNorm has no
    statistics.
    """

    step: int
    command: SetControl | ReestimateBatchNorm | None
    fallback: int
    unread: bool = False
    alone: bool = False


class ReplayObserver:
    """Observer of a replay; this base class does nothing."""

    def begin(self) -> None:
        """Called when the first state is restored."""

    def event(self, event: Event) -> AbstractContextManager[None]:
        """Context in which an event is replayed."""
        return nullcontext()

    def step(self) -> AbstractContextManager[None]:
        """Context in which a step is replayed."""
        return nullcontext()


NO_OBSERVER = ReplayObserver()
