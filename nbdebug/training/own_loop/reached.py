"""State that the code of a user's loop reaches: other networks, optimizers, generators."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from typing import Any

from nbdebug.model.module.forward import leaves


def reached_by_loop(frame: types.FrameType | None, batch: Any) -> Iterator[tuple[str, Any]]:
    """Names and values from which the search for state begins, for the function that iterates.

    Variables of a function cannot be bound again from outside; what they hold is written back.

    Args:
        batch: the last one, which is no state.
    """
    if frame is None:
        return
    given = {id(leaf) for leaf in (batch, *leaves(batch))}
    code, space = frame.f_code, frame.f_globals
    if not code.co_flags & inspect.CO_OPTIMIZED:
        # The code of a cell or a script, whose variables are global.
        yield "loop", types.FunctionType(code, space)
        return
    yield from [(n, value) for n, value in frame.f_locals.items() if id(value) not in given]
    if not code.co_freevars:
        yield "loop", types.FunctionType(code, space)
