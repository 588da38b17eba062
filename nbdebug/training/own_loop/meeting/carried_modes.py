"""Function modes of the thread that gives a batch, at work in the thread of the loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch.overrides import (
    TorchFunctionMode,
    _get_current_function_mode,
    _get_current_function_mode_stack,
)

from nbdebug.core.contexts import contextmanager


class CarriedModes:
    """Lets the function modes of one thread see the operations of another one.

    Modes of torch belong to a thread: a check that watches operations sees nothing of a loop that
    runs in a thread of its own.
    """

    def __init__(self) -> None:
        self._carried: Sequence[_Relay] = ()
        self._entered: list[_Relay] = []

    @contextmanager
    def carried(self) -> Iterator[None]:
        """Context in which the loop's thread gets the modes of the calling thread."""
        self._carried = [_Relay(mode) for mode in _get_current_function_mode_stack()]
        try:
            yield
        finally:
            for relay in self._carried:
                relay.mode = None
            self._carried = ()

    def enter(self) -> None:
        """Begin to see the operations of the calling thread; called by the loop."""
        for relay in self._carried:
            relay.__enter__()  # type: ignore[no-untyped-call]
            self._entered.append(relay)

    def leave(self) -> None:
        """Stop to see them; called by the loop."""
        # Below a mode that the loop left open, they stay and pass everything on.
        while self._entered and _get_current_function_mode() is self._entered[-1]:
            self._entered.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]
        self._entered = []


class _Relay(TorchFunctionMode):
    """Passes operations to a mode that was entered in another thread; to none afterwards."""

    def __init__(self, mode: TorchFunctionMode) -> None:
        super().__init__()
        self.mode: TorchFunctionMode | None = mode

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        mode = self.mode
        if mode is None:
            return function(*args, **(kwargs or {}))
        return mode.__torch_function__(function, types, args, kwargs or {})
