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
        ModelError,
        NbdebugError,
        NonFiniteError,
        PluginError,
        ScriptError,
        SeriesError,
        TaskStopped,
    )
    from nbdebug.core.history import History
    from nbdebug.debugger import Debugger

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
    "ModelError",
    "NbdebugError",
    "NonFiniteError",
    "PluginError",
    "ScriptError",
    "SeriesError",
    "TaskStopped",
]


def __getattr__(name: str) -> Any:
    # PEP 562: `import nbdebug` alone loads neither torch nor bokeh.
    if name == "Debugger":
        return importlib.import_module("nbdebug.debugger").Debugger
    if name == "CheckReport":
        return importlib.import_module("nbdebug.core.checklist").CheckReport
    if name == "History":
        return importlib.import_module("nbdebug.core.history").History
    if name in __all__:
        return getattr(importlib.import_module("nbdebug.core.errors"), name)
    raise AttributeError(f"module 'nbdebug' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
