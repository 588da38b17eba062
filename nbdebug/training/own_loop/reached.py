"""What the code of a user's loop reaches: other networks, optimizers, averages, generators."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from typing import Any


def reached_by_loop(frame: types.FrameType | None) -> Iterator[tuple[str, Any]]:
    """Names and values from which the search for state begins, for the function that iterates.

    Variables of a function cannot be bound again from outside; what they hold is written back.
    """
    if frame is None:
        return
    code, space = frame.f_code, frame.f_globals
    if not code.co_flags & inspect.CO_OPTIMIZED:
        # The code of a cell or a script, whose variables are global.
        yield "loop", types.FunctionType(code, space)
        return
    yield from list(frame.f_locals.items())
    if not code.co_freevars:
        yield "loop", types.FunctionType(code, space)
