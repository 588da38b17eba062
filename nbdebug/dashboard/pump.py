"""Clock of a dashboard: one thread that updates everything on screen."""

from __future__ import annotations

import contextvars
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from nbdebug.core.commands.queue import CommandSink
from nbdebug.core.commands.running import WatchProbe
from nbdebug.core.error_text import raise_interrupt, traceback_of
from nbdebug.core.history.history import History
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Notice
from nbdebug.dashboard.tab_builder import TabBuilder, brief_error, switched_off
from nbdebug.dashboard.view.bokeh_view import BokehView
from nbdebug.errors import PluginError
from nbdebug.panels.base import Panel
from nbdebug.plots.plot_options import PlotOptions

TICKS_PER_SECOND = 4.0
MAX_MESSAGES = 3
# How long a view that pulls may be silent until the thread sends again, and how often the thread
# tries if its messages arrive.
PULL_SECONDS, PROBE_SECONDS = 3.0, 5.0
# So many pulls in a row tell that messages of the thread were lost.
LOST_PULLS = 6

Part = Callable[[Snapshot, int], int]
T = TypeVar("T")


class Pump:
    """Reads History a few times a second and updates the widgets that changed.

    Args:
        history: of the training.
        queue: receives requests for on-demand probes.
        view: of the plots.
        panels: in the order of the page; built when their tab is visible for the first time, and
            updated while it is.
        choices: options of the plots that the viewer chose.
        parts: the widgets around the plots; each gets the snapshot and the number of
            messages allowed, and returns the number sent.
        rate: ticks per second.
        run_list_version: returns a number that changes with the list of runs.
    """

    def __init__(
        self,
        history: History,
        queue: CommandSink,
        view: BokehView,
        panels: Sequence[Panel],
        choices: PlotOptions,
        parts: Sequence[Part],
        rate: float = TICKS_PER_SECOND,
        run_list_version: Callable[[], int] = lambda: 0,
    ) -> None:
        self._history, self._queue = history, queue
        self._view, self._choices, self._parts = view, choices, parts
        self._panels = list(panels)
        self._builder = TabBuilder(panels, view, self._not_built)
        self._interval = 1.0 / rate
        self._run_list_version = run_list_version
        self._seen: object = None
        self._snapshot = Snapshot()
        self._watched: frozenset[str] = frozenset()
        self._failures: tuple[Notice, ...] = ()
        self._ticking = threading.Lock()
        self._pulled = self._probed = -math.inf
        self._pulls = 0
        self._wake = threading.Event()
        self._closing = False
        self._then: Callable[[], None] = lambda: None
        self._thread: threading.Thread | None = None

    @property
    def failures(self) -> tuple[Notice, ...]:
        """Notices about panels that were switched off, with the reason."""
        return self._failures

    def start(self) -> None:
        """Tick in a thread of its own, in the context of the running cell."""
        run = contextvars.copy_context().run
        self._thread = threading.Thread(
            target=run, args=(self._loop,), name="nbdebug-pump", daemon=True
        )
        self._thread.start()

    def wake(self) -> None:
        """Tick soon; may be called from any thread."""
        self._wake.set()

    @property
    def pulling(self) -> bool:
        """True while a view pulls: a host may carry no messages of a thread outside of a cell."""
        return time.monotonic() - self._pulled < PULL_SECONDS

    def answer(self, send_all: Callable[[], None]) -> None:
        """Tick in the handler of a message, whose answers every host carries.

        Args:
            send_all: sends the state of all widgets, since earlier changes may have been lost.
        """
        with self._ticking:
            self._pulls = self._pulls + 1 if self.pulling else 1
            self._pulled = time.monotonic()
            try:
                if self._pulls == LOST_PULLS and not self._closing:
                    send_all()
                self._tick()
            except Exception as error:
                self.fail("The dashboard missed an update", error)

    def push(self) -> None:
        """Tick in the thread again: its messages arrive."""
        self._pulled = -math.inf
        self.wake()

    def close(self) -> None:
        """Stop ticking and release the on-demand probes. May be called twice."""
        self._closing = True
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=10)
        self._watch(frozenset())

    def retire(self, then: Callable[[], None]) -> None:
        """Stop ticking without waiting for it, and do something afterwards in that thread."""
        self._then = then
        self._closing = True
        self._wake.set()
        if self._thread is None:
            then()

    def fail(self, title: str, error: BaseException) -> None:
        """Add a failure to the notices."""
        text = brief_error(error)
        step = self._history.status.step
        self._failures += (Notice(step, "warning", title, text, traceback_of(error)),)
        self._seen = None

    def _loop(self) -> None:
        while not self._closing:
            sent = 0
            try:
                sent = self._tick_in_thread()
            except BaseException as error:
                # For example a closed comm: training continues, the next tick tries again.
                self.fail("The dashboard missed an update", error)
            # A tick sends few messages: the rest of the last state follows.
            done = not (sent or self._view.waiting)
            if done and self._history.status.state == "closed":
                self._interval = 60.0
            self._wake.wait(self._interval)
            self._wake.clear()
        self._then()

    def tick(self) -> int:
        """Update everything.

        Returns:
            Number of messages sent to all views, at most 3.
        """
        with self._ticking:
            return self._tick()

    def _tick_in_thread(self) -> int:
        with self._ticking:
            if not self.pulling:
                return self._tick()
            if time.monotonic() - self._probed > PROBE_SECONDS:
                self._probed = time.monotonic()
                self._view.probe()
            return 0

    def _tick(self) -> int:
        if self._closing:
            return 0
        visible = self._view.visible
        now = (
            self._history.version, self._choices.version, visible, len(self._failures),
            self._run_list_version(),
        )  # fmt: skip
        if now != self._seen:
            self._seen = now
            self._update(visible)
        sent = self._view.flush()
        for part in self._parts:
            sent += part(self._snapshot, MAX_MESSAGES - sent)
        return sent

    def _update(self, visible: frozenset[str]) -> None:
        self._builder.build(visible)
        panels = [panel for panel in self._panels if panel.tab in visible]
        wishes = {panel: wish for panel in panels if (wish := self._try(panel, _wishes))}
        self._watch(frozenset(probe for _, watches in wishes.values() for probe in watches))
        needs = {need for needs, _ in wishes.values() for need in needs}
        snapshot = self._snapshot = self._history.snapshot(needs)
        for panel in wishes:
            self._try(panel, lambda panel: panel.update(snapshot))

    def _try(self, panel: Panel, use: Callable[[Panel], T]) -> T | None:
        """Result of a call; a panel that raises is switched off."""
        try:
            return use(panel)
        except BaseException as error:
            raise_interrupt(error)
            self._switch_off(panel, error)
            return None

    def _not_built(self, panel: Panel, error: BaseException) -> None:
        self._panels.remove(panel)
        self.fail(f"The plot {panel.name!r} could not be made", error)

    def _switch_off(self, panel: Panel, error: BaseException) -> None:
        self._panels.remove(panel)
        self._view.set_note(panel.name, switched_off(error))
        self.fail(f"The plot “{panel.title}” was switched off", error)

    def _watch(self, wanted: frozenset[str]) -> None:
        for probe in sorted(wanted ^ self._watched):
            self._queue.put(WatchProbe(probe, probe in wanted))
        self._watched = wanted


def _wishes(panel: Panel) -> tuple[frozenset[str], frozenset[str]]:
    """Series that a panel reads, and probes that it watches."""
    wishes = frozenset(panel.needs), frozenset(panel.watches)
    if not all(isinstance(name, str) for name in wishes[0] | wishes[1]):
        raise PluginError("needs and watches of a panel must be names")
    return wishes
