"""The step that a breakpoint stopped before its update, compared with the one made after it."""

from __future__ import annotations

import math

from nbdebug.core.history.history import History
from nbdebug.core.records import Notice
from nbdebug.core.results.timeline import Difference
from nbdebug.training.engine.loop import Loop
from nbdebug.training.timeline.edit_log import EditLog
from nbdebug.training.timeline.nondeterminism import find_nondeterminism

ROUNDING = 1e-3
TITLE = "The step at the breakpoint was made again with another result"
TEXT = (
    "It was stopped before its update, and made again when training went on: {} If neither weights "
    "nor data were changed by hand in between, training differs from here on from one without the "
    "breakpoint."
)


class StoppedStep:
    """Remembers gradient norms of stopped steps, and tells of the first that is another one.

    The code of a user's own runs once more in such a step: what it moves and no copy holds has
    moved on.
    """

    def __init__(self, loop: Loop, edits: EditLog, history: History) -> None:
        self._loop, self._edits, self._history = loop, edits, history
        self._stopped: tuple[int, int, float, float] | None = None
        self._told = False

    def remember(self) -> None:
        """Remember the step that was just stopped."""
        found = self._loop.breakpoints.inspection
        if found is not None:
            self._stopped = found.step, len(self._edits.events), found.loss, found.norm

    def compare(self) -> None:
        """Compare the step that was just made; an edit in between explains a difference."""
        if self._stopped is None or self._told:
            return
        step, events, loss, norm = self._stopped
        if step != self._loop.session.step - 1:
            return
        self._stopped = None
        made = self._loop.last
        session = self._loop.session
        rounding = 0.0 if session.device.type == "cpu" else ROUNDING
        same = math.isclose(norm, made[1], rel_tol=rounding) or not math.isfinite(norm)
        if same or events != len(self._edits.events):
            return
        self._told = True
        where = find_nondeterminism(session)
        text = TEXT.format(Difference(step, (loss, norm), made, where))
        self._history.add_notice(Notice(step, "warning", TITLE, text))
