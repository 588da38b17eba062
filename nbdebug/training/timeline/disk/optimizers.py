"""Plain form of optimizers, and of what the last re-initialisation overwrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from nbdebug.errors import CheckpointError
from nbdebug.model.initialisation import Overwritten
from nbdebug.model.joint_optimizer import JointOptimizer
from nbdebug.model.schedule.builders import LR_OPTIONS
from nbdebug.model.state.attributes import is_code
from nbdebug.model.state.optimizer import OptimizerCopy
from nbdebug.training.engine.session import Session
from nbdebug.training.timeline.disk.records import decoded, encoded


def optimizers_to_plain(
    optimizers: Mapping[str, OptimizerCopy], session: Session
) -> dict[str, Any]:
    """Convert copies of optimizers, with the groups of kinds that share their state."""
    names = {p: name for name, p in session.trained_parameters().items()}
    shared: dict[int, list[str]] = {}
    for kind, copy in optimizers.items():
        shared.setdefault(id(copy.held), []).append(kind)
    return {
        "optimizers": [[kind, _to_plain(copy, names)] for kind, copy in optimizers.items()],
        "shared": list(shared.values()),
    }


def _to_plain(copy: OptimizerCopy, names: Mapping[Any, str]) -> dict[str, Any]:
    if isinstance(copy.optimizer, JointOptimizer):
        parts = zip(copy.optimizer.members, copy.parts, strict=True)
        return {"members": [[name, _to_plain(part, names)] for name, part in parts]}
    return {
        "class": type(copy.optimizer).__name__,
        "state": None if copy.state is None else {names[p]: s for p, s in copy.state.items()},
        "groups": [
            {k: [names[p] for p in v] if k == "params" else encoded(v) for k, v in group.items()}
            for group in copy.groups
        ],
        "attributes": copy.attributes,
    }


def optimizers_from_plain(data: Mapping[str, Any], session: Session) -> dict[str, OptimizerCopy]:
    """Convert back, for `Optimizers.restore`.

    Raises:
        CheckpointError: the optimizer is another one, or lacks parameters.
    """
    parameters = session.trained_parameters()
    found: dict[str, OptimizerCopy] = {}
    held = {kind: shared[0] for shared in data["shared"] for kind in shared}
    mappings: dict[str, dict[Any, Any]] = {}
    for kind, saved in data["optimizers"]:
        optimizer = session.optimizers.made(kind)
        if isinstance(optimizer, JointOptimizer) or "members" in saved:
            found[kind] = _joint_from_plain(saved, optimizer, parameters)
            continue
        mapping = mappings.setdefault(held[kind], optimizer.state)
        found[kind] = _from_plain(saved, optimizer, parameters, mapping)
    return found


def _from_plain(
    saved: Mapping[str, Any],
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, Any],
    mapping: dict[Any, Any],
) -> OptimizerCopy:
    _check(saved, optimizer, parameters)
    state = saved["state"]
    groups = tuple(
        {
            key: [parameters[n] for n in value] if key == "params" else decoded(value)
            for key, value in group.items()
        }
        for group in saved["groups"]
    )
    copied = None if state is None else {parameters[n]: s for n, s in state.items()}
    return OptimizerCopy(optimizer, mapping, copied, groups, saved["attributes"])


def _joint_from_plain(
    saved: Mapping[str, Any], optimizer: torch.optim.Optimizer, parameters: Mapping[str, Any]
) -> OptimizerCopy:
    then = [name for name, _ in saved.get("members", ())]
    members = optimizer.members if isinstance(optimizer, JointOptimizer) else {}
    if then != list(members):
        raise CheckpointError(
            f"The checkpoint has the optimizers {', '.join(then) or 'of one kind'}, this Debugger "
            f"{', '.join(members) or type(optimizer).__name__}: give the same optimizer= as before."
        )
    parts = tuple(
        _from_plain(part, members[name], parameters, members[name].state)
        for name, part in saved["members"]
    )
    groups = tuple(group for part in parts for group in part.groups)
    return OptimizerCopy(optimizer, {}, None, groups, {}, parts)


def _check(saved: Mapping[str, Any], optimizer: Any, parameters: Mapping[str, Any]) -> None:
    kind = type(optimizer).__name__
    if kind != saved["class"]:
        raise CheckpointError(
            f"The checkpoint has a {saved['class']}, this Debugger a {kind}: give the same "
            "optimizer= as before."
        )
    held = [name for group in saved["groups"] for name in group["params"]]
    unknown = [name for name in (*held, *(saved["state"] or ())) if name not in parameters]
    if unknown or len(set(held)) < len(held):
        raise CheckpointError(
            f"The parameters of {kind} are not those of the model: {', '.join(unknown) or held}."
        )
    for now, then in zip(optimizer.param_groups, saved["groups"], strict=False):
        now_held = {id(parameter) for parameter in now["params"]}
        _check_options(now, then, kind)
        missing = sorted(now.keys() - then.keys() - {"initial_lr", "max_lr", "min_lr"})
        if missing or now_held != {id(parameters[name]) for name in then["params"]}:
            raise CheckpointError(
                f"A parameter group of {kind} differs from that of the checkpoint"
                f"{': ' + ', '.join(missing) + ' is missing' if missing else ''}."
            )
    for name, value in saved["attributes"].items():
        there = vars(optimizer).get(name, value)
        if is_code(type(optimizer), name) or isinstance(there, str) != isinstance(value, str):
            raise CheckpointError(f"{name} of {kind} would become {value!r:.60}.")


def _check_options(now: Mapping[str, Any], then: Mapping[str, Any], kind: str) -> None:
    """An option has the type of before; those of the device stay as they are."""
    for name, value in then.items():
        there = now.get(name)
        fits = True
        if name in ("capturable", "differentiable"):
            fits = type(value) is type(there) and value == there
        elif name in ("foreach", "fused"):
            fits = isinstance(value, bool | None)
        elif isinstance(there, bool):
            fits = isinstance(value, bool)
        elif isinstance(there, int | float):
            fits = isinstance(value, int | float) and not isinstance(value, bool)
        elif isinstance(there, torch.Tensor):
            fits = isinstance(value, torch.Tensor) and value.shape == there.shape
        elif isinstance(there, list | tuple) and name != "params":
            fits = isinstance(value, list | tuple) and len(value) == len(there)
        elif name in LR_OPTIONS:
            fits = isinstance(value, int | float | torch.Tensor) and not isinstance(value, bool)
        if not fits:
            raise CheckpointError(f"{name} of {kind} was {value!r:.60}, now it is {there!r:.60}.")


def overwritten_to_plain(
    kept: Overwritten | None, optimizers: Mapping[str, OptimizerCopy], session: Session
) -> dict[str, Any] | None:
    """Convert what the last re-initialisation overwrote, which `undo` writes back."""
    if kept is None:
        return None
    model = session.model
    names = {id(t): name for name, t in (*model.named_parameters(), *model.named_buffers())}
    kinds = [kind for kind, copy in optimizers.items() if copy.held is kept.state]
    if not kinds or any(id(tensor) not in names for tensor, _ in kept.values):
        # The optimizer or a buffer has been replaced since: nothing is left to write to.
        return None
    return {
        "values": {names[id(tensor)]: value for tensor, value in kept.values},
        "optimizer": kinds[0],
        "state": {names[id(t)]: state for t, state in kept.optimizer_state.items()},
    }


def overwritten_from_plain(
    saved: Mapping[str, Any] | None, optimizers: Mapping[str, OptimizerCopy], session: Session
) -> Overwritten | None:
    """Convert back, for `Initialisation.restore`.

    Raises:
        CheckpointError: a tensor is not one of the model.
    """
    if saved is None:
        return None
    model = session.model
    tensors = dict((*model.named_parameters(), *model.named_buffers()))
    unknown = sorted((saved["values"].keys() | saved["state"].keys()) - tensors.keys())
    if unknown or saved["optimizer"] not in optimizers:
        raise CheckpointError(f"What a re-initialisation overwrote does not fit: {unknown}.")
    for name, value in saved["values"].items():
        there = tensors[name]
        if (there.shape, there.dtype) != (value.shape, value.dtype):
            raise CheckpointError(f"{name}, which a re-initialisation overwrote, does not fit.")
    return Overwritten(
        [(tensors[name], value) for name, value in saved["values"].items()],
        {tensors[name]: state for name, state in saved["state"].items()},
        optimizers[saved["optimizer"]].held,
    )
