"""Trainers of other packages, watched by nbdebug: one module each, imported when it is named."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any


def __getattr__(name: str) -> Any:
    # PEP 562: `nbdebug.integrations.lightning` needs no import of its own.
    if not name.startswith("_") and find_spec(f"{__name__}.{name}") is not None:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
