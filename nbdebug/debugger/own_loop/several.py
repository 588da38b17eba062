"""Several modules and optimizers of a loop, given by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nbdebug.errors import ArgumentError, ModelError
from nbdebug.model.factories import are_optimizers, described, joint
from nbdebug.model.state.wrapped_optimizer import bare_optimizer

NAMES = "names of at least one letter, without a dot or a slash"


def modules(given: Any) -> nn.Module:
    """A module, or several by name in one container.

    Raises:
        ModelError: there is something else than modules.
        ArgumentError: a name cannot be one.
    """
    if not isinstance(given, Mapping) or isinstance(given, nn.Module):
        return given
    wrong = {name: one for name, one in given.items() if not isinstance(one, nn.Module)}
    if wrong or not given:
        kinds = ", ".join(f"{name} a {type(one).__name__}" for name, one in wrong.items())
        raise ModelError(f"model has {kinds or 'no module'}: expected {{name: module}}.")
    _check_names("model", given)
    try:
        return nn.ModuleDict(given)
    except (KeyError, TypeError) as error:
        raise ArgumentError(f"model: a module cannot have this name ({error}).") from error


def optimizers(given: Any) -> torch.optim.Optimizer:
    """An optimizer, or several by name as one.

    Raises:
        ArgumentError: there is something else than torch optimizers, a name cannot be one, or two
            optimizers hold the same parameter.
    """
    if isinstance(given, torch.optim.Optimizer):
        bare: torch.optim.Optimizer = bare_optimizer(given)
        return bare
    if not isinstance(given, Mapping):
        if isinstance(given, list | tuple):
            raise ArgumentError(
                'optimizer is a list: give names, such as {"G": one, "D": another}.'
            )
        raise ArgumentError(f"optimizer is {described(given)}")
    if not are_optimizers(given):
        kinds = ", ".join(f"{name} a {type(one).__name__}" for name, one in given.items())
        raise ArgumentError(
            f"optimizer has {kinds or 'nothing'}: expected {{name: torch optimizer}}."
        )
    _check_names("optimizer", given)
    given = {name: bare_optimizer(one) for name, one in given.items()}
    return next(iter(given.values())) if len(given) == 1 else joint(given)


def _check_names(argument: str, given: Mapping[Any, Any]) -> None:
    for name in given:
        if not isinstance(name, str) or not name or set(name) & {".", "/"}:
            raise ArgumentError(f"{argument} has the name {name!r}: expected {NAMES}.")
