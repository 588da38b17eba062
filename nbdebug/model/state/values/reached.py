"""A value with a state that the user's code reaches, and what counts as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Dataset, Sampler

from nbdebug.model.state.values.places import GENERATOR_TYPES
from nbdebug.model.state.values.written import Wanted, is_large, none_of_them

# A container with more tensors holds data, which training only reads.
MAX_PARTS = 64
# Up to this size a variable may carry the result of a step to the next one.
MAX_CARRIED_BYTES = 2**20
TRAINED_TYPES = (
    nn.Module, torch.optim.Optimizer, LRScheduler, torch.amp.GradScaler, torch.Tensor,
    *GENERATOR_TYPES,
)  # fmt: skip
DATA_TYPES = (Dataset, DataLoader, Sampler)
Bind = Callable[[Any], None]


@dataclass(frozen=True)
class Reached:
    """A value with a state that the user's code reaches.

    Attributes:
        place: its name, for messages and files.
        value: a network, optimizer, schedule, scaler, generator or tensor.
        bind: binds another value to the name; None where code cannot bind one.
        shared: True for one of several names of a value, such as a batch that is kept for the next
            step.
    """

    place: str
    value: Any
    bind: Bind | None = None
    shared: bool = False


def is_carried(value: Any) -> bool:
    """True for a tuple of tensors that one step binds and the next one reads, as of an LSTM."""
    if not isinstance(value, tuple) or not value:
        return False
    parts = all(isinstance(part, torch.Tensor) or is_carried(part) for part in value)
    return parts and not any(is_data(part, True) for part in value)


def is_data(value: Any, bound: bool, large: Wanted = none_of_them) -> bool:
    """True for a tensor that training reads, or that one step makes and drops.

    Args:
        bound: True if the tensor can be bound again, such as a hidden state with its graph.
        large: tells which large tensors are no data, such as those that code writes into.
    """
    if not isinstance(value, torch.Tensor):
        return False
    if value.grad_fn is not None:
        return not bound or value.nbytes > MAX_CARRIED_BYTES
    return is_large(value) and not large(value)
