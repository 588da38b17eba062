"""A viewer without a browser: takes and counts what a dashboard sends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import comm
from comm.base_comm import BaseComm

from nbdebug import Debugger
from nbdebug.dashboard.dashboard import Dashboard


class Wire:
    """Counts messages and bytes, header and encoding included as a kernel makes them."""

    def __init__(self) -> None:
        self.messages = 0
        self.size = 0

    def take(self, data: Any, buffers: Any) -> None:
        self.messages += 1
        self.size += len(json.dumps(data, default=str).encode())
        self.size += sum(memoryview(buffer).nbytes for buffer in buffers or ())

    def empty(self) -> tuple[int, int]:
        """Messages and bytes since this was last asked."""
        counted = self.messages, self.size
        self.messages = self.size = 0
        return counted


@contextmanager
def wired() -> Iterator[Wire]:
    """Inside, every widget talks to a Wire instead of a browser."""
    wire = Wire()

    class WireComm(BaseComm):
        def publish_msg(
            self,
            msg_type: str,
            data: Any = None,
            metadata: Any = None,
            buffers: Any = None,
            **_: Any,
        ) -> None:
            wire.take(data, buffers)

    before = comm.create_comm
    comm.create_comm = WireComm
    try:
        yield wire
    finally:
        comm.create_comm = before


def show_all(dashboard: Dashboard) -> None:
    """As many views as there are tabs, each with another tab in front."""
    tabs = list(dict.fromkeys(panel.tab for panel in dashboard.pump._panels))
    for place, tab in enumerate(tabs):
        say(dashboard.view, {"kind": "hello", "view": f"view{place}", "tab": tab})


def show_first(dashboard: Dashboard) -> None:
    """One view with the first tab in front, as a user has it, with its figures."""
    say(dashboard.view, {"kind": "hello", "view": "view"})
    dashboard.tick()


def say(widget: Any, content: dict[str, Any]) -> None:
    """Deliver a custom message as the browser would."""
    _deliver(widget, {"method": "custom", "content": content})


def move(widget: Any, value: float) -> None:
    """Deliver a new value as the browser would."""
    _deliver(widget, {"method": "update", "state": {"value": value}, "buffer_paths": []})


def _deliver(widget: Any, data: dict[str, Any]) -> None:
    widget._handle_msg({"content": {"data": data}, "buffers": []})


def dashboard_by_hand(debugger: Debugger) -> Dashboard:
    """The debugger's dashboard without its clock."""
    dashboard = debugger.dashboard
    dashboard.pump._closing = True
    dashboard.pump.wake()
    if dashboard.pump._thread is not None:
        dashboard.pump._thread.join()
    dashboard.pump._closing = False
    return dashboard
