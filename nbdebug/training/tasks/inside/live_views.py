"""Views inside the network that are made again while somebody looks at them."""

from __future__ import annotations

import time
from collections.abc import Callable

from nbdebug.core.error_text import describe_error, raise_interrupt
from nbdebug.core.history.history import History
from nbdebug.core.records import Notice, RunState
from nbdebug.training.engine.loop import Loop

REFRESH_SECONDS = 1.0
Make = Callable[[], object]


class LiveViews:
    """Views by name, each made again between two steps while it is watched.

    A view is made at most once a second, and so rarely that making all of them takes at most
    `overhead` of the time. While training is paused it is made once. A view that raises says so
    and is left alone until somebody opens it again.
    """

    def __init__(self, loop: Loop, history: History, overhead: float) -> None:
        self._loop, self._history, self._overhead = loop, history, overhead
        self._offered: dict[str, tuple[str, Make, Callable[[], bool]]] = {}
        self._watched: dict[str, _Shown] = {}

    def offer(
        self, name: str, title: str, make: Make, ready: Callable[[], bool] = lambda: True
    ) -> None:
        """Offer a view.

        Args:
            title: names it in messages; make: publishes its result; ready: tells if it can be made.
        """
        self._offered[name] = title, make, ready

    def watch(self, name: str, on: bool) -> None:
        """Begin or end to make a view; other names are those of probes."""
        if name not in self._offered or self._loop.session.together:
            return
        if on:
            self._watched.setdefault(name, _Shown())
        else:
            self._watched.pop(name, None)

    def due(self, state: RunState) -> str:
        """Name of a view that is to be made now; "" if none is."""
        if not self._watched or state == "closed":
            return ""
        now, step = time.monotonic(), self._loop.session.step
        for name, shown in self._watched.items():
            at_rest = state == "paused" or now >= shown.next
            # A loop on its own may be writing to the model.
            wanted = shown.step != step and at_rest and self._offered[name][2]()
            if wanted and not self._loop.body.is_apart():
                return name
        return ""

    def run_due(self, state: RunState) -> None:
        """Make the first view that is due."""
        name = self.due(state)
        if not name:
            return
        start, (title, make, _) = time.monotonic(), self._offered[name]
        try:
            make()
        except BaseException as error:
            raise_interrupt(error)
            del self._watched[name]
            text = f"{describe_error(error)} Training is as before."
            notice = Notice(self._loop.session.step, "warning", f"{title} could not be made", text)
            self._history.add_notice(notice)
            return
        now = time.monotonic()
        # All views that are watched share the budget.
        share = max(self._overhead, 1e-3) / max(len(self._watched), 1)
        wait = max(REFRESH_SECONDS, (now - start) / share)
        self._watched[name] = _Shown(self._loop.session.step, now + wait)


class _Shown:
    """The step that a view was made at, and when it may be made again."""

    def __init__(self, step: int = -1, following: float = 0.0) -> None:
        self.step, self.next = step, following
