"""Validation by a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from nbdebug.core.commands.loops import is_readable
from nbdebug.core.contexts import contextmanager
from nbdebug.errors import LossError
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.state.model_state import undisturbed

RETURNS = "expected a number, (number, {name: number}) or {'loss': number, name: number}"
CHANGES = (
    "val_fn changed the model: {}. That was put back, since a validation must not move the "
    "training. Change a copy.deepcopy(model), or put back in val_fn what it changes."
)
NEEDS_GRADIENTS = (
    "{} takes a gradient, and the validation runs without: pass val_grad=True to the Debugger."
)
# Weights of larger models are not copied for each validation.
MAX_COPIED_BYTES = 2**28
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
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

        Gradients, buffers, attributes and random numbers are put back. What the function counts,
        such as its best result so far, is the user's.

        Raises:
            LossError: the function returns something else, needs gradients and has none, or it
                changed weights, what is trained, or hooks; those are put back (weights of up to
                256 MB).
        """
        position = session.rng.position()
        session.rng.detect_host_draws()
        try:
            with session.rng, undisturbed(session.model, session.surroundings, validates=True):
                session.model.eval()
                with _unchanged(session.model), grad_enabled(self._gradients, "val_fn"):
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
    if isinstance(name, str) and not is_readable(name):
        raise LossError(f"val_fn named a value {name!r:.80}: expected signs that can be seen.")
    try:
        if not isinstance(name, str) or isinstance(value, bool | str):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        kind = type(value).__name__
        raise LossError(f"val_fn returned a {kind} for {name!r}: {RETURNS}.") from None


@contextmanager
def grad_enabled(enabled: bool, name: str) -> Iterator[None]:
    """Context with or without gradients.

    Raises:
        LossError: the function `name` takes a gradient, and there are none.
    """
    try:
        with torch.set_grad_enabled(enabled):
            yield
    except RuntimeError as error:
        if enabled or "does not require grad" not in str(error):
            raise
        raise LossError(NEEDS_GRADIENTS.format(name)) from error


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Put weights, what is trained, and hooks back on exit, and raise if they were changed."""
    named = dict(model.named_parameters())
    flags = {name: parameter.requires_grad for name, parameter in named.items()}
    small = sum(parameter.nbytes for parameter in named.values()) <= MAX_COPIED_BYTES
    copies = {name: parameter.detach().clone() for name, parameter in named.items() if small}
    tables = [
        (place, hooks, dict(hooks))
        for place, module in model.named_modules()
        for hooks in (getattr(module, kind) for kind in HOOKS)
    ]
    try:
        yield
    finally:
        changed = [name for name, kept in copies.items() if not bitwise_equal(named[name], kept)]
        with torch.no_grad():
            for name in changed:
                named[name].copy_(copies[name])
        trained = [name for name, flag in flags.items() if named[name].requires_grad != flag]
        for name in trained:
            named[name].requires_grad_(flags[name])
        hooked = [place or "the model" for place, hooks, kept in tables if dict(hooks) != kept]
        for _, hooks, kept in tables:
            hooks.clear()
            hooks.update(kept)
    said = {
        "values of {}": changed,
        "requires_grad of {}": trained,
        "hooks of {}": list(dict.fromkeys(hooked)),
    }
    found = [words.format(", ".join(names[:5])) for words, names in said.items() if names]
    if found:
        raise LossError(CHANGES.format("; ".join(found)))
