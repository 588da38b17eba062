"""Contexts written as generators, which leave exceptions of the user's code as they are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class _Context(Generic[T]):
    def __init__(self, made: Iterator[T]) -> None:
        self._made = made

    def __enter__(self) -> T:
        return next(self._made)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if error is None:
            for _ in self._made:
                raise RuntimeError("The context yields twice.")
            return False
        assert isinstance(self._made, Generator)
        try:
            self._made.throw(error)
        except StopIteration as end:
            # The generator has ended: it took the exception, unless it is this one.
            return end is not error
        except BaseException as raised:
            # A generator may not raise StopIteration: Python makes a RuntimeError of it.
            stopped = isinstance(error, StopIteration) and isinstance(raised, RuntimeError)
            if raised is error or (stopped and raised.__cause__ is error):
                return False
            raise
        raise RuntimeError("The context yields twice.")


def contextmanager(function: Callable[P, Iterator[T]]) -> Callable[P, _Context[T]]:
    """Make contexts of a generator function, as `contextlib.contextmanager` does.

    That one sets an attribute of the exception that passes through it, which frozen classes of
    exceptions refuse: another exception than the user's would come out.
    """

    @functools.wraps(function)
    def made(*args: P.args, **kwargs: P.kwargs) -> _Context[T]:
        return _Context(function(*args, **kwargs))

    return made
