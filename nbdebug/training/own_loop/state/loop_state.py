"""State that the code of a user's loop reaches, and what of it cannot be put back."""

from __future__ import annotations

import ctypes
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

import torch

from nbdebug.model.state.reachable import reachable
from nbdebug.model.state.surroundings import Root
from nbdebug.model.state.values.iterators import can_set_index, index_of, set_index
from nbdebug.model.state.values.kept import Constant, Kept
from nbdebug.model.state.values.places import ABSENT, parts_of_thread
from nbdebug.model.state.values.reached import MAX_CARRIED_BYTES, Bind
from nbdebug.model.state.values.records import Records
from nbdebug.training.own_loop.meeting.frames import LoopFrames, Place
from nbdebug.training.own_loop.meeting.guards import guard_of
from nbdebug.training.own_loop.meeting.loop_code import (
    attributes_used,
    calls_of,
    hidden_progress,
    names_carried,
    names_used,
    repeats_within,
)
from nbdebug.training.own_loop.state.wrappers import Wrappers

CANNOT = (
    "The loop cannot make a step again: {}. Nothing is rewound, forked or replayed, and "
    "checks look at its first steps only. Everything else works."
)
MOVES_ON = "it takes values from {}, a {}, which cannot be put back"
WRAPPED = "its batches come through {}, whose other values cannot be put back"
SEVERAL = "it has several loops over batches(), and cannot be led from one back to another"
WITHIN = (
    "a `for` loop within that over epochs() makes several passes, and its place cannot be put back"
)
TAKEN_BY = ("get", "get_nowait")
NO_INDEX = "the number that enumerate() gives cannot be put back in this Python"


class LoopState:
    """Variables of a loop and its callers, and what they reach.

    A tensor in a variable is state if it lives on from step to step, or is small enough to be
    copied each time; others come and go with each batch.

    Args:
        frames: returns the place of the loop in its thread, None without a loop.

    Attributes:
        why_not: why steps of the loop cannot be made again; "" if they can.
        runs: number of times that its body was run.
        by_identity: True if the loop asks for id(): it may know its batches by it.
        guard: line at which the code of the loop raises or asserts; "" without one.
        together: why no loop is led back where several ranks train; "" for one rank.
    """

    together, by_identity, guard = "", False, ""

    def __init__(self, frames: Callable[[], LoopFrames | None]) -> None:
        self._frames, self._wrappers = frames, Wrappers()
        self._last: dict[types.CodeType, dict[str, Any]] = {}
        self._counts, self._counters = False, list[enumerate[Any]]()
        self._places, self._plain = set[Place](), set[Place]()
        # Number of the epoch that began after a number of passes.
        self._epochs = dict[int, int]()
        # Passes that began since an epoch did.
        self._passes = 0
        self.why_not, self.runs = "", 0

    def begin_pass(self, frames: LoopFrames, first: bool, once: bool = False) -> bool:
        """See what of a pass that begins can be put back; True if that is news.

        Called in the thread of the loop.

        Args:
            first: of the training; once: its batches are those of an iterator.
        """
        if first:
            self.why_not = self.together
            self._places.clear()
            self._plain.clear()
        self._passes += 1
        self._places.add(place := frames.place())
        found = self._around(frames, place in self._plain)
        self._counts = bool(found)
        if not found:
            self._plain.add(place)
        if self.why_not:
            return False
        # Whatever the user's objects raise when they are looked at is no fault of the loop.
        with suppress(Exception):
            self.by_identity, self.guard = _asks_identity(frames), guard_of(frames)
            several = len(self._places) > 1 or _makes_several(frames)
            self.why_not = CANNOT.format(SEVERAL) if several else _why_not(frames, found, once)
            if self._passes > 1 and not self.why_not and _repeats_passes(frames):
                self.why_not = CANNOT.format(WITHIN)
        return bool(self.why_not)

    def epoch_after(self, completed: int) -> int:
        """Number of the epoch that begins after some passes; an epoch may have several."""
        known, self._passes = self._epochs, 0
        before = [passes for passes in known if passes < completed]
        if completed not in known:
            known[completed] = known[max(before)] + 1 if before else completed
        return known[completed]

    def end(self) -> None:
        """Let go of a loop that has ended."""
        self.let_go()
        self._counts, self._last = False, {}

    def roots(self) -> list[Root]:
        """Names and values from which the search for state begins, and what binds them."""
        frames = self._frames()
        return [] if frames is None else list(self._roots(frames))

    def held(self) -> list[Any]:
        """Values of the functions of the loop."""
        return [root[1] for root in self.roots()]

    def counts(self) -> list[tuple[Kept, Bind]]:
        """Numbers of the `enumerate` objects that count the batches of the pass."""
        found = tuple(index_of(one) for one in self._counting())
        return [(Constant(found), self._count_from)] if found else []

    def _count_from(self, numbers: tuple[int, ...]) -> None:
        for counted, number in zip(self._counting(), numbers, strict=False):
            set_index(counted, number)

    def _counting(self) -> list[enumerate[Any]]:
        frames = self._frames()
        if self._counts and not self._counters and frames is not None:
            self._counters = [one for one in self._around(frames) if isinstance(one, enumerate)]
        return self._counters

    def _around(self, frames: LoopFrames, plain: bool = False) -> list[Any]:
        """Objects that pass the batches on; `plain` where none did before: a new one is young."""
        codes = [one.f_code for one in (*frames.between(), *frames.users())]
        names = frozenset(name for code in codes for name in code.co_names if not plain)
        return self._wrappers.around(frames.generators(), names)

    def let_go(self) -> None:
        """Let go of what the loop may drop; called before it goes on."""
        self._counters = []

    def _roots(self, frames: LoopFrames) -> Iterator[Root]:
        last, self._last = self._last, {}
        inside = [(frame, f"{frame.f_code.co_name}.") for frame in frames.between()]
        for number, frame in enumerate(frames.users()):
            inside.append((frame, f"{frame.f_code.co_name}." if number else ""))
        for number, (frame, prefix) in enumerate(inside):
            code = frame.f_code
            if code.co_flags & inspect.CO_OPTIMIZED:
                now = dict(frame.f_locals)
                # Nothing else is held: the loop may reach whoever watches it.
                self._last[code] = {
                    name: value for name, value in now.items() if isinstance(value, torch.Tensor)
                }
                at = sum(other.f_code is code for other, _ in inside[number + 1 :])
                carried = names_carried(code, frame.f_lasti)
                # Also by their other names, such as a batch that is kept for the next step.
                kept = {id(now[name]) for name in carried & now.keys()}
                for name in dict.fromkeys((*now, *code.co_varnames, *code.co_cellvars)):
                    value = now.get(name, ABSENT)
                    lives_on = name in carried or id(value) in kept
                    if lives_on or _is_state(value, name, last.get(code)):
                        yield f"{prefix}{name}", value, partial(self._bind, (code, at), name)
            # The code of a cell or a script has global variables only.
            cells = tuple(types.CellType() for _ in code.co_freevars)
            yield "loop", types.FunctionType(code, frame.f_globals, closure=cells)

    def _bind(self, place: tuple[types.CodeType, int], name: str, value: Any) -> None:
        """Bind a variable of a function that is running.

        Args:
            place: its code, and the number of calls of that code around it.
        """
        frames = self._frames()
        if frames is None:
            return
        code, around = place
        same = [one for one in (*frames.between(), *frames.users()) if one.f_code is code]
        if len(same) > around:
            _write(same[-1 - around], name, value)


