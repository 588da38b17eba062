"""What tests of trainers do from outside while a trainer trains in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nbdebug.integrations.base import TrainerWatch

LIMIT = 15.0


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
