"""The output under a cell: the live widget, and the picture that is left without a kernel."""

from __future__ import annotations

import html
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from nbdebug.core.contexts import contextmanager
from nbdebug.core.control_spec import ControlState
from nbdebug.core.error_text import raise_interrupt
from nbdebug.core.history.history import History
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.dashboard.still.page import masked_name, series_of, still_page
from nbdebug.dashboard.view.bokeh_view import BokehView

ENVIRONMENT = "NBDEBUG_STILL"
# Seconds between two pictures while paused, and while training runs.
PAUSED_SECONDS, RUNNING_SECONDS = 1.0, 60.0
# Where no view has been heard of, as while a cell blocks the kernel, the picture is all that
# moves: renewed after this share of the time since it was shown first.
UNHEARD_SECONDS, UNHEARD_SHARE = 2.0, 0.1


def wanted() -> bool:
    """False if the environment variable NBDEBUG_STILL is "off"."""
    return os.environ.get(ENVIRONMENT, "").strip().lower() not in ("off", "0", "false", "no")


class StillOutput:
    """Shows the widget and a picture of its last state, and renews the picture.

    The picture is an output of its own: a front end renders an output again when it is updated,
    and the live widget must not be. Views hide it while they are on the page.

    Args:
        history: of the training.
        controls: returns the controls with their values in force.
        title: name of the training.
        view: of the plots, part of the widget; it shows the picture if no kernel answers.
    """

    def __init__(
        self,
        history: History,
        controls: Callable[[], Sequence[ControlState]],
        title: str,
        view: BokehView,
    ) -> None:
        self._history, self._controls, self._title = history, controls, title
        self._view = view
        self.css_class = view.still_class = f"nbd-still-{view.model_id[:12]}"
        self._lock = threading.Lock()
        self._publisher: Any = None
        self._seen: object = None
        self._page = ""
        self._time = self._shown = 0.0
        self._cell_page = ""

    # In a cell.

    def show(self, bundle: Mapping[str, Any]) -> None:
        """Display the widget, and the picture unless it is switched off."""
        from IPython.core.interactiveshell import InteractiveShell
        from IPython.display import display

        on = wanted() and InteractiveShell.initialized() and _in_kernel(InteractiveShell.instance())
        display(_with_words(bundle, self._title, bool(on)), raw=True)  # type: ignore[no-untyped-call]
        if not on:
            return
        shell = InteractiveShell.instance()
        first, self._publisher = self._publisher is None, shell.display_pub
        with _without_failure():
            self._time, self._seen = time.monotonic(), self._history.version
            self._shown = self._time
            self._page = self._cell_page = self._build()
            self._view.still = self._page
            self._publish(update=False)
        if first:
            _after_every_cell(shell.events, self)

    def cell_ended(self) -> None:
        """Renew the picture from the cell that ends: a program that runs cells hears no other."""
        if self._history.status.state != "running":
            with _without_failure():
                self._renew(from_cell=True)

    def close(self) -> None:
        """Renew the picture for the last time."""
        with _without_failure():
            self._renew(from_cell=True)
        self._publisher = None

    # In the thread of the pump.

    def update(self, snapshot: Snapshot, limit: int) -> int:
        """Renew the picture if training paused, or a minute ago; return 1 if it was sent."""
        if self._publisher is None or limit < 1 or self._seen == self._history.version:
            return 0
        if time.monotonic() - self._time < self._pause():
            return 0
        sent = 0
        with _without_failure():
            sent = int(self._renew())
        return sent

    def _pause(self) -> float:
        """Seconds between this picture and the next."""
        if self._history.status.state != "running":
            return PAUSED_SECONDS
        if self._view.seen:
            return RUNNING_SECONDS
        share = UNHEARD_SHARE * (time.monotonic() - self._shown)
        return min(max(UNHEARD_SECONDS, share), RUNNING_SECONDS)

    def _renew(self, from_cell: bool = False) -> bool:
        """Build the page and publish it if it changed; True if it was sent."""
        with self._lock:
            if self._publisher is None:
                return False
            version, self._time = self._history.version, time.monotonic()
            page = self._page if self._seen == version else self._build()
            self._seen = version
            changed = page != self._page
            if changed:
                self._page = page
                self._view.still = page
            if changed or (from_cell and page != self._cell_page):
                self._publish(update=True)
            if from_cell:
                self._cell_page = page
            return changed

    def _build(self) -> str:
        history = self._history
        snapshot = history.snapshot(series_of(history.series))
        return still_page(snapshot, self._controls(), self._title, self.css_class)

    def _publish(self, update: bool) -> None:
        data = {"text/plain": "", "text/html": f"{_style(self.css_class)}{self._page}"}
        self._publisher.publish(
            data=data, metadata={}, transient={"display_id": self.css_class}, update=update
        )


@contextmanager
def _without_failure() -> Iterator[None]:
    """Go on without the picture, whatever a plug-in or a front end raises."""
    try:
        yield
    except BaseException as error:
        raise_interrupt(error)


def _in_kernel(shell: Any) -> bool:
    return getattr(shell, "kernel", None) is not None


def _with_words(bundle: Mapping[str, Any], title: str, still: bool) -> dict[str, Any]:
    """The bundle of the widget with what to show where the widget cannot be shown."""
    if "application/vnd.jupyter.widget-view+json" not in bundle:
        return dict(bundle)
    words = f"nbdebug dashboard of {masked_name(title)}: run this cell to see it."
    # The picture follows.
    page = "" if still else f"<p>{html.escape(words)}</p>"
    return {**bundle, "text/plain": words, "text/html": page}


def _style(css_class: str) -> str:
    """Rule for JupyterLab: without its view, the widget is an error message above the picture."""
    still = f"> .jp-RenderedHTMLCommon > .{css_class}"
    return (
        f"<style>.jp-OutputArea-child:has(+ .jp-OutputArea-child {still})"
        ":not(:has(.nbd-dashboard)){display:none}</style>"
    )


def _after_every_cell(events: Any, output: StillOutput) -> None:
    """Call `cell_ended` after every cell as long as the output lives."""
    reference = weakref.ref(output)

    def ended(*_: Any) -> None:
        living = reference()
        if living is not None:
            living.cell_ended()
        else:
            events.unregister("post_run_cell", ended)

    events.register("post_run_cell", ended)
