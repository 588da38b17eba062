"""Messages of widgets go to the thread that the front end chose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ipywidgets

from nbdebug.dashboard.reply_route import ROUTE, leave_to_front_end


def widgets(widget: Any) -> Iterator[Any]:
    yield widget
    for child in getattr(widget, "children", ()):
        yield from widgets(child)


class Widget:
    """A widget whose comm routes replies, as that of ipykernel 7.4."""

    def __init__(self, *children: Widget) -> None:
        self.children = children
        self.comm = Comm()


class Comm:
    def _reply_subshell_for(self, data: Any, default: str | None) -> str | None:
        return "the thread that spoke last"


def test_every_widget_of_a_tree_is_left_to_the_front_end() -> None:
    tree = Widget(Widget(Widget()), Widget())
    leave_to_front_end(tree)
    assert [getattr(one.comm, ROUTE) for one in widgets(tree)] == [None] * 4


def test_without_a_route_nothing_is_set() -> None:
    button = ipywidgets.Button()
    before = dict(vars(button.comm))
    leave_to_front_end(button)
    assert vars(button.comm) == before
    assert not hasattr(button.comm, ROUTE)


def test_a_closed_widget_is_passed_over() -> None:
    button = ipywidgets.Button()
    button.close()
    leave_to_front_end(button)
