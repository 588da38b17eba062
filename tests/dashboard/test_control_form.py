"""Controls one click away stand in groups that they name themselves."""

from __future__ import annotations

import pytest

from nbdebug.core.control_spec import ControlSpec, ControlState
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import ControlChange, Status
from nbdebug.dashboard.control_form import ControlForm


def advanced(name, **group):
    return ControlSpec(name, name.title(), "float", "", advanced=True, **group)


SPECS = (
    ControlSpec("lr", "Learning rate", "float", ""),
    advanced("decay", group="Optimizer"),
    advanced("own"),
    advanced("dropout", group="Layers & norms"),
    advanced("momentum", group="Optimizer"),
)


@pytest.fixture
def board(wire):
    states = [ControlState(spec, 0.5) for spec in SPECS]
    return ControlForm(lambda: states, lambda name, value: None, dict, lambda: None)


def labels(row):
    return [box.children[0].children[0].description for box in row.children]


def test_groups_come_in_the_order_of_their_first_control(board):
    headings, rows = board.rest.children[::2], board.rest.children[1::2]
    for heading, name in zip(headings, ("Optimizer", "More", "Layers &amp; norms"), strict=True):
        assert 'role="heading"' in heading.value
        assert f">{name}<" in heading.value
    assert [labels(row) for row in rows] == [["Decay", "Momentum"], ["Own"], ["Dropout"]]
    assert board.more.tooltip == "Show or hide: Optimizer, More, Layers & norms"
    assert labels(board.first) == ["Learning rate"]


def test_one_message_opens_all_groups_below_the_button(board):
    assert board.rest.layout.display == "none"
    board.more.value = True
    assert board.update(Snapshot(), 1) == 1
    assert board.rest.layout.display == "flex"
    assert board.box.children[-1] is board.rest


def test_the_controls_fold_by_one_message(board):
    board.fold.value = True
    assert "nbd-folded" not in board.box.get_state()["_dom_classes"]
    assert board.update(Snapshot(), 1) == 1
    assert "nbd-folded" in board.box.get_state()["_dom_classes"]
    assert board.update(Snapshot(), 9) == 0
    board.fold.value = False
    board.update(Snapshot(), 1)
    assert "nbd-folded" not in board.box.get_state()["_dom_classes"]


def said(board, *changes):
    board.update(Snapshot(Status(), changes=changes), 9)
    return board.note.value


def changed(control, note, status="applied", who="dashboard"):
    return ControlChange(5, 80, 0.5, control, 0.1, 0.2, who, "", status, note)


def test_what_a_control_of_more_does_is_said_below_the_button_until_it_is_taken_back(board):
    made = changed("decay", "Every 30 steps.")
    assert "<b>Decay</b>: Every 30 steps." in said(board, made)
    assert "Every 30 steps." in said(board, made)
    assert said(board, made, changed("decay", "")) == ""
    assert said(board, changed("lr", "A word.")) == ""
    assert said(board, changed("decay", "A word.", who="api")) == ""


def test_a_refusal_is_said_until_the_control_is_set(board):
    refused = changed("lr", "too large.", status="refused")
    assert "0.2 was refused: too large." in said(board, refused)
    assert "too large." in said(board, refused, changed("decay", ""))
    assert said(board, refused, changed("decay", ""), changed("lr", "")) == ""


def test_a_refusal_at_once_outlives_a_change_that_was_asked_for_before_it(board):
    board.remark("lr", "must be above 0")
    assert "must be above 0" in said(board, changed("lr", ""))
