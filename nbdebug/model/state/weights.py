"""Capture and restore of weights, buffers, modes and what modules keep in plain attributes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from nbdebug.errors import ModelError

Buffers = dict[str, dict[str, torch.Tensor | None]]
Copy = Callable[[torch.Tensor], torch.Tensor]
OWN = ("_parameters", "_buffers", "_modules", "training")
PLAIN = (int, float, complex, str, bool, bytes, type(None))


def cloned(tensor: torch.Tensor) -> torch.Tensor:
    """A copy where the tensor is."""
    return tensor.detach().clone()


def to_host(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in the host's memory; a single number stays where it is."""
    return tensor.detach().to("cpu", copy=True) if tensor.ndim else cloned(tensor)


@dataclass(frozen=True)
class Weights:
    """Copies of all that training changes in a model.

    Attributes:
        attributes: of each module, the attributes that are plain numbers, words or None: what
            a forward counts up.
    """

    parameters: dict[str, torch.Tensor]
    requires_grad: dict[str, bool]
    buffers: Buffers
    training: dict[str, bool]
    attributes: dict[str, dict[str, Any]]

    @classmethod
    def capture(cls, model: nn.Module, copy: Copy = cloned) -> Weights:
        """Copy the state as it is now.

        Raises:
            ModelError: when a lazy layer has no weights yet.
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
            {name: plain(module) for name, module in modules},
        )

    def restore(self, model: nn.Module) -> None:
        """Write the copies back; parameters stay the same objects, gradients are left alone.

        Raises:
            ModelError: when the model is not the captured one; then nothing is changed.
        """
        self.check(model)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(self.parameters[name])
                parameter.requires_grad_(self.requires_grad[name])
        write_buffers(model, self.buffers)
        for name, module in model.named_modules():
            module.training = self.training[name]
            vars(module).update(self.attributes[name])

    def check(self, model: nn.Module) -> None:
        """ModelError when the model is not the captured one."""
        now = {name: _form(parameter) for name, parameter in model.named_parameters()}
        then = {name: _form(parameter) for name, parameter in self.parameters.items()}
        changed = [name for name in {**then, **now} if now.get(name) != then.get(name)]
        modules = {name for name, _ in model.named_modules()}
        changed += sorted(modules.symmetric_difference(self.training))
        if changed:
            raise ModelError(
                f"The model is not the one that was captured: {', '.join(changed)} came, went or "
                "changed shape or dtype."
            )

    def tensors(self) -> list[torch.Tensor]:
        """All copies."""
        kept = [buffer for module in self.buffers.values() for buffer in module.values()]
        return [*self.parameters.values(), *(buffer for buffer in kept if buffer is not None)]


def plain(thing: Any) -> dict[str, Any]:
    """The attributes of an object that are plain values."""
    return {
        name: value
        for name, value in vars(thing).items()
        if name not in OWN and type(value) in PLAIN
    }


def _form(tensor: torch.Tensor) -> tuple[torch.Size, torch.dtype]:
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
    """Put copies back."""
    for name, module in model.named_modules():
        kept, current = saved.get(name, {}), dict(module._buffers.items())
        for key in current.keys() - kept.keys():
            del module._buffers[key]
        for key, value in kept.items():
            now = current.get(key)
            new = _written(now, value)
            # TorchScript modules take no new buffers, only new values.
            if new is not now or key not in current:
                module._buffers[key] = new


def _written(current: torch.Tensor | None, saved: torch.Tensor | None) -> torch.Tensor | None:
    """The current tensor with the saved values, or a new one where it cannot hold them."""
    if saved is None or is_lazy(saved):
        return saved
    if current is None or is_lazy(current) or _form(current) != _form(saved) or _repeats(current):
        return saved.clone()
    with torch.no_grad():
        return current.copy_(saved)


def _repeats(tensor: torch.Tensor) -> bool:
    """Whether several elements are one place in memory, as after `expand`."""
    if tensor.layout is not torch.strided:
        return True
    return any(n > 1 and not step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
