"""The only place of the tests that reaches into a Debugger."""

from __future__ import annotations

import torch

import nbdebug as nbd
from nbdebug.training.engine.session import Session


def session_of(dbg: nbd.Debugger) -> Session:
    """Model, optimizer, loss, sampler and device of a training."""
    return dbg._worker._loop.session


def optimizer_of(dbg: nbd.Debugger) -> torch.optim.Optimizer:
    """The optimizer in force."""
    return session_of(dbg).optimizer
