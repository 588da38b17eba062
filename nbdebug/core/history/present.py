"""Readings of a training by other threads while trial values are in force."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import current_thread
from typing import Any, Protocol, TypeVar

from nbdebug.core.contexts import contextmanager
from nbdebug.core.control_spec import ControlState
from nbdebug.core.history.history import History

T = TypeVar("T")


class Position(Protocol):
    """A session, as far as it is kept."""

    step: int
    samples: int
    epoch: float

    @property
    def optimizer(self) -> Any:
        """The optimizer in force."""


@dataclass(frozen=True, slots=True)
class Present:
    """Position, optimizer and controls of a training before values are tried."""

    step: int
    samples: int
    epoch: float
    optimizer: Any
    values: Mapping[str, Any]
    states: tuple[ControlState, ...]


class PresentView:
    """Readings of a training, which for other threads stay those of the present during trials.

    The training thread, and with it the user's code in a step, reads the session as it is.
    """

    def __init__(self, session: Position, history: History) -> None:
        self._session, self._history = session, history
        self._kept: Present | None = None
        # Counts beginnings and ends, so that nobody reads across one.
        self._turns = 0

    @property
    def inside(self) -> bool:
        """True if this thread may change the training: it sees trial values."""
        return self._history.inside.writer in (None, current_thread())

    @property
    def trying(self) -> bool:
        """True if values are tried that this thread does not see."""
        return self._kept is not None and not self.inside

    @contextmanager
    def kept(
        self,
        values: Callable[[], Mapping[str, Any]],
        states: Callable[[], tuple[ControlState, ...]],
    ) -> Iterator[None]:
        """Keep the present for other threads inside; it is in force again at the end."""
        if self._kept is not None:
            yield
            return
        session = self._session
        self._kept = Present(
            session.step, session.samples, session.epoch, session.optimizer, values(), states()
        )
        self._turns += 1
        try:
            yield
        finally:
            self._kept = None
            self._turns += 1

    def read(self, live: Callable[[], T], kept: Callable[[Present], T]) -> T:
        """Read the training as it is, or, on another thread during trials, what was kept."""
        while True:
            turns, present = self._turns, self._kept
            if present is not None and not self.inside:
                return kept(present)
            found = live()
            if turns == self._turns or self.inside:
                return found
