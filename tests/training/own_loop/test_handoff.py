"""Two threads that meet: the training gives one batch at a time, however slow the loop's thread."""

from __future__ import annotations

import inspect
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

import nbdebug as nbd
from nbdebug.training.own_loop.meeting.frames import LoopFrames
from nbdebug.training.own_loop.meeting.handoff import Handoff
from nbdebug.training.own_loop.meeting.loop_thread import PassOver
from tests.training.own_loop.loops import LOOPS, OwnLoop


def test_a_batch_that_is_given_before_the_loop_asks_is_worked_on_before_the_next() -> None:
    handoff, done = Handoff(), list[int]()
    given, asked = threading.Event(), threading.Event()

    def loop() -> None:
        handoff.begin_pass([])
        given.wait()
        done.append(handoff.take())
        time.sleep(0.1)
        done.append(-1)
        asked.set()
        with suppress(PassOver):
            handoff.take()

    def training() -> None:
        handoff.next_loader()
        threading.Timer(0.1, given.set).start()
        handoff.give(1)
        done.append(asked.is_set())
        handoff.end_pass()

    threads = [threading.Thread(target=one, daemon=True) for one in (loop, training)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)
    assert done == [1, -1, True]


@pytest.mark.parametrize("kind", LOOPS[::3])
def test_a_loop_that_is_slow_to_ask_equals_the_bare_one(
    kind: type[OwnLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = kind()
    plain.run(range, iter)
    loop, take = kind(), Handoff.take

    def late(handoff: Handoff) -> object:
        if handoff.ready:
            time.sleep(0.02)
        return take(handoff)

    monkeypatch.setattr(Handoff, "take", late)
    with nbd.watch(loop.model, loop.optimizer, **loop.registered) as dbg:
        loop.run(dbg.epochs, dbg.batches)
        assert dbg.history.status.step == len(plain.losses)
    assert loop.losses == plain.losses


@pytest.fixture
def eager_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def nested(depth: int) -> Iterator[int]:
    if depth:
        yield from nested(depth - 1)
    yield depth


@pytest.mark.usefixtures("eager_switches")
def test_a_loop_that_is_in_a_generator_is_not_taken_for_one_that_was_left() -> None:
    found, over = list[LoopFrames](), threading.Event()

    def loop() -> None:
        while not over.is_set():
            if not found:
                found.append(LoopFrames(inspect.currentframe()))
            sum(nested(5))

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    while not found:
        time.sleep(0.001)
    try:
        assert all(found[0].iterates(thread.ident) for _ in range(100_000))
    finally:
        over.set()
        thread.join()
    assert not found[0].iterates(thread.ident)
