"""What tests of trainers do from outside while a trainer trains in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import nbdebug as nbd
from nbdebug.debugger.own_loop.watch import Watch
from nbdebug.integrations.base import TrainerWatch

LIMIT = 15.0


def wait_until(holds: Callable[[], Any]) -> None:
    """Wait until a condition holds, however slow the machine is."""
    end = time.monotonic() + LIMIT
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def stopped_by_failure(watch: TrainerWatch) -> Watch:
    """The dashboard of a training in another thread, once it is there and a step has failed."""

    def has_failed() -> bool:
        with suppress(nbd.ArgumentError):
            return watch.dbg.failure is not None
        return False

    wait_until(has_failed)
    assert watch.dbg.wait(LIMIT)
    return watch.dbg


class Trigger:
    """Called after each step by a trainer; acts once, at one step.

    Args:
        act: called at step `at`, in the thread of the trainer.
    """

    def __init__(self, at: int, act: Callable[[], Any]) -> None:
        self.at, self.act, self.steps = at, act, 0
        self.reached = threading.Event()

    def __call__(self, *_: Any, **__: Any) -> None:
        self.steps += 1
        if self.steps == self.at:
            self.act()
            self.reached.set()


@contextmanager
def paused(
    watch: TrainerWatch, fit: Callable[[], Any], trigger: Trigger
) -> Iterator[threading.Thread]:
    """Train in a thread and pause where the trigger says; inside, training is paused.

    Afterwards it runs on, to its end.
    """
    act = trigger.act

    def pause() -> None:
        act()
        watch.dbg.pause()

    trigger.act = pause
    thread = threading.Thread(target=fit, daemon=True)
    thread.start()
    assert trigger.reached.wait(LIMIT)
    assert watch.dbg.wait(LIMIT)
    try:
        yield thread
    finally:
        watch.dbg.start()
        thread.join(LIMIT)
        assert not thread.is_alive()
