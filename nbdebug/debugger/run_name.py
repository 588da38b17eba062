"""Name of a training that the user gave none."""

from __future__ import annotations

import os
import sys
from pathlib import Path, PurePosixPath
from typing import Any

from nbdebug.debugger.notebook_cells import notebook_variable

# Set by Jupyter Server for the kernels of a session, and by VS Code in the user's namespace.
SESSION_VARIABLE = "JPY_SESSION_NAME"
VSCODE_VARIABLE = "__vsc_ipynb_file__"
MAX_NAME_LENGTH = 100


def default_name(model: Any) -> str:
    """Name after the notebook, else the script, else the class of the model."""
    found = _notebook() or _script() or type(model).__name__
    return found[:MAX_NAME_LENGTH]


def caller_name() -> str:
    """Name of the notebook or script that calls, for others to see."""
    return (_notebook() or _script() or "python")[:MAX_NAME_LENGTH]


def _notebook() -> str:
    """Name of the notebook's file without its ending, "" if unknown."""
    path = notebook_variable(VSCODE_VARIABLE) or os.environ.get(SESSION_VARIABLE, "")
    name = PurePosixPath(str(path).replace("\\", "/")).name
    return name.removesuffix(".ipynb") if name.endswith(".ipynb") else ""


def _script() -> str:
    """Name of the script that runs, without its ending; "" for an installed program."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if not isinstance(file, str):
        return ""
    path = Path(file).resolve()
    installed = [Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)]
    if path.stem == "__main__" or "site-packages" in path.parts:
        return ""
    return "" if any(prefix in path.parents for prefix in installed) else path.stem
