"""Copies of optimizers, which are restored into the same objects."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy as shallow
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from nbdebug.core.error_text import describe_error
from nbdebug.errors import CheckpointError
from nbdebug.model.joint_optimizer import JointOptimizer
from nbdebug.model.module.forward import leaves
from nbdebug.model.state.copying import Copy, cloned, simple_attributes


@dataclass(frozen=True)
class OptimizerCopy:
    """Parameter groups, state and simple attributes of one optimizer.

    Attributes:
        held: the mapping that holds the state; optimizers of one family share it.
        state: copies of its values by parameter; None if they are in the copy of another
            optimizer of the family.
        groups: copies of the parameter groups; their parameters are the same objects.
        parts: copies of the members of a joint optimizer, which hold all of it.
    """

    optimizer: torch.optim.Optimizer
    held: dict[Any, Any]
    state: dict[Any, Any] | None
    groups: tuple[dict[str, Any], ...]
    attributes: dict[str, Any]
    parts: tuple[OptimizerCopy, ...] = ()

    @classmethod
    def capture(
        cls, optimizer: torch.optim.Optimizer, seen: set[int], copy: Copy = cloned
    ) -> OptimizerCopy:
        """Copy an optimizer; `seen` holds ids of state mappings that are copied already.

        Raises:
            CheckpointError: the state holds an object that cannot be copied, such as a lock.
        """
        if isinstance(optimizer, JointOptimizer):
            parts = tuple(cls.capture(one, seen, copy) for one in optimizer.members.values())
            groups = tuple(group for part in parts for group in part.groups)
            return cls(optimizer, {}, None, groups, {}, parts)
        held = optimizer.state
        copied = partial(_copied, optimizer, copy)
        state = None if id(held) in seen else {key: copied(v) for key, v in held.items()}
        seen.add(id(held))
        groups = tuple(
            {key: list(v) if key == "params" else copied(v) for key, v in group.items()}
            for group in optimizer.param_groups
        )
        return cls(optimizer, held, state, groups, simple_attributes(optimizer))

    def restore(self) -> torch.optim.Optimizer:
        """Write the copies back."""
        optimizer = self.optimizer
        if self.parts:
            for part in self.parts:
                part.restore()
            return optimizer
        optimizer.state = self.held  # type: ignore[assignment]
        if self.state is not None:
            self.held.clear()
            for key, value in self.state.items():
                device = key.device if isinstance(key, torch.Tensor) else None
                self.held[key] = _restored(value, device)
        groups = optimizer.param_groups
        del groups[len(self.groups) :]
        groups.extend({} for _ in range(len(self.groups) - len(groups)))
        for group, saved in zip(groups, self.groups, strict=True):
            group.clear()
            group.update({k: list(v) if k == "params" else _restored(v) for k, v in saved.items()})
        vars(optimizer).update(self.attributes)
        return optimizer

    def tensors(self) -> list[torch.Tensor]:
        """All copied tensors."""
        if self.parts:
            return [tensor for part in self.parts for tensor in part.tensors()]
        kept = [] if self.state is None else list(self.state.values())
        return [leaf for leaf in leaves(kept) if isinstance(leaf, torch.Tensor)]


def _copied(optimizer: torch.optim.Optimizer, copy: Copy, value: Any) -> Any:
    try:
        return copy_nested(value, copy)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        names = ", ".join(map(str, value)) if isinstance(value, Mapping) else type(value).__name__
        raise CheckpointError(
            f"The state of the optimizer {type(optimizer).__name__} cannot be copied "
            f"({describe_error(error)}). It holds {names}: keep only tensors, numbers and "
            "containers of them there. Without a copy there is no checkpoint, rewind, fork or "
            "replay."
        ) from error


def copy_nested(value: Any, copy: Copy = cloned) -> Any:
    """A copy of nested containers and the tensors in them."""
    if isinstance(value, torch.Tensor):
        return copy(value)
    if isinstance(value, Mapping):
        return {key: copy_nested(part, copy) for key, part in value.items()}
    if isinstance(value, list):
        return [copy_nested(part, copy) for part in value]
    if type(value) is tuple:
        return tuple(copy_nested(part, copy) for part in value)
    return shallow(value)


def _restored(value: Any, device: torch.device | None = None) -> Any:
    """A copy of a saved value; tensors go to the parameter's device, scalars stay on the host."""

    def placed(tensor: torch.Tensor) -> torch.Tensor:
        if device is None or not tensor.ndim:
            return tensor.clone()
        return tensor.to(device, copy=True)

    return copy_nested(value, placed)
