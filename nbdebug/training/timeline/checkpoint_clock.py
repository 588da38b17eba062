"""Clock of automatic checkpoints: a small share of the training time."""

from __future__ import annotations

import time
from collections.abc import Iterator

from nbdebug.core.contexts import contextmanager
from nbdebug.core.error_text import describe_error, raise_interrupt
from nbdebug.core.history.history import History
from nbdebug.core.records import Notice

MAX_TIME_SHARE = 0.004
MIN_RETRY_SECONDS = 0.02


class CheckpointClock:
    """Seconds of training without pauses, and those at which the next checkpoint is due."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._trained = self.next = self._began = 0.0
        self._failed = False

    @property
    def due(self) -> bool:
        return self._trained >= self.next

    def begin_step(self) -> None:
        self._began = time.perf_counter()

    def end_step(self) -> None:
        self._trained += time.perf_counter() - self._began

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Take a checkpoint inside; the next one is due the later, the longer this one takes."""
        start = time.perf_counter()
        yield
        self._postpone(time.perf_counter() - start)

    @contextmanager
    def tolerating(self, step: int) -> Iterator[None]:
        """Try to take a checkpoint inside; a failure is told once, and training goes on."""
        start = time.perf_counter()
        try:
            yield
            self._failed = False
        except BaseException as error:
            raise_interrupt(error)
            # Tried again as seldom as a success that takes as long.
            self._postpone(max(time.perf_counter() - start, MIN_RETRY_SECONDS))
            if not self._failed:
                self._failed = True
                end = "Training continues; without checkpoints a rewind reruns more steps."
                text = f"{describe_error(error)} {end}"
                notice = Notice(step, "warning", "A checkpoint could not be taken", text)
                self._history.add_notice(notice)

    def _postpone(self, seconds: float) -> None:
        self.next = self._trained + seconds / MAX_TIME_SHARE
