"""Checks that rules ask for: each runs by itself between two steps, when its price allows it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

from nbdebug.core.contexts import contextmanager
from nbdebug.core.history.history import History
from nbdebug.core.records import RunState
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.tasks.checking.check_runner import CheckRunner
from nbdebug.training.tasks.checking.outer_state import outer_state

MAX_PAUSED_SECONDS = 10.0
# Until one was made: data, copies and evaluations of a check, in steps.
EXPECTED_STEPS = 40


class AskedChecks:
    """Checks that wait for a moment in which training can afford them.

    While training runs, all of them together take at most the share of its time that probes may
    take, as much again. While it is paused, other cells may use the model: there they run, ten
    seconds at most, only as long as somebody waits for them. They never run where code of the
    user's could count the additional runs, see `outer_state`: rules offer them instead. Those that
    run nothing of the user's may.

    Attributes:
        done: set while no check waits for a pause.
    """

    def __init__(self, checks: CheckRunner, loop: Loop, history: History, overhead: float) -> None:
        self._checks, self._loop, self._history = checks, loop, history
        self._overhead = overhead
        self._waiting: list[str] = []
        self._spent = self._paused = self._price = 0.0
        self._lock, self._attended = threading.Lock(), 0
        self.done = threading.Event()
        self.done.set()

    @contextmanager
    def attended(self) -> Iterator[None]:
        """Let checks run inside though training is paused; the caller waits for them."""
        with self._lock:
            self._attended += 1
        try:
            yield
        finally:
            with self._lock:
                self._attended -= 1

    def expect(self) -> None:
        """Say that checks are about to be taken; called by whoever asks."""
        self.done.clear()

    def take(self, names: Sequence[str]) -> None:
        """Let checks wait for their turn, if they may run by themselves at all."""
        checks = self._checks.checks
        known = [name for name in names if name in checks]
        session = self._loop.session
        if session.body is None and session.step_fn is None:
            # Nobody else's code is there that could keep anything.
            known = [name for name in known if checks[name].runs_model]
        if outer_state(session):
            known = [name for name in known if not checks[name].runs_model]
        if known:
            known.sort(key=lambda name: checks[name].runs_model)
            self._waiting = list(dict.fromkeys((*known, *self._waiting)))
            self._paused = 0.0
        self._settle()

    def drop(self) -> None:
        """Forget what waits: training begins again."""
        self._waiting = []
        self._settle()

    def due(self, state: RunState) -> bool:
        """Tell if there is a check whose price is allowed in this state of training."""
        if not self._waiting or state == "closed":
            return False
        if state == "paused":
            return bool(self._attended) and self._paused < MAX_PAUSED_SECONDS
        if not self._checks.checks[self._waiting[0]].runs_model:
            return True
        seconds = self._loop.step_seconds
        price = self._price or EXPECTED_STEPS * seconds
        return self._spent + price <= self._overhead * seconds * self._loop.session.step

    def run_due(self, state: RunState) -> None:
        """Run the first check that waits, if it is due."""
        if not self.due(state):
            return
        name, start = self._waiting.pop(0), time.perf_counter()
        progress = TaskProgress("ask_checks", self._history, lambda: False)
        try:
            with progress:
                self._checks.run((name,), progress)
        finally:
            seconds = time.perf_counter() - start
            self._price = max(self._price, seconds)
            if state == "paused":
                self._paused += seconds
            else:
                self._spent += seconds
            self._settle()

    def _settle(self) -> None:
        if self._waiting and self._paused < MAX_PAUSED_SECONDS:
            self.done.clear()
        else:
            self.done.set()
