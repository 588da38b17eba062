"""Copies of what loss_fn and step_fn count, to put back where a step is left out."""

from __future__ import annotations

from collections.abc import Iterator

from nbdebug.core.contexts import contextmanager
from nbdebug.errors import NonFiniteError
from nbdebug.training.engine.session import Session
from nbdebug.training.engine.stopping.breakpoints import Break


class CountsGuard:
    """Puts back the numbers, lists and objects that the user's functions moved in a failed step.

    A copy costs more than the rest of a small step. It is made where a step is likely to be left
    out: while a breakpoint is set, and once a step has failed. A loop of the user's own has copies
    of its own, see `BeforeStep`.

    What the user's code counts may be why it fails, and would then fail for ever: where the same
    error comes back at the same step, the counts stay.

    Attributes:
        left: True if the last step failed after it called the functions, and without a copy.
    """

    def __init__(self, session: Session) -> None:
        self._session, self.left = session, False
        self._last: tuple[int, type[BaseException]] | None = None

    @contextmanager
    def kept(self, armed: bool) -> Iterator[None]:
        """Context of a step; `armed`: a breakpoint is set."""
        session, self.left = self._session, False
        if session.body is not None:
            yield
            return
        wanted = armed or self._last is not None
        before = session.surroundings.capture_records() if wanted else None
        try:
            yield
        except BaseException as error:
            again = self._last == (session.step, type(error))
            self._last = session.step, type(error)
            if before is None:
                self.left = session.evaluated == session.step
            elif not again or isinstance(error, Break | NonFiniteError):
                before.restore()
            raise
