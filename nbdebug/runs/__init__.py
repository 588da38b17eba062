"""Recording, comparison, report and export of runs.

The package is callable: `nbdebug.runs()` lists the runs of a store.
"""

from __future__ import annotations

import sys
import types
from typing import Any


class _Callable(types.ModuleType):
    """Module class that makes `nbdebug.runs` callable: `nbdebug.runs()` lists runs."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        from nbdebug.runs.store.api import runs

        return runs(*arguments, **named)


sys.modules[__name__].__class__ = _Callable
