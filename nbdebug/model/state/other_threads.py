"""Objects that another thread uses, which goes on while training waits."""

from __future__ import annotations

import queue
import sys
import threading
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import FrameType
from typing import Any

import torch
from torch import nn

from nbdebug.core.attributes import attribute
from nbdebug.model.source_code import is_of_library
from nbdebug.model.state.values.places import content

MAX_SEEN, MAX_PARTS = 2000, 100


def is_shared(value: queue.Queue[Any]) -> bool:
    """True if a thread may move a queue that neither waits for nbdebug nor makes its steps."""
    frames = sys._current_frames()
    others = (frames.get(one.ident or 0) for one in threading.enumerate())
    return any(_holds(_values(list(_stack(frame))), value) for frame in others)


def of_other_trainings(
    ours: Iterable[object], used: Callable[[], Iterable[object]]
) -> Iterator[object]:
    """Networks, optimizers and containers of threads of the user's that train something else.

    Going back would take them from under a thread that goes on.

    Args:
        ours: optimizers of this training.
        used: gives what its own loop uses: containers among it are not theirs.
    """
    frames, main = sys._current_frames(), threading.main_thread()
    known = set(map(id, ours))
    for thread in threading.enumerate():
        if thread in (main, threading.current_thread()):
            continue
        values = list(_values(list(_stack(frames.get(thread.ident or 0)))))
        optimizers = [one for one in values if isinstance(one, torch.optim.Optimizer)]
        if optimizers and not known.intersection(map(id, optimizers)):
            yield from optimizers
            yield from (one for one in values if isinstance(one, nn.Module))
            mine = set(map(id, used()))
            parts = (one for one in values if isinstance(one, list | dict | set | deque))
            yield from (one for one in parts if id(one) not in mine)


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _values(frames: list[FrameType]) -> Iterator[Any]:
    """Values that the functions of a thread hold; none of one that is in nbdebug."""
    if any(_package(frame) == "nbdebug" for frame in frames):
        return
    for frame in frames:
        names = frame.f_code.co_names
        if frame.f_locals is not frame.f_globals:
            yield from list(frame.f_locals.values())
        yield from (frame.f_globals.get(name) for name in names)


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _holds(values: Iterable[Any], wanted: Any) -> bool:
    """Tell if values reach an object, by attributes, containers and functions."""
    waiting, seen = deque(values), set[int]()
    while waiting and len(seen) < MAX_SEEN:
        one = waiting.popleft()
        if one is wanted:
            return True
        if id(one) not in seen:
            seen.add(id(one))
            waiting += _inside(one)
    return False


def _inside(value: Any) -> list[Any]:
    if isinstance(value, types.FunctionType):
        held = [content(cell) for cell in value.__closure__ or ()]
        read = [] if is_of_library(value) else value.__code__.co_names
        return [*held, *(value.__globals__.get(name) for name in read)]
    if isinstance(value, types.MethodType | types.BuiltinMethodType):
        return [value.__self__]
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, list | tuple | dict):
        parts = value.values() if isinstance(value, dict) else value
        return list(parts) if len(value) <= MAX_PARTS else []
    if isinstance(value, type | types.ModuleType) or is_of_library(type(value)):
        return []
    return list(attribute(value, "__dict__", {}).values())
