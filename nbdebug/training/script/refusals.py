"""Trainings that cannot be written as a plain program, and what their step_fn returns."""

from __future__ import annotations

import torch

from nbdebug.errors import ScriptError
from nbdebug.training.engine.session import Session


def check_writable(session: Session) -> None:
    """Raise ScriptError for a training that no plain program would repeat."""
    if session.body is not None:
        raise ScriptError("The loop is your own: its code is the program.")
    if session.named_optimizers:
        raise ScriptError("There are several optimizers, which the script would not know to build.")
    loss_fn = session.loss_fn
    if isinstance(loss_fn, torch.nn.Module) and any(p.requires_grad for p in loss_fn.parameters()):
        raise ScriptError(
            "loss_fn has parameters that are trained; the script would have new ones."
        )
    if session.optimizer.state:
        raise ScriptError("The optimizer had state before training began.")


def loss_in_step(session: Session) -> str:
    """Index of the loss in what step_fn returns, as code; "" if it returns the loss alone."""
    return "" if session.loss_index is None else f"[{session.loss_index!r}]"
