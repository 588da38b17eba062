"""State that the code of a user's loop reaches: other networks, optimizers, generators."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from typing import Any

import torch


class ReachedByLoop:
    """Names and values from which the search for state begins, for the function that iterates.

    Variables of a function cannot be bound again from outside; what they hold is written back. A
    tensor there is state if it lives on from step to step; others come and go with each batch.
    """

    def __init__(self) -> None:
        self._code: types.CodeType | None = None
        self._last: dict[str, Any] = {}

    def of(self, frame: types.FrameType | None) -> Iterator[tuple[str, Any]]:
        """Names and values that a frame reaches."""
        if frame is None:
            return
        code, space = frame.f_code, frame.f_globals
        if not code.co_flags & inspect.CO_OPTIMIZED:
            # The code of a cell or a script, whose variables are global.
            yield "loop", types.FunctionType(code, space)
            return
        now = dict(frame.f_locals)
        fresh, self._code = self._code is not code, code
        for name, value in now.items():
            if fresh or not isinstance(value, torch.Tensor) or self._last.get(name) is value:
                yield name, value
        self._last = now
        if not code.co_freevars:
            yield "loop", types.FunctionType(code, space)
