"""Looks at the model and the data between two steps, that training does not notice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from nbdebug.core.contexts import contextmanager
from nbdebug.model.module.forward import detached, with_leaves
from nbdebug.model.nonfinite import eager
from nbdebug.model.state.model_state import undisturbed
from nbdebug.training.engine.session import Session


@contextmanager
def reading(session: Session) -> Iterator[None]:
    """Read data beside training: what they draw and count comes back."""
    position, state, held_out = session.rng.position(), session.source.state, session.held_out
    held = None if state is None else state.now()
    kept = held_out.capture()
    try:
        with undisturbed(session.model, session.surroundings), session.rng:
            yield
    finally:
        session.rng.seek(position)
        if held is not None:
            held.restore()
        held_out.restore(kept)


@contextmanager
def looking(session: Session) -> Iterator[None]:
    """Look at the model in eval mode; weights, modes, gradients and random numbers come back."""
    position = session.rng.position()
    try:
        with undisturbed(session.model, session.surroundings), eager(session.model), session.rng:
            session.model.eval()
            yield
    finally:
        session.rng.seek(position)


def evaluated(model: torch.nn.Module, arguments: Any) -> Any:
    """Outputs of the model for copies of arguments, without a graph where it needs none itself."""
    try:
        with torch.no_grad():
            args, named = with_leaves(arguments, copied)
            return model(*args, **named)
    except RuntimeError:
        # It differentiates in its forward pass, or fails again.
        with torch.enable_grad():
            args, named = with_leaves(arguments, copied)
            return detached(model(*args, **named))


def copied(value: Any) -> Any:
    """A copy of a tensor; anything else as it is."""
    return value.detach().clone() if isinstance(value, torch.Tensor) else value
