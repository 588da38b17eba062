"""Modules, optimizers and schedulers of a loop, which may be several, given by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from nbdebug.errors import ArgumentError, ModelError
from nbdebug.model.factories import are_optimizers, described, joint
from nbdebug.model.joint_optimizer import JointOptimizer, members_of
from nbdebug.model.state.wrapped_optimizer import bare_optimizer

NO_SCHEDULER = (
    "expected one of torch.optim.lr_scheduler. One of another kind goes back too as "
    'state={"scheduler": it}, and is not scaled with lr.'
)
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


def with_schedulers(
    state: Mapping[str, Any] | None, given: Any, chosen: torch.optim.Optimizer
) -> Mapping[str, Any] | None:
    """Objects that are registered by name, with the schedulers.

    Raises:
        ArgumentError: see `schedulers`.
    """
    found = schedulers(given, chosen)
    if not found or not isinstance(state, Mapping | None):
        return state
    taken = state or {}
    return {**taken, **{f"{n}=" if n in taken else n: one for n, one in found.items()}}


def schedulers(given: Any, chosen: torch.optim.Optimizer) -> dict[str, LRScheduler]:
    """Schedulers by a name for messages: one, a list of them, or {optimizer: one or a list}.

    Raises:
        ArgumentError: there is something else, or it belongs to another optimizer.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        return _of_members("scheduler", given, members_of(chosen))
    members = chosen.members if isinstance(chosen, JointOptimizer) else {}
    found = dict[str, LRScheduler]()
    for name, one in given.items():
        if name not in members:
            known = ", ".join(members) or "none: give the scheduler itself"
            raise ArgumentError(
                f"scheduler has the name {name!r:.80}; names of optimizers are {known}."
            )
        found |= _of_members(f"scheduler of {name}", one, (members[name],))
    return found


def _of_members(
    place: str, given: Any, wanted: tuple[torch.optim.Optimizer, ...]
) -> dict[str, LRScheduler]:
    each = list(given) if isinstance(given, list | tuple) else [given]
    found = dict[str, LRScheduler]()
    for number, one in enumerate(each):
        # Accelerate wraps it, to step it as often as the optimizer.
        bare = one if isinstance(one, LRScheduler) else getattr(one, "scheduler", one)
        if not isinstance(bare, LRScheduler):
            raise ArgumentError(f"{place} is a {type(one).__name__}: {NO_SCHEDULER}")
        if not any(bare_optimizer(bare.optimizer) is member for member in wanted):
            raise ArgumentError(
                f"{place}: this {type(bare).__name__} belongs to another optimizer. Build it on "
                "the one that is watched."
            )
        found[f"{place} {number}" if len(each) > 1 else place] = bare
    return found


def _check_names(argument: str, given: Mapping[Any, Any]) -> None:
    for name in given:
        if not isinstance(name, str) or not name or set(name) & {".", "/"}:
            raise ArgumentError(f"{argument} has the name {name!r}: expected {NAMES}.")
