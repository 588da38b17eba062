"""Processes of a training, and the cell that shows its dashboard."""

from __future__ import annotations

from typing import Any

import torch

from nbdebug.core.ipython import ipython_shell


def processes() -> int:
    """Number of processes that train together."""
    distributed = torch.distributed
    running = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if running else 1


def show(dbg: Any) -> None:
    """Display the dashboard; does nothing outside of a notebook."""
    if ipython_shell() is not None:
        from IPython.display import display

        display(dbg)  # type: ignore[no-untyped-call]
