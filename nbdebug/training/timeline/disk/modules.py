"""Plain form of weights, buffers and attributes, and their check against the model."""

from __future__ import annotations

import cmath
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nbdebug.errors import CheckpointError
from nbdebug.model.state.attributes import Attributes
from nbdebug.model.state.kept import Constant
from nbdebug.model.state.weights import Weights
from nbdebug.training.engine.session import Session

NUMBER_TYPES, TEXT_TYPES = (bool, int, float, complex), (str, bytes)
# Attributes of torch's layers that controls set.
CONTROLLED = ("p", "dropout", "momentum", "activation_relu_or_gelu")


def weights_to_plain(weights: Weights) -> dict[str, Any]:
    """Convert copies of weights, buffers, modes and attributes."""
    return {
        "parameters": weights.parameters,
        "requires_grad": weights.requires_grad,
        "buffers": weights.buffers,
        "training": weights.training,
        "attributes": weights.attributes.simple,
        "values": weights.attributes.plain(),
    }


def weights_from_plain(saved: Mapping[str, Any], session: Session) -> Weights:
    """Convert back, for the model of a session.

    Raises:
        ModelError, CheckpointError: they do not fit the model.
    """
    # Files of 0.1 hold simple attributes alone.
    values = saved.get("values", saved["attributes"])
    weights = Weights(
        saved["parameters"],
        saved["requires_grad"],
        saved["buffers"],
        saved["training"],
        Attributes.from_plain(values, session.model, session.device),
    )
    weights.check(session.model)
    if weights.requires_grad.keys() != weights.parameters.keys():
        raise CheckpointError("The checkpoint does not say which parameters are frozen.")
    for name, module in session.model.named_modules():
        _check_buffers(name, module, weights.buffers.get(name, {}))
        for key, kept in weights.attributes.modules.get(name, {}).items():
            if isinstance(kept, Constant) and key in vars(module):
                _check_attribute(f"{name}.{key}" if name else key, module, key, kept.value)
    return weights


def classes_of(model: nn.Module) -> dict[str, str]:
    """Names of the classes of modules that hold tensors."""
    return {
        name: type(module).__qualname__
        for name, module in model.named_modules()
        if module._parameters or module._buffers
    }


def check_classes(data: Mapping[str, Any], model: nn.Module) -> None:
    """Raise CheckpointError if a module is of another class than in the file."""
    now, then = classes_of(model), data.get("classes")
    if then is None:
        return
    other = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    if other:
        raise CheckpointError(
            f"The model is not the one of the checkpoint: {other[0] or 'the model'} was a "
            f"{then.get(other[0])}, now it is a {now.get(other[0])}."
        )


def _of_torch(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.")


def _check_buffers(name: str, module: nn.Module, saved: Mapping[str, Any]) -> None:
    """Buffers have the dtype of before, those of torch's own layers also the shape."""
    for key, now in module._buffers.items():
        place = f"{name}.{key}" if name else key
        if key not in saved:
            raise CheckpointError(f"The checkpoint lacks the buffer {place}.")
        then = saved[key]
        if now is None or then is None or not isinstance(now, torch.Tensor):
            if _of_torch(module) and (now is None) != (then is None):
                raise CheckpointError(f"The buffer {place} is not that of the model.")
        elif now.dtype != then.dtype or (_of_torch(module) and now.shape != then.shape):
            raise CheckpointError(
                f"The buffer {place} was a tensor of shape {tuple(then.shape)} and {then.dtype}, "
                f"now it is of shape {tuple(now.shape)} and {now.dtype}."
            )


def _check_attribute(place: str, module: nn.Module, key: str, then: Any) -> None:
    """A number stays a number; what torch's own layers are built with stays as it is."""
    now = vars(module)[key]
    texts = isinstance(now, TEXT_TYPES), isinstance(then, TEXT_TYPES)
    numbers = isinstance(now, NUMBER_TYPES), isinstance(then, NUMBER_TYPES)
    fits = not (texts[0] and numbers[1]) and not (numbers[0] and texts[1])
    if _of_torch(module) and key not in CONTROLLED and type(now) in (int, str, tuple):
        fits = fits and now == then
    elif _of_torch(module) and isinstance(now, NUMBER_TYPES):
        finite = then is None or (isinstance(then, NUMBER_TYPES) and cmath.isfinite(then))
        fits = finite and isinstance(then, bool) == isinstance(now, bool)
    if not fits:
        raise CheckpointError(f"{place} was {then!r:.60} in the checkpoint, now it is {now!r:.60}.")
