"""The shell of IPython, if this code runs in one."""

from __future__ import annotations

import sys
from typing import Any


def ipython_shell() -> Any:
    """The shell of IPython: of a kernel or a terminal; None outside of it."""
    # Inside of one IPython is imported already; it is not imported elsewhere.
    if "IPython" not in sys.modules:
        return None
    from IPython.core.getipython import get_ipython

    return get_ipython()
