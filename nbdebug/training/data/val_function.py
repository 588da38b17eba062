"""Validation by a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from nbdebug.errors import LossError
from nbdebug.model.state.model_state import undisturbed

RETURNS = "expected a number, (number, {name: number}) or {'loss': number, name: number}"
ValFn = Callable[[nn.Module], Any]


class ValidationFunction:
    """Calls `val_fn(model)` in eval mode, without a change to training.

    Args:
        every: steps between two calls; None for once per epoch.
        gradients: True for a function that needs gradients.
    """

    source = None

    def __init__(self, function: ValFn, every: int | None, gradients: bool = False) -> None:
        self._function, self.every, self._gradients = function, every, gradients

    def due(self, step: int, last: bool) -> bool:
        """Tell if a call is due after `step` steps; `last`: at the end of an epoch."""
        return last if self.every is None else step % self.every == 0

    def evaluate(self, session: Any) -> dict[str, float]:
        """Return what the function returns, as `val_<name>`.

        Weights, gradients, buffers, attributes and random numbers stay as they are. What the
        function counts, such as its best result so far, is the user's.

        Raises:
            LossError: the function returns something else.
        """
        position = session.rng.position()
        session.rng.detect_host_draws()
        try:
            with session.rng, undisturbed(session.model, session.surroundings, validates=True):
                session.model.eval()
                with torch.set_grad_enabled(self._gradients):
                    return _named(self._function(session.model))
        finally:
            session.rng.seek(position)


def _named(found: Any) -> dict[str, float]:
    if isinstance(found, Mapping):
        values = dict(found)
    elif isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], Mapping):
        values = {"loss": found[0], **found[1]}
    else:
        values = {"loss": found}
    if "loss" not in values:
        raise LossError(f"val_fn returned {', '.join(map(str, values))}: {RETURNS}.")
    return {f"val_{name}": _number(name, value) for name, value in values.items()}


def _number(name: Any, value: Any) -> float:
    try:
        if not isinstance(name, str) or isinstance(value, bool | str):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        kind = type(value).__name__
        raise LossError(f"val_fn returned a {kind} for {name!r}: {RETURNS}.") from None
