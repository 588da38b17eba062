"""Descriptors that expose methods and attributes of parts on the Debugger itself."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

P = ParamSpec("P")
R = TypeVar("R")


class Shortcut(Generic[R]):
    """Read-only shortcut to an attribute of a part, such as `dbg.batch`.

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
    """Shortcut to a method of a part, with its signature and help, such as `dbg.rewind`.

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
