"""A copy of what optimizers gathered, with the way back into the same objects."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy as shallow
from dataclasses import dataclass
from typing import Any

import torch

from nbdebug.model.module.forward import leaves
from nbdebug.model.state.weights import Copy, cloned, plain


@dataclass(frozen=True)
class OptimizerCopy:
    """Parameter groups, gathered state and plain attributes of one optimizer.

    Attributes:
        held: the mapping that the state lives in; relatives share one.
        state: copies of what it held, by parameter; None where a relative has them.
        groups: copies of the parameter groups; their parameters are the same objects.
    """

    optimizer: torch.optim.Optimizer
    held: dict[Any, Any]
    state: dict[Any, Any] | None
    groups: tuple[dict[str, Any], ...]
    attributes: dict[str, Any]

    @classmethod
    def capture(
        cls, optimizer: torch.optim.Optimizer, seen: set[int], copy: Copy = cloned
    ) -> OptimizerCopy:
        """Copy it; `seen` are ids of the state that was copied with a relative already."""
        held = optimizer.state
        state = None if id(held) in seen else {key: copied(v, copy) for key, v in held.items()}
        seen.add(id(held))
        groups = tuple(
            {key: list(v) if key == "params" else copied(v, copy) for key, v in group.items()}
            for group in optimizer.param_groups
        )
        return cls(optimizer, held, state, groups, plain(optimizer))

    def restore(self) -> torch.optim.Optimizer:
        """Write the copies back."""
        optimizer = self.optimizer
        optimizer.state = self.held  # type: ignore[assignment]
        if self.state is not None:
            self.held.clear()
            for key, value in self.state.items():
                device = key.device if isinstance(key, torch.Tensor) else None
                self.held[key] = _back(value, device)
        groups = optimizer.param_groups
        del groups[len(self.groups) :]
        groups.extend({} for _ in range(len(self.groups) - len(groups)))
        for group, saved in zip(groups, self.groups, strict=True):
            group.clear()
            group.update({k: list(v) if k == "params" else _back(v) for k, v in saved.items()})
        vars(optimizer).update(self.attributes)
        return optimizer

    def tensors(self) -> list[torch.Tensor]:
        """All copies."""
        kept = [] if self.state is None else list(self.state.values())
        return [leaf for leaf in leaves(kept) if isinstance(leaf, torch.Tensor)]


def copied(value: Any, copy: Copy = cloned) -> Any:
    """A copy of nested containers with tensors in them."""
    if isinstance(value, torch.Tensor):
        return copy(value)
    if isinstance(value, Mapping):
        return {key: copied(part, copy) for key, part in value.items()}
    if isinstance(value, list):
        return [copied(part, copy) for part in value]
    if type(value) is tuple:
        return tuple(copied(part, copy) for part in value)
    return shallow(value)


def _back(value: Any, device: torch.device | None = None) -> Any:
    """A copy of a copy, its tensors where they were: with their parameter, numbers on the host."""

    def placed(tensor: torch.Tensor) -> torch.Tensor:
        if device is None or not tensor.ndim:
            return tensor.clone()
        return tensor.to(device, copy=True)

    return copied(value, placed)
