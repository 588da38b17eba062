"""Refusal of misspelt keywords of methods, in words."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

from nbdebug.core.names import unknown_keyword
from nbdebug.errors import ArgumentError

T = TypeVar("T")


def refuse_unknown_keywords(kind: type[T]) -> type[T]:
    """Class decorator: public methods raise ArgumentError for a keyword that they do not have."""
    for name, value in list(vars(kind).items()):
        if not name.startswith("_") and isinstance(value, FunctionType):
            parameters = inspect.signature(value).parameters.values()
            if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
                setattr(kind, name, _refusing(value))
    return kind


def _refusing(method: Callable[..., Any]) -> Callable[..., Any]:
    parameters = inspect.signature(method).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = [p.name for p in parameters if p.kind in named and p.name != "self"]

    @functools.wraps(method)
    def checked(*arguments: Any, **keywords: Any) -> Any:
        for name in keywords:
            if name not in known:
                said = unknown_keyword(f"keyword of {method.__name__}", name, known)
                raise ArgumentError(said)
        return method(*arguments, **keywords)

    return checked
