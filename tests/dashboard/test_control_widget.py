"""A drop-down whose value holds for all layers or for one."""

from __future__ import annotations

import pytest

from nbdebug.core.control_spec import ControlSpec, ControlState
from nbdebug.dashboard.control_widget import ControlWidget

CHOICES = (("trainable", "Trainable"), ("frozen", "Frozen"))
SPEC = ControlSpec(
    "frozen", "Frozen layers", "choice", "", choices=CHOICES, members=("a", "b", "c")
)
ACTION = ControlSpec(
    "reinit", "Re-initialise", "choice", "", choices=(("", "-"), ("he", "He")), action=True
)


@pytest.fixture
def asked():
    return []


@pytest.fixture
def widget(wire, asked):
    return ControlWidget(ControlState(SPEC, "trainable"), asked.append)


def settle(widget, state):
    while widget.show(state):
        pass


def test_one_layer_is_asked_for_by_name_and_all_together_plainly(widget, asked):
    widget.member.value = "b"
    widget.input.value = "frozen"
    widget.member.value = ""
    assert [value for value in asked if value is not None] == [{"b": "frozen"}]


def test_what_layers_differ_in_is_blank_and_each_shows_its_own(widget, asked):
    mixed = ControlState(SPEC, {"a": "trainable", "b": "frozen", "c": "trainable"})
    settle(widget, mixed)
    assert widget.input.value is None
    for layer, value in mixed.value.items():
        widget.member.value = layer
        settle(widget, mixed)
        assert widget.input.value == value
    widget.member.value = ""
    settle(widget, ControlState(SPEC, "frozen"))
    assert widget.input.value == "frozen"
    assert [value for value in asked if value is not None] == []


def test_an_action_goes_back_to_nothing(wire, asked):
    widget = ControlWidget(ControlState(ACTION, ""), asked.append)
    widget.input.value = "he"
    assert asked == ["he"]
    settle(widget, ControlState(ACTION, ""))
    assert widget.input.value == ""
    assert asked == ["he"]


def test_a_rate_that_a_schedule_took_to_zero_stands_at_the_end_of_its_slider(wire):
    spec = ControlSpec("lr", "Learning rate", "float", "", low=1e-6, high=10.0, scale="log")
    rate = ControlWidget(ControlState(spec, 1e-3), lambda value: None)
    rate.show(ControlState(spec, 0.0))
    assert rate.input.value == pytest.approx(1e-6)
    rate.show(ControlState(spec, 1e-8))
    assert rate.input.value == pytest.approx(1e-8)


def test_a_control_that_does_nothing_now_is_not_shown(widget):
    idle = ControlSpec(
        "frozen", "Frozen layers", "choice", "", choices=CHOICES, members=("a", "b", "c"), idle=True
    )
    settle(widget, ControlState(idle, "trainable"))
    assert widget.box.layout.display == "none"
    settle(widget, ControlState(SPEC, "trainable"))
    assert widget.box.layout.display == "flex"
