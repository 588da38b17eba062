"""A refusal is shown in the panel whose button was pressed, at once or when it comes."""

from __future__ import annotations

from typing import Any

import pytest

from nbdebug.core.commands.queue import CommandQueue, Ticket
from nbdebug.core.commands.running import Pause, Run, SetControl
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import ControlChange
from nbdebug.dashboard.refusals import Refusals
from nbdebug.errors import ArgumentError, TaskStopped


class Shown(dict[str, str]):
    """What each panel shows, and how often the pump was woken."""

    woken = 0

    def wake(self) -> None:
        self.woken += 1


@pytest.fixture
def shown() -> Shown:
    return Shown()


@pytest.fixture
def refusals(shown: Shown) -> Refusals:
    return Refusals(shown.__setitem__, shown.wake)


def refuse() -> list[Ticket]:
    raise ArgumentError("steps must be a whole number.")


def tick(refusals: Refusals) -> None:
    assert refusals.update(Snapshot(), 3) == 0


def change(status: Any) -> ControlChange:
    return ControlChange(3, 0, 0.0, "lr", 0.1, 9.0, "dashboard", "", status, "it is too large")


def test_a_wrong_field_is_refused_at_once_and_goes_with_the_next_press(
    refusals: Refusals, shown: Shown
) -> None:
    refusals.watch("timeline", refuse)
    tick(refusals)
    assert shown == {"timeline": "steps must be a whole number."}
    assert shown.woken == 1
    refusals.watch("timeline", list)
    tick(refusals)
    assert shown == {"timeline": ""}


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (ValueError("no data there"), "no data there"),
        (KeyError(), "KeyError"),
        (TaskStopped("on request"), ""),
        (change("refused"), "lr was refused: it is too large"),
        (change("applied"), ""),
        (None, ""),
    ],
)
def test_a_later_answer_is_shown_when_it_is_a_refusal(
    refusals: Refusals, shown: Shown, answer: Any, text: str
) -> None:
    ticket = CommandQueue().put(SetControl("lr", 9.0))
    refusals.watch("findings", lambda: [ticket])
    if isinstance(answer, Exception):
        ticket.answer.set_exception(answer)
    else:
        ticket.answer.set_result(answer)
    tick(refusals)
    assert shown == {"findings": text}


def test_an_answer_that_was_overtaken_by_a_later_press_is_not_shown(
    refusals: Refusals, shown: Shown
) -> None:
    first, second = (CommandQueue().put(Pause()) for _ in range(2))
    refusals.watch("timeline", lambda: [first])
    refusals.watch("timeline", lambda: [second])
    first.answer.set_exception(ValueError("old news"))
    tick(refusals)
    assert shown == {"timeline": ""}


def test_a_run_that_ends_with_an_error_is_no_refusal(refusals: Refusals, shown: Shown) -> None:
    ticket = CommandQueue().put(Run())
    refusals.watch("", lambda: [ticket])
    ticket.answer.set_exception(ValueError("the model raised"))
    tick(refusals)
    assert shown == {"": ""}
