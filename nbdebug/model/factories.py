"""Optimizers and schedulers that are given by name, as objects or as factories."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from nbdebug.core.names import did_you_mean
from nbdebug.errors import ArgumentError, ModelError
from nbdebug.model.freezing import learnable
from nbdebug.model.joint_optimizer import JointOptimizer
from nbdebug.model.module.names import trainable
from nbdebug.model.optimizers import OPTIMIZERS, build

OneOptimizer = str | torch.optim.Optimizer | Callable[[Any], torch.optim.Optimizer]
OptimizerLike = OneOptimizer | Mapping[str, torch.optim.Optimizer]

DEFAULT_LR = 1e-3
Kind = Literal["optimizer", "schedule"]
WANTED = {
    "optimizer": "a name, a torch.optim.Optimizer, or a factory that takes the parameters",
    "schedule": "a name, a torch.optim.lr_scheduler object, or a factory that takes the optimizer",
}
ONE_LOOP = {
    "optimizer": (' Give several optimizers by name: {"body": one, "head": another}.'),
    "schedule": " Join several in a torch.optim.lr_scheduler.SequentialLR or ChainedScheduler.",
}


def check_factory(kind: Kind, given: Any, argument: str) -> None:
    """Raise ArgumentError if an object cannot be called with one argument.

    Args:
        argument: name of what the factory is called with.
    """
    if isinstance(given, list | tuple | set | Mapping):
        parts = given.values() if isinstance(given, Mapping) else given
        kinds = ", ".join(sorted({type(part).__name__ for part in parts})) or "nothing"
        raise ArgumentError(
            f"{kind} is a {type(given).__name__} of {kinds}: expected {WANTED[kind]}."
            f"{ONE_LOOP[kind]}"
        )
    if not callable(given) or inner_of(given) is not None:
        raise ArgumentError(f"{kind} is {described(given, kind)}")
    try:
        signature = inspect.signature(given)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(None)
    except TypeError as error:
        name = getattr(given, "__name__", type(given).__name__)
        raise ArgumentError(
            f"{kind}={name} is called with the {argument} alone, which does not fit ({error}): "
            f"give a function such as lambda {argument}: {name}({argument}, ...)."
        ) from error


def described(thing: Any, kind: str = "optimizer") -> str:
    """End of a sentence about an object that is no optimizer or scheduler."""
    kind = "schedule" if kind == "scheduler" else kind
    inner = inner_of(thing)
    if inner is not None:
        return (
            f"a {type(thing).__name__}, which wraps a {type(inner).__name__}: give the wrapped "
            f"object itself. Expected {WANTED[kind]}."
        )
    return f"a {type(thing).__name__}: expected {WANTED[kind]}."


def inner_of(thing: Any) -> torch.optim.Optimizer | LRScheduler | None:
    """The optimizer or scheduler in a wrapper, None if an object is no wrapper."""
    if isinstance(thing, type):
        return None
    for name in ("optimizer", "scheduler", "_optimizer", "_scheduler", "optim", "base_optimizer"):
        try:
            inner = getattr(thing, name, None)
        except Exception:
            continue
        if isinstance(inner, torch.optim.Optimizer | LRScheduler):
            return inner
    return None


def check_function(name: str, value: Any) -> None:
    """Check an argument that is a function or a module, or None.

    Raises:
        ArgumentError: the argument is no function, or the class of a module.
    """
    if value is not None and not callable(value):
        raise ArgumentError(f"{name} is a {type(value).__name__}: expected a function.")
    if isinstance(value, type) and issubclass(value, nn.Module):
        call = f"{value.__name__}()"
        raise ArgumentError(f"{name} is the class {value.__name__}, not a loss: write {call}.")


def make_optimizer(
    wanted: OptimizerLike,
    lr: float | None,
    model: nn.Module,
    loss_fn: Any = None,
    *,
    own_loop: bool = False,
) -> torch.optim.Optimizer:
    """Create the requested optimizer and check it against the model.

    Args:
        loss_fn: its parameters, if it has any, are trained too.
        own_loop: True if a loop of the user's own calls it, which may train more than the model.

    Raises:
        ModelError: the optimizer does not hold the model's parameters.
        ArgumentError: the name is unknown.
    """
    own = loss_fn.parameters() if isinstance(loss_fn, nn.Module) else ()
    beside = [parameter for parameter in own if parameter.requires_grad]
    if isinstance(wanted, str):
        if wanted not in OPTIMIZERS:
            raise ArgumentError(
                f"optimizer must be one of {', '.join(OPTIMIZERS)}, an optimizer or a factory; "
                f"got {wanted!r}.{did_you_mean(wanted, OPTIMIZERS)}"
            )
        lr = DEFAULT_LR if lr is None else lr
        # Frozen parameters have no gradient and are skipped until they are unfrozen.
        return build(wanted, [*(p for _, p in learnable(model)), *beside], lr=lr)
    optimizer: Any = wanted
    if isinstance(wanted, Mapping) and are_optimizers(wanted):
        optimizer = joint(wanted)
    elif not isinstance(optimizer, torch.optim.Optimizer):
        check_factory("optimizer", wanted, "parameters")
        optimizer = optimizer(iter([*(p for _, p in trainable(model)), *beside]))
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ArgumentError(f"optimizer gave {described(optimizer)}")
    _check_parameters(optimizer, model, beside, own_loop)
    return optimizer


def are_optimizers(named: Mapping[Any, Any]) -> bool:
    """True for torch optimizers by name."""
    kinds = all(isinstance(one, torch.optim.Optimizer) for one in named.values())
    return kinds and bool(named) and all(isinstance(name, str) and name for name in named)


def joint(named: Mapping[str, torch.optim.Optimizer]) -> torch.optim.Optimizer:
    """One optimizer, or several by name as one.

    Raises:
        ArgumentError: two of them hold the same parameter.
    """
    holders: dict[int, str] = {}
    for name, one in named.items():
        held = {id(p) for group in one.param_groups for p in group["params"]}
        if both := held & holders.keys():
            other = holders[both.pop()]
            raise ArgumentError(
                f"The optimizers {other!r} and {name!r} hold the same parameter: give each "
                "parameter to one of them."
            )
        holders |= dict.fromkeys(held, name)
    return JointOptimizer(named)


def _check_parameters(
    optimizer: torch.optim.Optimizer,
    model: nn.Module,
    beside: Sequence[nn.Parameter],
    own_loop: bool,
) -> None:
    members = getattr(optimizer, "members", {"": optimizer}).values()
    if any(isinstance(one, torch.optim.LBFGS) for one in members) and not own_loop:
        raise ModelError(
            "LBFGS calls the model several times a step: train it in a loop of your own, with "
            "nbd.watch(model, optimizer)."
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    missing = [name for name, parameter in trainable(model) if id(parameter) not in held]
    foreign = len(held - {id(p) for p in (*model.parameters(), *beside)})
    if (foreign and not own_loop) or len(missing) == len(trainable(model)):
        raise ModelError(
            f"The optimizer does not hold this model's parameters ({foreign} of its {len(held)} "
            "belong to something else). Build it on model.parameters() after the model."
        )
    if any(id(p) not in held for p in beside) and not own_loop:
        raise ModelError(
            "loss_fn has parameters that the optimizer does not hold, so that they would never "
            "learn: build it on [*model.parameters(), *loss_fn.parameters()], or freeze them."
        )
