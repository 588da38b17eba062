"""Capture and restore of weights, gradients, buffers, modes and attributes of modules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from nbdebug.errors import ModelError
from nbdebug.model.state.attributes import Attributes
from nbdebug.model.state.copying import Copy, cloned

Buffers = dict[str, dict[str, torch.Tensor | None]]


@dataclass(frozen=True)
class Weights:
    """Copies of all that training changes in a model.

    Attributes:
        attributes: of modules, such as counters of a forward.
    """

    parameters: dict[str, torch.Tensor]
    requires_grad: dict[str, bool]
    buffers: Buffers
    training: dict[str, bool]
    attributes: Attributes

    @classmethod
    def capture(cls, model: nn.Module, copy: Copy = cloned) -> Weights:
        """Copy the current state.

        Raises:
            ModelError: a lazy layer has no weights yet.
        """
        named = dict(model.named_parameters())
        for name, parameter in named.items():
            if is_lazy(parameter):
                raise ModelError(f"{name} has no value yet: run one batch through the model first.")
        modules = list(model.named_modules())
        return cls(
            {name: copy(parameter) for name, parameter in named.items()},
            {name: parameter.requires_grad for name, parameter in named.items()},
            copy_buffers(model, copy),
            {name: module.training for name, module in modules},
            Attributes.capture(model, copy),
        )

    def restore(self, model: nn.Module) -> None:
        """Write the copies back; parameters stay the same objects, gradients are left alone.

        Raises:
            ModelError: the model is not the captured one; nothing is changed.
        """
        self.check(model)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(self.parameters[name])
                parameter.requires_grad_(self.requires_grad[name])
        write_buffers(model, self.buffers)
        for name, module in model.named_modules():
            module.training = self.training[name]
        self.attributes.restore(model)

    def check(self, model: nn.Module) -> None:
        """Raise ModelError if the model is not the captured one."""
        now = {name: _shape_and_dtype(parameter) for name, parameter in model.named_parameters()}
        then = {name: _shape_and_dtype(parameter) for name, parameter in self.parameters.items()}
        changed = [name for name in {**then, **now} if now.get(name) != then.get(name)]
        modules = {name for name, _ in model.named_modules()}
        changed += sorted(modules.symmetric_difference(self.training))
        if changed:
            raise ModelError(
                f"The model is not the one that was captured: {', '.join(changed)} were added, "
                "removed, or changed shape or dtype."
            )

    def tensors(self) -> list[torch.Tensor]:
        """All copied tensors."""
        kept = [buffer for module in self.buffers.values() for buffer in module.values()]
        buffers = [buffer for buffer in kept if buffer is not None]
        return [*self.parameters.values(), *buffers, *self.attributes.tensors]


def _shape_and_dtype(tensor: torch.Tensor) -> tuple[torch.Size, torch.dtype]:
    return tensor.shape, tensor.dtype


def copy_buffers(model: nn.Module, copy: Copy = cloned) -> Buffers:
    """Copies of all buffers, by module."""
    return {
        name: {
            key: buffer if buffer is None or is_lazy(buffer) else copy(buffer)
            for key, buffer in module._buffers.items()
        }
        for name, module in model.named_modules()
    }


def write_buffers(model: nn.Module, saved: Buffers) -> None:
    """Write copies of buffers back."""
    for name, module in model.named_modules():
        kept, current = saved.get(name, {}), dict(module._buffers.items())
        for key in current.keys() - kept.keys():
            del module._buffers[key]
        for key, value in kept.items():
            now = current.get(key)
            new = _with_values(now, value)
            # TorchScript modules take no new buffers, only new values.
            if new is not now or key not in current:
                module._buffers[key] = new


def _with_values(current: torch.Tensor | None, saved: torch.Tensor | None) -> torch.Tensor | None:
    """The current tensor with the saved values, or a new one if it cannot hold them."""
    if saved is None or is_lazy(saved):
        return saved
    if (
        current is None
        or is_lazy(current)
        or _shape_and_dtype(current) != _shape_and_dtype(saved)
        or _shares_elements(current)
    ):
        return saved.clone()
    with torch.no_grad():
        return current.copy_(saved)


def _shares_elements(tensor: torch.Tensor) -> bool:
    """True if several elements share one memory location, as after `expand`."""
    if tensor.layout is not torch.strided:
        return True
    return any(n > 1 and not step for n, step in zip(tensor.shape, tensor.stride(), strict=True))


def trained(*holders: Any) -> list[torch.Tensor]:
    """Parameters of modules and optimizers, and tensors that are parameters; each once."""
    found: list[torch.Tensor] = []
    for one in holders:
        if isinstance(one, nn.Module):
            found += one.parameters()
        elif isinstance(one, torch.optim.Optimizer):
            found += [p for group in one.param_groups for p in group["params"]]
        elif isinstance(one, torch.Tensor) and one.requires_grad and one.is_leaf:
            found.append(one)
    return list({id(parameter): parameter for parameter in found}.values())


class GradientCopies:
    """Copies of the gradients of parameters, which stay the same objects.

    Attributes:
        tensors: the copies.
    """

    def __init__(self, parameters: Sequence[torch.Tensor], copy: Copy = cloned) -> None:
        self._kept = [(p, None if p.grad is None else copy(p.grad)) for p in parameters]
        self.tensors = [copied for _, copied in self._kept if copied is not None]

    def restore(self) -> None:
        """Write the copies back."""
        for parameter, copied in self._kept:
            parameter.grad = None if copied is None else copied.to(parameter.device, copy=True)