def _makes_several(frames: LoopFrames) -> bool:
    """True for code that has several loops over batches."""
    return sum(calls_of(frame.f_code, "batches") for frame in frames.users()) > 1


def _repeats_passes(frames: LoopFrames) -> bool:
    """True if a loop that nobody can lead back makes the passes of an epoch."""
    return repeats_within([(one.f_code, one.f_lasti) for one in frames.users()], "epochs")


def _is_state(value: Any, name: str, last: dict[str, Any] | None) -> bool:
    if not isinstance(value, torch.Tensor) or last is None:
        return True
    return value.nbytes <= MAX_CARRIED_BYTES or last.get(name) is value


def _write(frame: FrameType, name: str, value: Any) -> None:
    """Bind a variable of a function that waits in another thread."""
    variables = frame.f_locals
    if variables.get(name, ABSENT) is value:
        return
    if value is not ABSENT:
        variables[name] = value
    elif sys.version_info < (3, 13):
        del variables[name]
    if sys.version_info < (3, 13):
        # f_locals is a copy there, which debuggers write back in this way.
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(1))


def _why_not(frames: LoopFrames, around: list[Any], once: bool) -> str:
    """Say why the steps of a loop cannot be made again; "" if they can."""
    for frame in (*frames.between(), *list(frames.users())[:1]):
        hidden = hidden_progress(frame.f_code, frame.f_lasti)
        if frame.f_code.co_name == "<genexpr>":
            hidden = "it collects values in a generator expression"
        if hidden:
            return CANNOT.format(hidden)
    for one in around:
        if not isinstance(one, enumerate):
            return CANNOT.format(WRAPPED.format(f"{type(one).__name__}()"))
    if around and not can_set_index():
        return CANNOT.format(NO_INDEX)
    moving = _moving(frames, once)
    for place, kind in moving.items():
        return CANNOT.format(MOVES_ON.format(place, kind))
    return ""


def _asks_identity(frames: LoopFrames) -> bool:
    """Tell if the body of a loop calls the function id()."""
    for frame in (*frames.between(), *list(frames.users())[:1]):
        own = "id" in frame.f_code.co_varnames or frame.f_globals.get("id", id) is not id
        if not own and "id" in names_used(frame.f_code, frame.f_lasti):
            return True
    return False


def _moving(frames: LoopFrames, once: bool) -> dict[str, str]:
    """Iterators that the body of a loop may take values from, and their types.

    A queue that another thread goes on moving is one where the body takes from it, or where its
    batches may.
    """
    records = Records()
    for frame in (*frames.between(), *list(frames.users())[:1]):
        space = {**frame.f_globals, **frame.f_locals}
        used = sorted(names_used(frame.f_code, frame.f_lasti) & space.keys())
        read = attributes_used(frame.f_code, frame.f_lasti)
        parts = [part for name in used for part in parts_of_thread(space[name], read)]
        reachable([*((name, space[name]) for name in used), *parts], records)
        once = once or not read.isdisjoint(TAKEN_BY)
    return records.moving | records.shared if once else records.moving
