"""Display of a Debugger in a notebook: the dashboard, or the last state of one that was closed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbdebug.debugger.assembly import Parts

if TYPE_CHECKING:
    from nbdebug.debugger.debugger import Debugger


def mimebundle(debugger: Debugger, parts: Parts, options: Mapping[str, Any]) -> Any:
    """Content of the output of a cell, by mime type."""
    if debugger.state == "closed" or parts.home.left:
        return {"text/plain": repr(debugger)}
    return debugger.dashboard._repr_mimebundle_(**options)


def show(debugger: Debugger, parts: Parts) -> None:
    """Display the dashboard and a picture of it; the picture alone after the end."""
    if debugger.state != "closed" and not parts.home.left:
        debugger.dashboard._ipython_display_()
        return
    from IPython.display import display

    from nbdebug.dashboard.still.output import wanted
    from nbdebug.dashboard.still.page import series_of, still_page

    bundle, history = {"text/plain": repr(debugger)}, parts.history
    if wanted() and not parts.home.left:
        snapshot = history.snapshot(series_of(history.series))
        bundle["text/html"] = still_page(snapshot, parts.training.controls.states(), parts.name)
    display(bundle, raw=True)  # type: ignore[no-untyped-call]
