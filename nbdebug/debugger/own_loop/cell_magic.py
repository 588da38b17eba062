"""Cell magic that runs a cell in a thread of its own, so that the kernel stays free."""

from __future__ import annotations

import contextvars
import threading
import weakref
from typing import Any

from nbdebug.core.ipython import ipython_shell
from nbdebug.training.own_loop.meeting.loop_thread import LoopEnded, LoopThread

NAME = "nbd"


class LoopCell:
    """`%%nbd`: run this cell in a thread; the cell returns at once, and its output comes later.

    Running such a cell again ends the loop of the last one at its next batch.

    Attributes:
        thread: that runs the last such cell, or has run it.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self.thread: threading.Thread | None = None
        # A training that nobody reaches any more is not kept alive here.
        self._bodies: weakref.WeakSet[Any] = weakref.WeakSet()

    def add(self, body: Any) -> None:
        """Add a loop that a cell may run, to end it when the cell is run again."""
        self._bodies.add(body)

    def __call__(self, line: str, cell: str) -> None:
        """Run the code of a cell."""
        self._end_last()
        shell = self._shell
        source = shell.transform_cell(cell)
        code = shell.compile(source, shell.compile.cache(source, shell.execution_count), "exec")
        # The output of the thread belongs to the cell that started it.
        context = contextvars.copy_context()
        self.thread = LoopThread(context.run, self._run, code)
        self.thread.start()

    def _run(self, code: Any) -> None:
        try:
            exec(code, self._shell.user_ns)
        except LoopEnded:
            pass
        except BaseException:
            self._shell.showtraceback()
        finally:
            self._leave()

    def _leave(self) -> None:
        for body in list(self._bodies):
            if body.thread in (None, threading.get_ident()):
                body.leave()

    def _end_last(self) -> None:
        thread = self.thread
        if thread is None or not thread.is_alive():
            return
        for body in list(self._bodies):
            if body.thread == thread.ident:
                body.end()
        thread.join(30)
        if thread.is_alive():
            raise RuntimeError(
                "The loop of the last %%nbd cell has not come to its next batch for 30 seconds. "
                "Run the cell again when it has."
            )


def cell_runs() -> bool:
    """True while the last `%%nbd` cell runs, in another thread than this one."""
    known = _known(ipython_shell())
    thread = None if known is None else known.thread
    return thread is not None and thread.is_alive() and thread is not threading.current_thread()


def _known(shell: Any) -> LoopCell | None:
    found = None if shell is None else shell.magics_manager.magics["cell"].get(NAME)
    return found if isinstance(found, LoopCell) else None


def offer_magic(body: Any = None) -> None:
    """Make `%%nbd` known to the notebook; does nothing outside of IPython.

    Args:
        body: a loop that a cell may run; None where it is made later, in such a cell.
    """
    shell = ipython_shell()
    if shell is None:
        return
    known = _known(shell)
    if known is None:
        known = LoopCell(shell)
        shell.register_magic_function(known, "cell", NAME)
    if body is not None:
        known.add(body)
    if not getattr(shell, "_nbdebug_watches_cells", False):
        shell._nbdebug_watches_cells = True
        shell.events.register("post_run_cell", lambda result: known._leave())
