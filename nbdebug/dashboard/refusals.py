"""Refused commands of a panel's buttons, shown in that panel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from nbdebug.core.commands.queue import Ticket
from nbdebug.core.error_text import kind_of, message_of
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import ControlChange
from nbdebug.errors import TaskStopped


class Refusals:
    """Collects refusals on any thread; a tick passes them to the view.

    Args:
        show: shows a text in a panel; "" removes the text.
        wake: lets the pump tick soon.
    """

    def __init__(self, show: Callable[[str, str], None], wake: Callable[[], None]) -> None:
        self._show, self._wake = show, wake
        self._lock = threading.Lock()
        self._texts: dict[str, str] = {}
        self._latest: dict[str, int] = {}

    def watch(self, panel: str, request: Callable[[], Iterable[Ticket]]) -> None:
        """Make a request for a panel and show its refusal there, at once or later.

        The refusal of an earlier request of the panel is removed.
        """
        number = self._begin(panel)
        try:
            tickets = request()
        except Exception as error:
            self._set(panel, number, message_of(error))
            return
        for ticket in tickets:
            # The error that ends a run is shown in the message line.
            if not ticket.command.runs:
                ticket.answer.add_done_callback(
                    lambda _, ticket=ticket: self._done(panel, number, ticket)  # type: ignore[misc]
                )

    def update(self, snapshot: Snapshot, limit: int) -> int:
        """Pass new refusals to the view; sends no message itself."""
        with self._lock:
            texts, self._texts = self._texts, {}
        for panel, text in texts.items():
            self._show(panel, text)
        return 0

    def _begin(self, panel: str) -> int:
        with self._lock:
            self._latest[panel] = self._latest.get(panel, 0) + 1
            self._texts[panel] = ""
            return self._latest[panel]

    def _done(self, panel: str, number: int, ticket: Ticket) -> None:
        error = ticket.answer.exception()
        result = None if error is not None else ticket.answer.result()
        if isinstance(result, ControlChange) and result.status == "refused":
            self._set(panel, number, f"{result.control} was refused: {result.note}")
        elif error is not None and not isinstance(error, TaskStopped):
            self._set(panel, number, message_of(error) or kind_of(error))

    def _set(self, panel: str, number: int, text: str) -> None:
        with self._lock:
            if self._latest[panel] != number:
                return
            self._texts[panel] = text
        self._wake()
