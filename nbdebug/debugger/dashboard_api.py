"""Requests of the buttons, sliders and forms of the dashboard, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from nbdebug.core.commands.base import SET_CONTROLS, Command, Form
from nbdebug.core.commands.queue import Ticket
from nbdebug.core.history.history import History
from nbdebug.core.names import unknown_name
from nbdebug.core.plugins import discover
from nbdebug.core.results.run_list import ADD_NOTE, RunRequest
from nbdebug.debugger.client import Client
from nbdebug.errors import ArgumentError
from nbdebug.runs.store.runs_tab import RunsTabService

WHO = "dashboard"
# Steps of a slider, as by its arrow keys, with shorter pauses are one change for Undo.
PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Movement:
    """The latest change by the dashboard: its controls, its time, and its number for Undo."""

    names: frozenset[str] = frozenset()
    time: float = 0.0
    call: int = 0


class DashboardApi:
    """Receiver of dashboard requests; holds no Debugger, so that one can be garbage collected."""

    def __init__(self, client: Client, history: History, runs: RunsTabService | None) -> None:
        self._client, self._history, self._runs = client, history, runs
        self._moved = _Movement()
        # The runner of commands reports those that cannot be loaded.
        found = discover("nbdebug.core.commands", Command, lambda name, error: None)
        self._commands = {kind.name: kind for kind in found}

    def ask(self, name: str, fields: Mapping[str, Any]) -> list[Ticket]:
        """Build the requested command from its form and put it.

        Args:
            name: of a command; SET_CONTROLS for values of controls; notes and requests of the
                Runs tab do not concern training and are done at once.
            fields: of the button's form.

        Returns:
            Tickets of the commands put.

        Raises:
            NbdebugError: a field is wrong; no command was put.
        """
        form = Form(fields, WHO)
        if name == SET_CONTROLS:
            return self._set(form.settings())
        self._moved = _Movement()
        if name == ADD_NOTE:
            self._history.add_note(form.text("text"))
            return []
        if name == RunRequest.name:
            self._ask_runs(RunRequest.of(fields))
            return []
        if name not in self._commands:
            raise ArgumentError(unknown_name("command", name, self._commands))
        return [self._client.put(self._commands[name].from_form(form))]

    def _set(self, values: Mapping[str, Any]) -> list[Ticket]:
        """Set controls; steps of the same ones in short order are taken back together."""
        names, now, last = frozenset(values), monotonic(), self._moved
        goes_on = names == last.names and now - last.time <= PAUSE_SECONDS
        call = last.call if goes_on else self._client.new_call()
        tickets = self._client.set(values, WHO, call=call)
        self._moved = _Movement(names, now, call)
        return tickets

    def _ask_runs(self, request: RunRequest) -> None:
        if self._runs is None:
            raise ArgumentError("This training is not recorded: the Debugger has runs=None.")
        self._runs.ask(request)
