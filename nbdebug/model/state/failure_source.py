"""Parts of a model's state that decide about an exception of the user's code."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
import types
from collections.abc import Iterator
from typing import Any

from torch import nn

from nbdebug.model.source_code import LIBRARIES

GUARDS = (ast.If, ast.While, ast.Assert, ast.IfExp)


class FailureSource:
    """State that the code which raised an exception looked at to decide to raise it.

    A forward such as `self.left[0] -= 1; if not self.left[0]: raise ...` would fail for ever if
    a failed step restored `left`.

    Attributes:
        attributes: (id of a module, name of its attribute) in the conditions around the lines
            of the traceback.
        objects: ids of helper objects, which are no modules, whose methods are in the traceback.
    """

    def __init__(self, error: BaseException) -> None:
        self.attributes: set[tuple[int, str]] = set()
        self.objects: set[int] = set()
        for frame, line in _frames(error):
            code = frame.f_code
            if not code.co_argcount or code.co_filename.startswith(LIBRARIES):
                continue
            first = code.co_varnames[0]
            owner = frame.f_locals.get(first)
            if isinstance(owner, nn.Module):
                names = _condition_names(code, line, first)
                self.attributes |= {(id(owner), name) for name in names}
            elif hasattr(type(owner), code.co_name):
                self.objects.add(id(owner))


def _frames(error: BaseException) -> Iterator[tuple[types.FrameType, int]]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _condition_names(code: types.CodeType, line: int, owner: str) -> set[str]:
    """Names of attributes of `owner` in the conditions around a line of a function."""
    names: set[str] = set()
    for node in _guards(code):
        if node.lineno <= line <= (node.end_lineno or node.lineno):
            names |= {
                part.attr
                for part in ast.walk(node.test)
                if isinstance(part, ast.Attribute)
                and isinstance(part.value, ast.Name)
                and part.value.id == owner
            }
    return names


@functools.lru_cache(256)
def _guards(code: types.CodeType) -> tuple[Any, ...]:
    """Conditions in the source of a function, with line numbers of its file; empty without one."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(code)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return ()
    ast.increment_lineno(tree, code.co_firstlineno - 1)
    return tuple(node for node in ast.walk(tree) if isinstance(node, GUARDS))
