"""Methods of a part of the Debugger under the Debugger's own name."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

P = ParamSpec("P")
R = TypeVar("R")


class Shortcut(Generic[R]):
    """`dbg.batch` for an attribute of a part, read each time.

    Args:
        path: of the attribute, such as "timeline.breakpoints"; doc: its help.
    """

    def __init__(self, path: str, doc: str) -> None:
        self._get = attrgetter(path)
        self.__doc__ = doc

    @overload
    def __get__(self, owner: None, kind: type) -> Shortcut[R]: ...
    @overload
    def __get__(self, owner: object, kind: type) -> R: ...
    def __get__(self, owner: object | None, kind: type) -> Any:
        return self if owner is None else self._get(owner)

    def __set__(self, owner: object, value: Any) -> None:
        raise AttributeError(f"This attribute cannot be set: {self.__doc__}")


class Delegate(Generic[P, R]):
    """`dbg.rewind` for `dbg.timeline.rewind`, with its signature and help.

    Args:
        part: name of the attribute that holds the part; method: of its class.
    """

    def __init__(self, part: str, method: Callable[Concatenate[Any, P], R]) -> None:
        self._part, self._method = part, method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> Callable[Concatenate[Any, P], R]: ...
    @overload
    def __get__(self, owner: object, kind: type) -> Callable[P, R]: ...
    def __get__(self, owner: object | None, kind: type) -> Any:
        if owner is None:
            return self._method
        return getattr(getattr(owner, self._part), self._method.__name__)
