"""A live debugger for neural-network training, in the notebook."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbdebug.core.checklist import CheckReport
    from nbdebug.core.errors import (
        ArgumentError,
        CheckNameError,
        CheckpointError,
        CheckStopped,
        ClosedError,
        ControlNameError,
        ControlValueError,
        DataError,
        LossError,
        MissingPackageError,
        ModelError,
        NbdebugError,
        NonFiniteError,
        PluginError,
        RunNameError,
        RunStoreError,
        ScriptError,
        SeriesError,
        TaskStopped,
    )
    from nbdebug.core.history import History
    from nbdebug.debugger import Debugger
    from nbdebug.runs.catalogue import import_run, load_run, runs
    from nbdebug.runs.comparison import compare
    from nbdebug.runs.run import Run

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "CheckNameError",
    "CheckReport",
    "CheckStopped",
    "CheckpointError",
    "ClosedError",
    "ControlNameError",
    "ControlValueError",
    "DataError",
    "Debugger",
    "History",
    "LossError",
    "MissingPackageError",
    "ModelError",
    "NbdebugError",
    "NonFiniteError",
    "PluginError",
    "Run",
    "RunNameError",
    "RunStoreError",
    "ScriptError",
    "SeriesError",
    "TaskStopped",
    "compare",
    "import_run",
    "load_run",
    "runs",
]


# Where to find what is not an error.
_PLACES = {
    "CheckReport": "core.checklist",
    "Debugger": "debugger",
    "History": "core.history",
    "Run": "runs.run",
    "compare": "runs.comparison",
    "import_run": "runs.catalogue",
    "load_run": "runs.catalogue",
}


def __getattr__(name: str) -> Any:
    # PEP 562: `import nbdebug` alone loads neither torch nor bokeh.
    if name == "runs":
        # The package, which is called like a function.
        return importlib.import_module("nbdebug.runs")
    if name in __all__:
        place = _PLACES.get(name, "core.errors")
        return getattr(importlib.import_module(f"nbdebug.{place}"), name)
    raise AttributeError(f"module 'nbdebug' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
