"""Functions of the loop's thread: the one that iterates over the batches, and its callers."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from types import CodeType, FrameType

from nbdebug.model.source_code import LIBRARIES
from nbdebug.training.own_loop.meeting.loop_code import repeats

PACKAGE = "nbdebug"
SUSPENDABLE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
MAX_TRIES = 100
Place = tuple[CodeType | None, int]


class LoopFrames:
    """Place of a loop in the stack of its thread.

    The function that iterates is the innermost one whose code repeats the call: what passes
    batches on, such as tqdm or the `__next__` of a prefetcher, returns before the step is made.
    """

    def __init__(self, frame: FrameType | None) -> None:
        self._inner, self._iterates, self._root = frame, frame, frame
        around = list(_outwards(frame))
        if around:
            self._iterates = next(filter(_repeats, around), around[0])
            self._root = around[-1]

    def iterates(self, thread: int | None) -> bool:
        """True if the function that iterates is running."""
        return _runs(self._iterates, thread)

    def can_go_on(self, thread: int | None) -> bool:
        """True if a function is running that may begin another pass."""
        return _runs(self._root, thread)

    def users(self) -> Iterator[FrameType]:
        """Frames of the user's functions, from the one that iterates to the outermost one."""
        frame = self._iterates
        while frame is not None:
            if not _is_library(frame):
                yield frame
            frame = None if frame is self._root else frame.f_back

    def place(self) -> Place:
        """Code and line at which the function that iterates asks for a batch."""
        frame = self._iterates
        return (None, -1) if frame is None else (frame.f_code, frame.f_lineno)

    def between(self) -> Iterator[FrameType]:
        """Frames of the user's generators that pass the batches on to the loop, while it waits."""
        frame = self._inner
        while frame is not None and frame is not self._iterates:
            if not _is_library(frame):
                yield frame
            frame = frame.f_back

    def generators(self) -> set[int]:
        """Ids of the frames between the caller and the function that iterates, of libraries too."""
        frame, found = self._inner, set[int]()
        while frame is not None and frame is not self._iterates:
            found.add(id(frame))
            frame = frame.f_back
        return found


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """The frame and its callers, up to the cell or the script; without generators."""
    while frame is not None:
        code = frame.f_code
        if not (code.co_flags & inspect.CO_GENERATOR or _is_own(frame)):
            yield frame
            if not code.co_flags & inspect.CO_OPTIMIZED:
                return
        frame = frame.f_back


def _runs(wanted: FrameType | None, thread: int | None) -> bool:
    for _ in range(MAX_TRIES):
        last = frame = sys._current_frames().get(thread or 0)
        while frame is not None:
            if frame is wanted:
                return True
            last, frame = frame, frame.f_back
        # A generator that was suspended meanwhile has no caller: the stack ended too early.
        if last is None or not last.f_code.co_flags & SUSPENDABLE:
            return False
    return False


def _is_own(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == PACKAGE


def _is_library(frame: FrameType) -> bool:
    return _is_own(frame) or frame.f_code.co_filename.startswith(LIBRARIES)


def _repeats(frame: FrameType) -> bool:
    """True if the frame is at an instruction inside of a loop."""
    return repeats(frame.f_code, frame.f_lasti)
