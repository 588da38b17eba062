"""Handoff of batches between the training thread and the thread of the user's loop."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, cast

from nbdebug.core.contexts import contextmanager
from nbdebug.errors import ClosedError, LoopLeft
from nbdebug.training.own_loop import messages as say
from nbdebug.training.own_loop.meeting.carried_modes import CarriedModes
from nbdebug.training.own_loop.meeting.forked_copy import ForkedCopy, State
from nbdebug.training.own_loop.meeting.frames import LoopFrames
from nbdebug.training.own_loop.meeting.loop_thread import LoopEnded, LoopThread, PassOver

# Seconds after which a loop that does not answer is looked for.
LOOK, MOMENT = 0.2, 0.05
IN_STEPS = ("works", "rests", "apart")
ON_ITS_OWN = ("apart", "between")


class Handoff(ForkedCopy):
    """A meeting of two threads, of which one works while the other waits.

    The user's loop asks for a batch and waits; the training thread gives one and waits until the
    loop asks again. Between two passes the loop is on its own.

    Attributes:
        thread: of the loop, by its identifier; cut: True if it left its pass before the end.
        error: what the loop raised when it was left, if that is known.
        passes: number of passes that loops began; closed: True if no loop may begin any more.
        frames_of: finds the functions of the loop in the stack; no_loop: what is said without one.
    """

    frames_of: Callable[[FrameType], LoopFrames] = LoopFrames
    no_loop = say.NO_LOOP

    def __init__(self) -> None:
        super().__init__()
        self._loader: Any = None
        self._frames: LoopFrames | None = None
        self.thread: int | None = None
        self.error: BaseException | None = None
        self.cut = self.closed = self._ends = self._held = False
        # The thread of the loop; the one whose next pass ends it.
        self._current = self._ended = cast(threading.Thread | None, None)
        self.passes, self.ahead_seconds = 0, 0.0
        self._modes = CarriedModes()

    @property
    def runs(self) -> bool:
        """True if there is a loop."""
        return self._state != "none"

    @property
    def in_pass(self) -> bool:
        """True if the loop waits inside of a pass."""
        return self._state == "waits"

    @property
    def rests(self) -> bool:
        """True if the loop is done with a step that is not written down yet."""
        return self._state == "rests"

    @property
    def ready(self) -> bool:
        """True if the loop waits for a batch or begins a pass."""
        return self._state in ("begins", "waits")

    # The loop's side.

    def begin_pass(self, loader: Any) -> None:
        """Say that a pass begins; called by the loop."""
        self._modes.leave()
        with self._change:
            if self._ended is threading.current_thread():
                self._ended = None
                raise LoopEnded
            self._change.wait_for(lambda: not self._held)
            if self._state in IN_STEPS and self._is_left():
                self._go()
            if self.closed:
                raise ClosedError(say.CLOSED)
            if self._state in (*IN_STEPS, "waits", "begins"):
                raise LoopLeft(say.NESTED)
            self.thread, self.error = threading.get_ident(), None
            self._current = threading.current_thread()
            self._loader, self._frames = loader, self.frames_of(sys._getframe(1))
            self._ends = False
            self._state, self.passes = "begins", self.passes + 1
            self._change.notify_all()

    def take(self) -> Any:
        """Wait for a batch; called by the loop.

        Raises:
            PassOver: the pass is over.
        """
        self._modes.leave()
        with self._change:
            if self._state == "apart":
                self.came_back()
            # A batch that was given since the pass began is not done yet.
            if self._state in IN_STEPS and self._answer is None:
                self._state = "waits"
                self._change.notify_all()
            self._frames = self.frames_of(sys._getframe(1))
            while self._answer is None:
                if self._state == "none":
                    self._ended = None
                    raise LoopEnded if self._ends else PassOver
                self._change.wait()
            answer, self._answer = self._answer, None
            if isinstance(answer, BaseException):
                raise answer
            self._modes.enter()
            return answer[0]

    def rest(self) -> None:
        """Say that a step is done, and wait until it is written down; called by the loop.

        The loop is then on its own until it takes the next batch.
        """
        self._modes.leave()
        with self._change:
            if self._state == "works":
                self._state = "rests"
                self._change.notify_all()
            self._change.wait_for(lambda: self._state != "rests")

    def came_back(self) -> None:
        """Called when the loop, which was on its own, takes the next batch."""

    def is_called_from(self) -> bool:
        """True if the caller is the code of the loop."""
        if threading.get_ident() != self.thread:
            return False
        return self.runs and not (self._state == "works" and self._is_left())

    def may_wait(self) -> bool:
        """False if the caller is a step of the loop, which would wait for itself.

        Who waits between two passes may be past the loop: it is taken to have ended, and begins
        again with its next pass.
        """
        if threading.get_ident() != self.thread or not self.runs:
            return True
        if self._state == "works" and not self._is_left():
            return False
        self.leave()
        return True

    def join(self, timeout: float) -> bool:
        """Wait for what goes on behind its loop in a LoopThread; False if it still does."""
        return self.runs or not isinstance(self._current, LoopThread) or self._current.over(timeout)

    def cut_pass(self) -> None:
        """Say that the loop left its pass early, such as by break; called by the loop."""
        if threading.get_ident() == self.thread:
            self._modes.leave()
        with self._change:
            if self._state in (*IN_STEPS, "waits") and threading.get_ident() == self.thread:
                self._state, self._answer, self.cut = "between", None, True
                self._change.notify_all()

    def leave(self, error: BaseException | None = None) -> None:
        """Say that the loop has ended; called by its thread, or by whoever sees its end."""
        with self._change:
            self._go(error)
            self._ended = None

    def end(self) -> None:
        """End the loop by an exception: at its next batch, or where its next pass begins."""
        self._ends = True
        runs = self.runs
        self.leave()
        self._ended = self._current if runs else None

    def close(self) -> None:
        """End the loop at its next batch."""
        self.closed = True
        self.leave()

    def _go(self, error: BaseException | None = None) -> None:
        # Whoever begins again begins a new pass, as with any loop.
        self.cut = self.cut or self._state not in ("none", "between")
        self._state, self._answer, self.error = "none", None, error
        self._frames = self.thread = None
        self._change.notify_all()
        self.at_end()

    # The side of the training thread.

    @contextmanager
    def without_beginning(self) -> Iterator[None]:
        """Let no loop begin where there is none; one that is about to begin does so before."""
        with self._change:
            if not self.runs and not self.closed:
                self._change.wait(MOMENT)
            self._held = not self.runs
        try:
            yield
        finally:
            with self._change:
                self._held = False
                self._change.notify_all()

    def next_loader(self) -> Any:
        """Wait until the loop begins a pass; return what it iterates over.

        Raises:
            LoopLeft: there is no loop.
        """
        with self._change:
            self.settle()  # It may rest within a step.
            self._wait_for("begins", "waits")
            return self._loader

    def give(self, batch: Any) -> None:
        """Give a batch and wait until the loop asks for the next one.

        Raises:
            LoopLeft: the loop was left before.
        """
        with self._change:
            self.settle()  # It may rest within a step.
            self._wait_for("begins", "waits")
            self._state, self._answer = "works", (batch,)
            self._change.notify_all()
            self._wait_for("begins", "waits", "rests", "between")

    def settle(self) -> None:
        """Let a loop that rests go on, on its own."""
        with self._change:
            if self._state == "rests":
                self.let_go()
                self._state = "apart"
                self._change.notify_all()

    def let_go(self) -> None:
        """Called before the loop goes on, on its own."""

    def is_apart(self) -> bool:
        """Tell if the loop is on its own, between two steps or passes, after waiting a moment."""
        with self._change:
            if self._state in ON_ITS_OWN:
                self._change.wait(MOMENT)
                self._look()
            return self._state in ON_ITS_OWN

    def end_pass(self) -> None:
        """Let the loop of this pass end."""
        with self._change:
            if self._state in ("begins", "waits"):
                self._state, self._answer = "between", PassOver()
                self._change.notify_all()

    def is_ready(self) -> bool:
        """Tell if a step can be made; waits a moment for a loop that is between two passes.

        Raises:
            LoopLeft: there is no loop.
        """
        with self._change:
            if self.runs and not self.ready:
                self._change.wait(MOMENT)
            self._look()
            if not self.runs:
                raise LoopLeft(self.no_loop, "no_loop") from self.error
            return self.ready

    def _wait_for(self, *states: State) -> None:
        while self._state not in states:
            if self._state == "none":
                told = (
                    LoopLeft(self.no_loop, "no_loop") if self.error is None else LoopLeft(say.LEFT)
                )
                raise told from self.error
            self._change.wait(LOOK)
            self._look()

    def _look(self) -> None:
        """See if the loop was left without a word, as by an exception in a cell."""
        if self._state in (*IN_STEPS, "between") and self._is_left():
            self._go()

    def _is_left(self) -> bool:
        """True if the function that iterates is not running any more.

        Between two passes its callers may call it again, as once an epoch.
        """
        frames = self._frames
        if frames is None:
            return True
        if self._state == "between":
            return not frames.can_go_on(self.thread)
        return not frames.iterates(self.thread)
