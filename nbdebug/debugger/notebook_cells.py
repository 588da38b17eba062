"""Ownership by notebook cell: running a cell again closes the objects of its last run."""

from __future__ import annotations

from typing import Any, Protocol

ATTRIBUTE = "_nbdebug_by_cell"


class Closable(Protocol):
    """Anything with a `close`."""

    def close(self) -> None: ...


def replace_predecessors(made: Closable) -> None:
    """Close the objects of earlier executions of the current cell, and remember `made`.

    Several objects of one execution (a loop over learning rates) live side by side.
    Does nothing outside a notebook.
    """
    place = _cell()
    if place is None:
        return
    shell, cell, execution = place
    # Stored on the shell, which lives as long as the kernel and the objects of its cells.
    by_cell: dict[str, tuple[int, list[Closable]]] = getattr(shell, ATTRIBUTE, {})
    setattr(shell, ATTRIBUTE, by_cell)
    last, objects = by_cell.get(cell, (execution, []))
    if last != execution:
        for old in objects:
            old.close()
        objects = []
    by_cell[cell] = (execution, [*objects, made])


def _cell() -> tuple[Any, str, int] | None:
    """Shell, id of the running cell and its execution count; None outside a notebook."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return None
    shell = get_ipython()
    kernel = getattr(shell, "kernel", None)
    if shell is None or kernel is None:
        return None
    metadata = kernel.get_parent("shell").get("metadata", {})
    cell = metadata.get("cellId")
    return None if cell is None else (shell, str(cell), shell.execution_count)
