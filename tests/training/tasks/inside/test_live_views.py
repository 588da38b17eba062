"""Views are made while they are watched, rarely enough, and never beside a loop on its own."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from nbdebug.core.history.history import History
from nbdebug.training.tasks.inside.live_views import LiveViews


class Clock:
    """A clock that moves when a view is made, or by hand."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        patch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Bench:
    def __init__(self, clock: Clock, price: float, overhead: float = 0.02) -> None:
        self.apart, self.made, self.clock = False, list[int](), clock
        body = SimpleNamespace(is_apart=lambda: self.apart)
        self.session = SimpleNamespace(step=0, together=False)
        loop: Any = SimpleNamespace(session=self.session, body=body)
        self.history = History()
        self.views = LiveViews(loop, self.history, overhead)

        def make() -> None:
            self.clock.now += price
            self.made.append(self.session.step)

        self.views.offer("view", "The view", make)

    def train(self, steps: int, seconds: float) -> None:
        for _ in range(steps):
            self.session.step += 1
            self.clock.now += seconds
            self.views.run_due("running")


@pytest.mark.parametrize(("price", "expected"), [(0.001, 20), (0.1, 4), (1.0, 1)])
def test_at_most_once_a_second_and_within_the_budget(
    clock: Clock, price: float, expected: int
) -> None:
    bench = Bench(clock, price)
    bench.views.watch("view", True)
    bench.train(2000, 0.01)
    assert len(bench.made) == expected
    assert price * max(len(bench.made) - 1, 0) <= 0.02 * 21


def test_views_share_the_budget(clock: Clock) -> None:
    bench, other = Bench(clock, 0.1), list[int]()

    def make() -> None:
        clock.now += 0.1
        other.append(bench.session.step)

    bench.views.offer("other", "The other view", make)
    for name in ("view", "other"):
        bench.views.watch(name, True)
    bench.train(6_000, 0.01)
    assert len(bench.made) == len(other)
    assert 0.1 * (len(bench.made) + len(other) - 2) <= 0.02 * 61


def test_only_while_watched(clock: Clock) -> None:
    bench = Bench(clock, 0.001)
    bench.train(200, 0.01)
    assert bench.made == []
    bench.views.watch("view", True)
    bench.train(1, 0.01)
    bench.views.watch("view", False)
    bench.train(500, 0.01)
    assert bench.made == [201]


def test_never_beside_a_loop_on_its_own(clock: Clock) -> None:
    bench = Bench(clock, 0.001)
    bench.views.watch("view", True)
    bench.apart = True
    bench.train(500, 0.01)
    assert (bench.made, bench.views.due("paused")) == ([], "")
    bench.apart = False
    assert bench.views.due("running") == "view"


def test_a_paused_training_is_shown_once_for_each_step(clock: Clock) -> None:
    bench = Bench(clock, 0.001)
    bench.views.watch("view", True)
    for _ in range(3):
        bench.views.run_due("paused")
    bench.session.step = 7
    for _ in range(3):
        bench.views.run_due("paused")
    bench.views.run_due("closed")
    assert bench.made == [0, 7]


def test_a_view_that_raises_rests_until_it_is_opened_again(clock: Clock) -> None:
    bench, broken = Bench(clock, 0.001), [True]

    def make() -> None:
        if broken[0]:
            raise ValueError("no such thing")
        bench.made.append(bench.session.step)

    bench.views.offer("other", "The other view", make)
    bench.views.watch("other", True)
    bench.train(300, 0.01)
    notices = [notice.title for notice in bench.history.snapshot(()).notices]
    assert notices == ["The other view could not be made"]
    broken[0] = False
    bench.train(300, 0.01)
    assert bench.made == []
    bench.views.watch("other", True)
    bench.train(1, 0.01)
    assert bench.made == [601]


def test_names_of_probes_are_none_of_its_business(clock: Clock) -> None:
    bench = Bench(clock, 0.001)
    bench.views.watch("activation_histogram", True)
    assert bench.views.due("running") == ""
