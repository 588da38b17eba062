"""Lines at which the code of a loop raises or asserts: it may refuse what a step never gives."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

from nbdebug.model.origin.source_line import place_of
from nbdebug.model.source_code import is_library_file
from nbdebug.training.own_loop.meeting.frames import LoopFrames
from nbdebug.training.own_loop.meeting.loop_code import attributes_used, names_used, raises

MAX_DEPTH = 2
ON_TRIAL = "on_trial"


def guard_of(frames: LoopFrames) -> str:
    """First line that raises in the body of a loop or in functions that it calls by name.

    Returns:
        A place such as "line 12 of train.py"; "" without one, and for a loop that asks for
        `dbg.on_trial`, and so minds what is tried.
    """
    inside = list(frames.users())[:1]
    if any(ON_TRIAL in attributes_used(one.f_code, one.f_lasti) for one in inside):
        return ""
    for frame in (*frames.between(), *inside):
        if line := raises(frame.f_code, frame.f_lasti):
            return _place(frame.f_code, line)
        space = {**frame.f_globals, **frame.f_locals}
        names = names_used(frame.f_code, frame.f_lasti)
        for function in _functions(space, names, MAX_DEPTH):
            if line := raises(function.__code__):
                return _place(function.__code__, line)
    return ""


def _functions(
    space: dict[str, Any], names: frozenset[str], depth: int
) -> Iterator[types.FunctionType]:
    """Functions of the user's that code names, and that these name."""
    for name in sorted(names & space.keys()):
        function = space[name]
        if not _is_users(function):
            continue
        yield function
        if depth > 1:
            reached = frozenset(function.__code__.co_names)
            yield from _functions(function.__globals__, reached, depth - 1)


def _is_users(function: Any) -> bool:
    if not isinstance(function, types.FunctionType):
        return False
    module = str(function.__globals__.get("__name__", ""))
    return not is_library_file(module, function.__code__.co_filename)


def _place(code: types.CodeType, line: int) -> str:
    return f"line {line} of {place_of(code.co_filename, code.co_name)}"
