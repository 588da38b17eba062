"""A live debugger for neural-network training, in the notebook."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbdebug.core.history.history import History
    from nbdebug.core.results.checks.check_report import CheckReport
    from nbdebug.debugger.attached.attach import attach, attachable
    from nbdebug.debugger.debugger import Debugger
    from nbdebug.debugger.own_loop.watch import watch
    from nbdebug.errors import (
        ArgumentError,
        CheckNameError,
        CheckpointError,
        CheckStopped,
        ClosedError,
        ControlNameError,
        ControlValueError,
        DataError,
        ElsewhereError,
        LinkError,
        LoopLeft,
        LossError,
        MissingPackageError,
        ModelError,
        NbdebugError,
        NonFiniteError,
        NotRepeatableError,
        OutputError,
        PluginError,
        RanksError,
        RemoteError,
        RunNameError,
        RunStoreError,
        ScriptError,
        SeriesError,
        SteeringError,
        TaskStopped,
    )
    from nbdebug.runs.compare.comparison import compare
    from nbdebug.runs.store.api import import_run, load_run, runs
    from nbdebug.runs.store.run import Run

from nbdebug._version import __version__ as __version__

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
    "ElsewhereError",
    "History",
    "LinkError",
    "LoopLeft",
    "LossError",
    "MissingPackageError",
    "ModelError",
    "NbdebugError",
    "NonFiniteError",
    "NotRepeatableError",
    "OutputError",
    "PluginError",
    "RanksError",
    "RemoteError",
    "Run",
    "RunNameError",
    "RunStoreError",
    "ScriptError",
    "SeriesError",
    "SteeringError",
    "TaskStopped",
    "attach",
    "attachable",
    "compare",
    "import_run",
    "load_run",
    "runs",
    "watch",
]


# Where to find what is not an error.
_PLACES = {
    "CheckReport": "core.results.checks.check_report",
    "Debugger": "debugger.debugger",
    "History": "core.history.history",
    "Run": "runs.store.run",
    "attach": "debugger.attached.attach",
    "attachable": "debugger.attached.attach",
    "compare": "runs.compare.comparison",
    "import_run": "runs.store.api",
    "load_run": "runs.store.api",
    "watch": "debugger.own_loop.watch",
}


def __getattr__(name: str) -> Any:
    # PEP 562: `import nbdebug` alone loads neither torch nor bokeh.
    if name in ("runs", "integrations"):
        # Packages, of which the first is called like a function.
        return importlib.import_module(f"nbdebug.{name}")
    if name in __all__:
        place = _PLACES.get(name, "errors")
        return getattr(importlib.import_module(f"nbdebug.{place}"), name)
    raise AttributeError(f"module 'nbdebug' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
