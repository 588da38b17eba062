"""Random numbers of a loop of the user's own: the global generators, from one step to the next."""

from __future__ import annotations

from typing import Any

from nbdebug.model.state.model_state import RngState
from nbdebug.model.state.random_numbers.session_rng import SessionRng


class LoopRng(SessionRng):
    """Context in which the global generators go on where the loop left them.

    A loop draws from the global generators, as it does without nbdebug. What other cells draw
    while it is paused is not seen by the loop.
    """

    def __init__(self) -> None:
        self._first: RngState | None = None
        self._state: RngState | None = None
        self._depth, self._inside = 0, False

    def begin(self) -> None:
        """Begin with the numbers that the notebook is at, or was at when the loop first began."""
        if self._first is None:
            self._first = RngState.capture()
        if self._state is None:
            self._state = self._first

    def let_go(self) -> None:
        """Set the generators to those of the loop, which draws from them on its own.

        In the middle of a step, such as one over the batches of two passes, they are so already.
        """
        if self._state is not None and not self._inside:
            self._state.restore()

    def take_over(self) -> None:
        """Go on where the loop has come to on its own."""
        self._state = RngState.capture()

    def reset(self) -> None:
        """Go back to where the loop began."""
        self._state = None

    @property
    def uses_host(self) -> bool:
        return True

    def detect_host_draws(self) -> None:
        """Do nothing: all global generators are those of the loop."""

    def position(self) -> Any:
        """Return the states of the generators; None before the loop begins."""
        return self._state

    def seek(self, position: Any) -> None:
        """Go back to states of the generators."""
        self._state = position

    def __enter__(self) -> None:
        self._depth += 1
        if self._depth == 1:
            self.let_go()
            self._inside = True

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._depth -= 1
        self._inside = self._depth > 0
        # What failed draws the same numbers again.
        if self._depth == 0 and kind is None:
            self.take_over()
