"""Lifetime of a training: its threads and widgets, and who may still reach them."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

from nbdebug.core.commands.running import Close
from nbdebug.core.unused_memory import leave
from nbdebug.debugger.assembly import Parts
from nbdebug.debugger.client import Client
from nbdebug.debugger.ending_threads import EXIT_JOIN_SECONDS, join_at_exit
from nbdebug.debugger.notebook_cells import in_notebook
from nbdebug.elsewhere.server import Server

if TYPE_CHECKING:
    from nbdebug.dashboard.dashboard import Dashboard

JOIN_SECONDS = 30.0


class Lifetime:
    """Threads and widgets of a Debugger, which end when nobody can reach the training any more.

    The Debugger and its parts share one Client. Once the last of them is garbage collected, the
    training is closed, unless a front end still shows the dashboard, whose buttons reach it; then
    it is closed when its cell is run again, or at the end of the program.

    Attributes:
        dashboard: the widget, None before it is asked for and after the end.
    """

    def __init__(self, parts: Parts, client: Client, server: Server | None = None) -> None:
        self._parts: Parts | None = parts
        self._server = server
        self.dashboard: Dashboard | None = None
        self._replaced = False
        self._unreachable = weakref.finalize(client, self._abandon)
        self._at_exit: weakref.finalize[[], Dashboard] | None = None

    def close(self) -> None:
        """Stop the threads, wait for them and remove the widgets; may be called twice."""
        parts, dashboard = self._release()
        if parts is not None and parts.home.left:
            return
        if dashboard is not None:
            dashboard.close()
        if parts is None:
            return
        parts.queue.put(Close())
        parts.worker.join(JOIN_SECONDS)
        if self._server is not None:
            self._server.close()
        if parts.runs is not None:
            parts.runs.close()
        if parts.recorder is not None:
            # A script asks for no findings before its end.
            parts.training.diagnosis.look()
            parts.recorder.close()

    def replace(self) -> None:
        """Let another training take the place on the screen; this one ends once unreachable."""
        self._replaced = True
        if not self._unreachable.alive:
            self._end()

    def _abandon(self) -> None:
        """End a training that no variable reaches; runs in any thread, wherever memory is freed."""
        dashboard = self.dashboard
        shown = dashboard is not None and (
            dashboard.view.seen or (dashboard.displayed and in_notebook())
        )
        if dashboard is None or not shown or self._replaced or not _running():
            self._end()
        else:
            self._at_exit = weakref.finalize(dashboard, self._end)

    def _end(self) -> None:
        """Stop threads and widgets without waiting, except at the end of the program."""
        parts, dashboard = self._release()
        if parts is not None and parts.home.left:
            return
        if dashboard is not None:
            dashboard.retire()
        if parts is None:
            return
        parts.queue.put(Close())
        # Threads must not outlive torch.
        if _running():
            join_at_exit(parts.worker.thread)
        else:
            parts.worker.join(EXIT_JOIN_SECONDS)
        if self._server is not None:
            self._server.close(wait=not _running())
        if parts.runs is not None:
            parts.runs.close(wait=False)
        if parts.recorder is not None:
            # The journal is complete; the next program that opens the store adds the run.
            parts.recorder.close(file=False)

    def _release(self) -> tuple[Parts | None, Dashboard | None]:
        """Let go of everything, since a notebook's cell or the finalizers may hold this object."""
        parts, dashboard = self._parts, self.dashboard
        self._parts = self.dashboard = None
        for finalizer in (self._unreachable, self._at_exit):
            if finalizer is not None:
                finalizer.detach()
        if parts is not None:
            leave(parts.training.loop.session.checkpoint_bytes)
        return parts, dashboard


def _running() -> bool:
    """Tell if the program still runs; at its end all finalizers are called."""
    return threading.main_thread().is_alive()
