"""Capture and restore of weights, buffers, optimizer, schedules, modes and random numbers."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim.lr_scheduler import LRScheduler

from nbdebug.core.errors import ModelError

Buffers = dict[str, dict[str, torch.Tensor | None]]


@dataclass(frozen=True)
class RngState:
    """The global generators of torch (CPU; CUDA once it is in use), NumPy and Python."""

    python: Any
    numpy: Any
    cpu: torch.Tensor
    cuda: tuple[torch.Tensor, ...]

    @classmethod
    def capture(cls) -> RngState:
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return cls(random.getstate(), np.random.get_state(), torch.get_rng_state(), tuple(cuda))

    def restore(self) -> None:
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.cpu)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)


@dataclass(frozen=True)
class ModelState:
    """Copies of everything that training changes in a model, its optimizer and schedules."""

    parameters: dict[str, torch.Tensor]
    requires_grad: dict[str, bool]
    buffers: Buffers
    training: dict[str, bool]
    optimizer: dict[str, Any]
    optimizer_kind: type[torch.optim.Optimizer]
    schedulers: tuple[dict[str, Any], ...]

    @classmethod
    def capture(
        cls,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedulers: Sequence[LRScheduler] = (),
    ) -> ModelState:
        """Copy the state as it is now.

        Raises:
            ModelError: when a lazy layer has no weights yet.
        """
        named = dict(model.named_parameters())
        for name, parameter in named.items():
            if is_lazy(parameter):
                raise ModelError(f"{name} has no value yet: run one batch through the model first.")
        return cls(
            {name: parameter.detach().clone() for name, parameter in named.items()},
            {name: parameter.requires_grad for name, parameter in named.items()},
            _copy_buffers(model),
            {name: module.training for name, module in model.named_modules()},
            copy.deepcopy(optimizer.state_dict()),
            type(optimizer),
            tuple(copy.deepcopy(scheduler.state_dict()) for scheduler in schedulers),
        )

    def restore(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedulers: Sequence[LRScheduler] = (),
    ) -> None:
        """Write the copies back; parameters stay the same objects, gradients are left alone.

        Raises:
            ModelError: when model, optimizer or schedules are not the captured ones; then
                nothing is changed.
        """
        self._check(model, optimizer, schedulers)
        for scheduler, state in zip(schedulers, self.schedulers, strict=True):
            scheduler.load_state_dict(copy.deepcopy(state))
        optimizer.load_state_dict(copy.deepcopy(self.optimizer))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(self.parameters[name])
                parameter.requires_grad_(self.requires_grad[name])
        _write_buffers(model, self.buffers)
        for name, module in model.named_modules():
            module.training = self.training[name]

    def _check(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedulers: Sequence[LRScheduler],
    ) -> None:
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
        if type(optimizer) is not self.optimizer_kind:
            raise ModelError(
                f"Captured was {self.optimizer_kind.__name__}, the optimizer in force is "
                f"{type(optimizer).__name__}: switch back first."
            )
        groups = [len(group["params"]) for group in self.optimizer["param_groups"]]
        if groups != [len(group["params"]) for group in optimizer.param_groups]:
            raise ModelError("The optimizer's parameter groups are not those that were captured.")
        if len(schedulers) != len(self.schedulers):
            raise ModelError(
                f"Captured were {len(self.schedulers)} schedules, there are {len(schedulers)}."
            )


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Put gradients, buffers, training flags and random numbers back on exit, come what may.

    Inside, parameters begin without gradients. What forward keeps in plain Python
    attributes is not seen.
    """
    rng = RngState.capture()
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    flags = [(module, module.training) for module in model.modules()]
    buffers = _copy_buffers(model)
    try:
        for parameter, _ in gradients:
            parameter.grad = None
        yield
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient
        for module, flag in flags:
            module.training = flag
        _write_buffers(model, buffers)
        rng.restore()


def _form(tensor: torch.Tensor) -> tuple[torch.Size, torch.dtype]:
    return tensor.shape, tensor.dtype


def _copy_buffers(model: nn.Module) -> Buffers:
    return {
        name: {
            key: buffer if buffer is None or is_lazy(buffer) else buffer.detach().clone()
            for key, buffer in module._buffers.items()
        }
        for name, module in model.named_modules()
    }


def _write_buffers(model: nn.Module, saved: Buffers) -> None:
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
