"""The thread of the kernel that gets the messages of a widget."""

from __future__ import annotations

from typing import Any

# ipykernel 7.4 sends what a widget's view says to the thread that spoke to it last: the main
# thread, which a cell may block. Without a route, the choice of the front end holds.
ROUTE = "_reply_subshell_for"


def leave_to_front_end(widget: Any) -> None:
    """Let the front end choose the thread, for a widget and all that it holds.

    JupyterLab 4.6 chooses a subshell of the kernel: buttons and views are answered while a cell
    runs. Kernels without subshells have no such choice.
    """
    for part in getattr(widget, "children", ()):
        leave_to_front_end(part)
    comm = getattr(widget, "comm", None)
    if hasattr(comm, ROUTE):
        setattr(comm, ROUTE, None)
