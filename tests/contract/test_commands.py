"""Every command has one handler, and a name of its own; forms read what buttons send."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest

from nbdebug.core.commands.base import SET_CONTROLS, Command, Form
from nbdebug.core.plugins import discover
from nbdebug.core.results.run_list import ADD_NOTE, RunRequest
from nbdebug.errors import ArgumentError, NbdebugError
from nbdebug.training.tasks.handler import Handler

COMMANDS = discover("nbdebug.core.commands", Command)
HANDLERS = discover("nbdebug.training.tasks", Handler)
FIELDS = {
    "steps": "5", "step": "3", "label": "good", "condition": "loss > 3", "which": "0",
    "control": "lr", "values": "0.1, 0.2", "checks": "shapes,seeds", "breakpoint": "loss > 3",
}  # fmt: skip


def test_each_command_has_one_handler() -> None:
    handled = Counter(handler.command for handler in HANDLERS)

    assert handled == Counter(COMMANDS)
    assert len(COMMANDS) >= 20


def test_names_are_unique_and_not_those_of_other_requests() -> None:
    names = [command.name for command in COMMANDS]

    assert len(names) == len({*names, SET_CONTROLS, ADD_NOTE, RunRequest.name}) - 3


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_it_is_frozen_and_documented(command: type[Command]) -> None:
    assert dataclasses.is_dataclass(command)
    assert command.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert (command.__doc__ or "").partition("\n")[0].endswith(".")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_form_gives_the_command_or_says_that_there_is_no_button(command: type[Command]) -> None:
    if command.from_form.__func__ is Command.from_form.__func__:  # type: ignore[attr-defined]
        with pytest.raises(ArgumentError, match=f"has no button for {command.name}"):
            command.from_form(Form(FIELDS))
        return
    made = command.from_form(Form(FIELDS))
    assert type(made) is command
    assert getattr(made, "who", "dashboard") == "dashboard"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_nonsense_in_a_form_raises_nothing_but_our_errors(command: type[Command]) -> None:
    value: Any
    for value in ("", "x", "-1", "1e999", "nan", None, [], {}, 5, 0.5, "\x00", "9" * 400):
        try:
            made = command.from_form(Form(dict.fromkeys(FIELDS, value)))
        except NbdebugError:
            continue
        assert type(made) is command
