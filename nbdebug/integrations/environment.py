"""Processes and dashboard of a training, and whether it goes on with an earlier one."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from nbdebug.core.ipython import ipython_shell
from nbdebug.model.joint_optimizer import members_of
from nbdebug.model.state.wrapped_optimizer import bare_optimizer


def goes_on(dbg: Any, model: nn.Module, optimizer: torch.optim.Optimizer) -> bool:
    """Tell if a training has the model and the optimizers of one that is watched."""
    session = dbg.session
    now, then = members_of(bare_optimizer(optimizer)), members_of(session.optimizer)
    same = session.model is model and [*map(id, now)] == [*map(id, then)]
    return bool(same and dbg.state != "closed")


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
