"""Display of a Debugger in a notebook: the dashboard, or the last state of one that was closed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from nbdebug.core.control_spec import ControlState

if TYPE_CHECKING:
    from nbdebug.core.history.history import History
    from nbdebug.dashboard.dashboard import Dashboard


class Displayed(Protocol):
    """The Debugger as its display needs it."""

    name: str
    history: History

    @property
    def state(self) -> str:
        """Paused, running or closed."""

    @property
    def dashboard(self) -> Dashboard:
        """The widget."""


def mimebundle(debugger: Displayed, left: bool, options: Mapping[str, Any]) -> Any:
    """Content of the output of a cell, by mime type.

    Args:
        left: whether this is a forked child.
    """
    if debugger.state == "closed" or left:
        return {"text/plain": repr(debugger)}
    return debugger.dashboard._repr_mimebundle_(**options)


def show(debugger: Displayed, left: bool, states: Callable[[], Sequence[ControlState]]) -> None:
    """Display the dashboard and a picture of it; the picture alone after the end.

    Args:
        left: whether this is a forked child; states: of the controls.
    """
    if debugger.state != "closed" and not left:
        debugger.dashboard._ipython_display_()
        return
    from IPython.display import display

    from nbdebug.dashboard.still.output import wanted
    from nbdebug.dashboard.still.page import series_of, still_page

    bundle, history = {"text/plain": repr(debugger)}, debugger.history
    if wanted() and not left:
        snapshot = history.snapshot(series_of(history.series))
        bundle["text/html"] = still_page(snapshot, states(), debugger.name)
    display(bundle, raw=True)  # type: ignore[no-untyped-call]
