"""Calls that must return, whatever happens in them."""

from __future__ import annotations

import threading
from collections.abc import Callable

HANG = 20.0


def in_time(call: Callable[[], object]) -> BaseException | None:
    """What a call raises; fails if the call does not return."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    caller = threading.Thread(target=run, daemon=True)
    caller.start()
    caller.join(HANG)
    assert not caller.is_alive(), "the call waits for ever"
    return raised[0] if raised else None
