"""Values from a checkpoint file that may be set on a model, an optimizer or a schedule.

A file is read without executing code, but an attribute named `forward` would still replace the
method: only plain values are set, and only where there is nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import getattr_static
from typing import Any

import numpy as np
import torch
from torch import nn

from nbdebug.errors import CheckpointError
from nbdebug.model.state.weights import SIMPLE_TYPES, Weights

ARRAY_KINDS = "biuf"


def weights_from_file(saved: Mapping[str, Any], model: nn.Module) -> Weights:
    """Weights of a checkpoint, for this model.

    Raises:
        CheckpointError: a value is none that training could have left there.
        ModelError: the model is not the captured one.
    """
    weights = Weights(**saved)
    weights.check(model)
    for flags in (weights.requires_grad, weights.training):
        if not all(isinstance(flag, bool) for flag in flags.values()):
            raise CheckpointError("The checkpoint has a flag that is neither True nor False.")
    for module, buffers in weights.buffers.items():
        for name, buffer in buffers.items():
            if not isinstance(name, str) or not isinstance(buffer, torch.Tensor | None):
                raise CheckpointError(f"The checkpoint has a buffer {module}.{name} of no tensor.")
    # Attributes of every module of torch, such as flags of its hooks, are not part of training.
    own = {*vars(nn.Module()), *(n for n, v in vars(nn.Module).items() if not callable(v))}
    for name, module in model.named_modules():
        kept = {k: v for k, v in weights.attributes.get(name, {}).items() if k not in own}
        weights.attributes[name] = attributes_from_file(kept, module)
    return weights


def attributes_from_file(saved: Mapping[str, Any], thing: Any) -> dict[str, Any]:
    """Attributes that may be set on an object.

    Raises:
        CheckpointError: a value is not plain, or stands for a method, a module or a container.
    """
    for name, value in saved.items():
        if not isinstance(name, str) or not name.isidentifier() or type(value) not in SIMPLE_TYPES:
            raise CheckpointError(
                f"The checkpoint has an attribute {name!r:.80} of no plain value."
            )
        there = getattr_static(thing, name, None)
        replaced = isinstance(thing, nn.Module) and any(
            name in held for held in (thing._modules, thing._parameters, thing._buffers)
        )
        if replaced or not isinstance(there, (*SIMPLE_TYPES, torch.Tensor)):
            raise CheckpointError(
                f"The checkpoint sets {name!r} of a {type(thing).__name__}, which is no plain "
                "value there: it belongs to another training."
            )
    return dict(saved)


def scheduler_state_from_file(saved: Any, scheduler: Any) -> dict[str, Any]:
    """State of a scheduler, without anything that stands for a method or for its optimizer.

    Raises:
        CheckpointError: it has such a name.
    """
    for name in saved:
        there = getattr(scheduler, name, None) if isinstance(name, str) else len
        if callable(there) or isinstance(there, torch.optim.Optimizer):
            raise CheckpointError(f"The checkpoint sets {name!r} of a schedule, which is no value.")
    return dict(saved)


def array_from_file(values: Any, dtype: Any) -> np.ndarray[Any, Any]:
    """An array of numbers.

    Raises:
        CheckpointError: the type is none of numbers.
    """
    kind = np.dtype(dtype)
    if kind.kind not in ARRAY_KINDS:
        raise CheckpointError(f"The checkpoint has an array of {str(kind)[:60]}, not of numbers.")
    return np.array(values, dtype=kind)


def setup_from_file(data: Mapping[str, Any]) -> dict[str, Any]:
    """Seed and name of the optimizer, with which the training is built again.

    Raises:
        CheckpointError: they are missing, or of another type.
    """
    try:
        seed, optimizer = data["seed"], data["optimizers"][0][0]
    except (KeyError, IndexError, TypeError) as error:
        raise CheckpointError("The checkpoint is damaged: it names no optimizer.") from error
    if type(seed) is not int or not isinstance(optimizer, str):
        raise CheckpointError(
            f"The checkpoint is damaged: seed {seed!r:.60}, optimizer {optimizer!r:.60}."
        )
    return {"seed": seed, "optimizer": optimizer}
