"""State that the code of a user's loop reaches: other networks, optimizers, generators."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from typing import Any

import torch

from nbdebug.training.own_loop.meeting.frames import LoopFrames


class ReachedByLoop:
    """Names and values from which the search for state begins: of a loop and its callers.

    Variables of a function cannot be bound again from outside; what they hold is written back. A
    tensor there is state if it lives on from step to step; others come and go with each batch.
    """

    def __init__(self) -> None:
        self._last: dict[types.CodeType, dict[str, Any]] = {}

    def of(self, frames: LoopFrames | None) -> Iterator[tuple[str, Any]]:
        """Names and values that the frames of a loop reach."""
        last, self._last = self._last, {}
        for number, frame in enumerate(() if frames is None else frames.users()):
            code, space = frame.f_code, frame.f_globals
            if code.co_flags & inspect.CO_OPTIMIZED:
                now = dict(frame.f_locals)
                # Nothing else is held: the loop may reach whoever watches it.
                self._last[code] = {
                    name: value for name, value in now.items() if isinstance(value, torch.Tensor)
                }
                prefix = f"{code.co_name}." if number else ""
                for name, value in _lasting(now, last.get(code)):
                    yield f"{prefix}{name}", value
            # The code of a cell or a script has global variables only.
            cells = tuple(types.CellType() for _ in code.co_freevars)
            yield "loop", types.FunctionType(code, space, closure=cells)


def _lasting(now: dict[str, Any], last: dict[str, Any] | None) -> Iterator[tuple[str, Any]]:
    """Local variables without tensors that were bound since the last time."""
    for name, value in now.items():
        if last is None or not isinstance(value, torch.Tensor) or last.get(name) is value:
            yield name, value
