"""Ownership by notebook cell: running a cell again ends the trainings of its last run."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

from nbdebug.core.ipython import ipython_shell

ATTRIBUTE = "_nbdebug_by_cell"


class Replaceable(Protocol):
    """Anything that ends at once, or as soon as nobody can reach it any more."""

    def close(self) -> None: ...

    def replace(self) -> None: ...


def replace_predecessors(made: Replaceable) -> None:
    """End the objects of earlier executions of the current cell, and remember `made`.

    A front end that does not tell the id of a cell leaves its text to know it by; two cells may
    have the same, so that only objects that nobody can reach end. Several objects of one execution
    (a loop over learning rates) live side by side. Does nothing outside a notebook.
    """
    place = _cell()
    if place is None:
        return
    shell, cell, execution, certain = place
    # Stored on the shell, which lives as long as the kernel and the objects of its cells.
    by_cell: dict[str, tuple[int, list[Replaceable]]] = getattr(shell, ATTRIBUTE, {})
    setattr(shell, ATTRIBUTE, by_cell)
    last, objects = by_cell.get(cell, (execution, []))
    if last != execution:
        for old in objects:
            (old.close if certain else old.replace)()
        objects = []
    by_cell[cell] = (execution, [*objects, made])


def in_notebook() -> bool:
    """Tell if a Jupyter kernel runs this code, so that a front end may show widgets."""
    return _shell() is not None


def notebook_variable(name: str) -> Any:
    """Value of a variable in the namespace of the notebook; None if there is none."""
    shell = _shell()
    return None if shell is None else getattr(shell, "user_ns", {}).get(name)


def _shell() -> Any:
    """The kernel's shell; None outside a notebook."""
    shell = ipython_shell()
    return None if getattr(shell, "kernel", None) is None else shell


def _cell() -> tuple[Any, str, int, bool] | None:
    """Shell, running cell and its execution count, and whether the cell is certainly that one.

    None outside a notebook, or if nothing is known of the cell.
    """
    shell = _shell()
    if shell is None:
        return None
    parent = shell.kernel.get_parent("shell")
    cell, code = parent.get("metadata", {}).get("cellId"), parent.get("content", {}).get("code")
    if cell is not None:
        return shell, str(cell), shell.execution_count, True
    if not isinstance(code, str):
        return None
    text = hashlib.sha256(code.strip().encode("utf-8", "replace")).hexdigest()
    return shell, f"text {text}", shell.execution_count, False
