"""The documentation of runs: recorded without being asked, compared, carried elsewhere.

Called, `nbdebug.runs()`, this package lists them.
"""

from __future__ import annotations

import sys
import types
from typing import Any


class _Callable(types.ModuleType):
    """`nbdebug.runs` is this package and the function that lists what is in it."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        from nbdebug.runs.store.api import runs

        return runs(*arguments, **named)


sys.modules[__name__].__class__ = _Callable
