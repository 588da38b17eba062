"""Plain form of what a training has in memory, and its check against the model."""

from __future__ import annotations

import cmath
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from nbdebug.errors import CheckpointError
from nbdebug.model.state.attributes import Attributes, captured_names
from nbdebug.model.state.surroundings import Surroundings
from nbdebug.model.state.values.kept import Constant, Unchanged
from nbdebug.model.state.values.surroundings_copy import SurroundingsCopy
from nbdebug.model.state.weights import Weights
from nbdebug.runs.redaction.document import holds_secret
from nbdebug.training.engine.session import Session

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
NUMBER_TYPES, TEXT_TYPES = (bool, int, float, complex), (str, bytes)
# Attributes of torch's layers that controls set.
SHARES = ("p", "dropout", "momentum")
CONTROLLED = (*SHARES, "activation_relu_or_gelu")


def weights_to_plain(weights: Weights) -> dict[str, Any]:
    """Convert copies of weights, buffers, modes and attributes."""
    return {
        "parameters": weights.parameters,
        "requires_grad": weights.requires_grad,
        "buffers": weights.buffers,
        "training": weights.training,
        # What the user's own code knows stays out of the file.
        "values": weights.attributes.plain(hides=holds_secret),
    }


def reached_to_plain(surroundings: Surroundings, copies: SurroundingsCopy) -> dict[str, Any]:
    """Convert copies of what the functions of a training reach."""
    return surroundings.to_plain(copies, holds_secret)


def weights_from_plain(data: Mapping[str, Any], session: Session) -> Weights:
    """Convert back the weights of a file, for the model of a session.

    Raises:
        ModelError, CheckpointError: they do not fit the model.
    """
    saved = data["weights"]
    # Files of 0.1 hold simple attributes alone; others stay as they are.
    values = saved.get("values", saved.get("attributes"))
    attributes = Attributes.from_plain(values, session.model, session.device)
    weights = Weights(
        saved["parameters"], saved["requires_grad"], saved["buffers"], saved["training"], attributes
    )
    weights.check(session.model)
    if weights.requires_grad.keys() != weights.parameters.keys():
        raise CheckpointError("The checkpoint does not say which parameters are frozen.")
    for name, module in session.model.named_modules():
        _check_buffers(name, module, weights.buffers.get(name, {}))
        if _may_be_swapped(data, module):
            continue
        parts = attributes.modules.setdefault(name, {})
        for key in captured_names(module):
            place = f"{name}.{key}" if name else key
            if key not in parts and "values" in saved:
                raise CheckpointError(f"The checkpoint does not hold {place} of the model.")
            kept = parts.setdefault(key, Unchanged())
            if isinstance(kept, Constant):
                _check_attribute(place, module, key, kept.value)
    return weights


def classes_of(model: nn.Module) -> dict[str, str]:
    """Names of the classes of all modules."""
    return {name: type(module).__qualname__ for name, module in model.named_modules()}


def check_classes(data: Mapping[str, Any], model: nn.Module) -> None:
    """Raise CheckpointError if a module is of another class than in the file."""
    # Files of 0.1 do not hold them.
    now, then = classes_of(model), data.get("classes")
    if then is None:
        return
    for name, module in model.named_modules():
        if then.get(name) != now[name] and not _may_be_swapped(data, module):
            raise CheckpointError(
                f"The model is not the one of the checkpoint: {name or 'the model'} was a "
                f"{then.get(name)}, now it is a {now[name]}."
            )


def _may_be_swapped(data: Mapping[str, Any], module: nn.Module) -> bool:
    """Tell if a control may have exchanged the module: an activation, without tensors."""
    swapped = data["controls"].get("activation", "as_built") != "as_built"
    return swapped and not (module._parameters or module._buffers or module._modules)


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
        elif isinstance(module, _NormBase) and key in STATISTICS:
            _check_statistics(place, key, now, then)


def _check_statistics(place: str, key: str, now: torch.Tensor, then: torch.Tensor) -> None:
    """Running statistics are numbers, and variances and counts not below 0."""
    bounded = key != "running_mean"
    odd = bool(then.isnan().any()) or (bounded and bool((then < 0).any()))
    own = bool(now.isnan().any()) or (bounded and bool((now < 0).any()))
    if odd and not own:
        raise CheckpointError(f"The buffer {place} holds values that no training gives.")


def _check_attribute(place: str, module: nn.Module, key: str, then: Any) -> None:
    """A number stays a number; what torch's own layers are built with stays as it is."""
    now = vars(module)[key]
    number = isinstance(then, NUMBER_TYPES)
    finite = not number or cmath.isfinite(then)
    if not _of_torch(module):
        texts = isinstance(now, TEXT_TYPES), isinstance(then, TEXT_TYPES)
        fits = not (texts[0] and number) and not (isinstance(now, NUMBER_TYPES) and texts[1])
        fits = fits and (finite or type(now) is not int)
    elif key in CONTROLLED and isinstance(now, NUMBER_TYPES):
        fits = type(then) in (int, float) and finite and (key not in SHARES or 0 <= then <= 1)
    else:
        fits = type(now) is type(then) and now == then
    if not fits:
        raise CheckpointError(f"{place} was {then!r:.60} in the checkpoint, now it is {now!r:.60}.")
