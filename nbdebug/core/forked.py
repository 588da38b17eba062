"""Hooks for forked children, which have a copy of everything but none of the threads."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from nbdebug.errors import ClosedError

T = TypeVar("T")


# One hook for all: a hook of `os` stays for ever. Objects are not kept alive.
_acts: weakref.WeakKeyDictionary[Any, Callable[[Any], None]] = weakref.WeakKeyDictionary()


def when_forked(target: T, act: Callable[[T], None]) -> None:
    """Call `act` with an object in every forked child, as long as the object lives."""
    _acts[target] = act


def _in_child() -> None:
    for target, act in list(_acts.items()):
        act(target)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class HomeProcess:
    """Process that an object was made in; a forked child has a copy without any thread.

    Attributes:
        process: its id.
    """

    def __init__(self) -> None:
        self.process = os.getpid()

    @property
    def left(self) -> bool:
        """True in a forked child."""
        return os.getpid() != self.process

    def check(self) -> None:
        """Refuse to go on in a forked child, where nothing would ever be answered.

        Raises:
            ClosedError: this is a forked child.
        """
        if self.left:
            raise ClosedError(
                f"This Debugger and its threads live in process {self.process}; here, in process "
                f"{os.getpid()}, is a forked copy that does nothing. Make a new Debugger here."
            )
