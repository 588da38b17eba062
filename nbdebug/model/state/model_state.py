"""Capture and restore of weights, buffers, optimizer, schedules, modes and random numbers."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from nbdebug.core.contexts import contextmanager
from nbdebug.errors import ModelError
from nbdebug.model.state.attributes import Attributes
from nbdebug.model.state.copying import cloned
from nbdebug.model.state.optimizer import OptimizerCopy
from nbdebug.model.state.random_numbers.numpy_generator import NUMPY
from nbdebug.model.state.surroundings import Surroundings
from nbdebug.model.state.values.surroundings_copy import NO_SURROUNDINGS
from nbdebug.model.state.weights import Weights, copy_buffers, trained, write_buffers


class RngState(NamedTuple):
    """States of the global generators of torch (CPU; CUDA if initialized), NumPy and Python."""

    python: Any
    numpy: Any
    cpu: torch.Tensor
    cuda: tuple[torch.Tensor, ...]

    @classmethod
    def capture(cls) -> RngState:
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return cls(random.getstate(), NUMPY.capture(), torch.get_rng_state(), tuple(cuda))

    def restore(self) -> None:
        """Set the generators; one of a GPU only where it has moved.

        Whenever a generator of a GPU is set, cuDNN draws the dropout of recurrent layers from
        another sequence, which no function of torch gets or sets.
        """
        random.setstate(self.python)
        NUMPY.restore(self.numpy)
        torch.set_rng_state(self.cpu)
        for device, state in enumerate(self.cuda):
            if not torch.equal(torch.cuda.get_rng_state(device), state):
                torch.cuda.set_rng_state(state, device)


@dataclass(frozen=True)
class ModelState:
    """Copies of all that training changes in a model, its optimizer and its schedulers."""

    weights: Weights
    optimizer: OptimizerCopy
    optimizer_kind: type[torch.optim.Optimizer]
    schedulers: tuple[dict[str, Any], ...]

    @classmethod
    def capture(
        cls,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedulers: Sequence[LRScheduler] = (),
    ) -> ModelState:
        """Copy the current state.

        Raises:
            ModelError: a lazy layer has no weights yet.
        """
        return cls(
            Weights.capture(model),
            OptimizerCopy.capture(optimizer, set()),
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
            ModelError: model, optimizer or schedulers are not the captured ones; nothing is
                changed.
        """
        self.weights.check(model)
        self._check(optimizer, schedulers)
        for scheduler, state in zip(schedulers, self.schedulers, strict=True):
            scheduler.load_state_dict(copy.deepcopy(state))
        self.optimizer.restore()
        self.weights.restore(model)

    def _check(self, optimizer: torch.optim.Optimizer, schedulers: Sequence[LRScheduler]) -> None:
        if type(optimizer) is not self.optimizer_kind:
            raise ModelError(
                f"Captured was {self.optimizer_kind.__name__}, the optimizer in force is "
                f"{type(optimizer).__name__}: switch back first."
            )
        groups = [len(group["params"]) for group in self.optimizer.groups]
        if groups != [len(group["params"]) for group in optimizer.param_groups]:
            raise ModelError("The optimizer's parameter groups are not those that were captured.")
        if len(schedulers) != len(self.schedulers):
            raise ModelError(
                f"Captured were {len(self.schedulers)} schedules, there are {len(schedulers)}."
            )


@contextmanager
def undisturbed(
    model: nn.Module, around: Surroundings | None = None, validates: bool = False
) -> Iterator[None]:
    """Restore gradients, buffers, training flags and random number generators on exit.

    Inside, parameters begin without gradients. Attributes of modules are restored too, see
    `Attributes`, and, if given, what loss and step function reach, see `Surroundings`.

    Args:
        validates: what the user collects in metrics and hooks stays.
    """
    rng = RngState.capture()
    reached = [] if around is None else around.values()
    gradients = [(parameter, parameter.grad) for parameter in trained(model, *reached)]
    flags = [(module, module.training) for module in model.modules()]
    buffers = copy_buffers(model)
    attributes = Attributes.capture(model, cloned)
    outside = NO_SURROUNDINGS
    if around is not None:
        outside = around.capture_for_validation() if validates else around.capture(records=True)
    try:
        for parameter, _ in gradients:
            parameter.grad = None
        yield
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient
        for module, flag in flags:
            module.training = flag
        write_buffers(model, buffers)
        attributes.restore(model)
        outside.restore()
        rng.restore()
