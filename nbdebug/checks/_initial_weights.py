"""Weights that are as an initialisation draws them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from nbdebug.model.precision import wide

MIN_WEIGHTS, MIN_EMBEDDED = 128, 64
# Standard errors within which a drawn distribution lies.
ERRORS, FEW_ERRORS = 5.0, 3.0
# Of the standard deviation of PyTorch's weights.
MAX_TIMES = 10.0
# Standard deviations that transformers, vision networks and embeddings begin with.
USUAL_STDS = (0.02, 0.01, 1.0)
# PyTorch writes once to a bias that it makes.
FRESH_WRITES = 1
Layer = nn.Linear | _ConvNd | nn.RNNBase | nn.MultiheadAttention | nn.Embedding
LAYERS = (nn.Linear, _ConvNd, nn.RNNBase, nn.MultiheadAttention, nn.Embedding)


def matrix_of(layer: nn.Module) -> torch.Tensor | None:
    """First weight matrix of a layer; None where it has none of its own."""
    for name in ("weight", "in_proj_weight", "weight_ih_l0"):
        weight = getattr(layer, name, None)
        if isinstance(weight, torch.Tensor) and weight.ndim > 1:
            return weight
    return None


def is_large(layer: nn.Module) -> bool:
    """True if a layer has enough weights to know their distribution."""
    weight = matrix_of(layer)
    return weight is not None and weight.numel() >= MIN_WEIGHTS


def is_new(layer: nn.Module, new_norms: bool | None = None) -> bool:
    """True if the weights are as an initialisation draws them.

    Even weights end at a bound that the size of the layer gives, and training moves some beyond
    it. Normal ones have no end: these are new if biases are exactly 0 or, without biases, the
    normalisations are exactly as made.

    Args:
        layer: to judge; new_norms: True if the normalisations are as they were made, False if
            not, None without any.
    """
    weight = matrix_of(layer)
    least = MIN_EMBEDDED if isinstance(layer, nn.Embedding) else MIN_WEIGHTS
    if weight is None or weight.numel() < least:
        return False
    found = wide(weight.detach())
    if isinstance(layer, nn.Embedding) and _is_drawn(found):
        return True
    if isinstance(layer, nn.RNNBase):
        return _is_even(found, [1.0 / math.sqrt(layer.hidden_size)])
    fan_in = weight[0].numel()
    fan_out = weight.shape[0] * (fan_in // weight.shape[1])
    scales = [1.0 / fan_in, 3.0 / fan_in, 6.0 / fan_in, 6.0 / (fan_in + fan_out)]
    if _is_even(found, [math.sqrt(one) for one in scales]):
        return True
    biases = [b for n, b in layer.named_parameters(recurse=False) if "bias" in n]
    empty = all(not bool(bias.detach().any()) for bias in biases)
    if not empty or new_norms is False or (not biases and new_norms is None):
        return False
    squares = [1 / fan_in, 2 / fan_in, 1 / fan_out, 2 / fan_out, 2 / (fan_in + fan_out)]
    return _is_normal(found, [*USUAL_STDS, *(math.sqrt(one) for one in squares)])


def trained_before(model: nn.Module) -> str:
    """Name of the last layer, if it is frozen with weights that no initialisation draws; or "".

    Those that are far wider than any are no trained ones.
    """
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, LAYERS) and is_large(m)]
    every = [m for m in model.modules() if isinstance(m, LAYERS) and matrix_of(m) is not None]
    if not layers or layers[-1][1] is not every[-1]:
        return ""
    name, last = layers[-1]
    weight = matrix_of(last)
    assert weight is not None
    if any(parameter.requires_grad for parameter in last.parameters()):
        return ""
    broad = float(wide(weight.detach()).std()) > MAX_TIMES * (3 * weight[0].numel()) ** -0.5
    return "" if broad or is_new(last, new_norms(model)) else name


def loaded(model: nn.Module) -> str:
    """Name of the first layer with weights that were trained and loaded; "" without one.

    Its weights are as no usual initialisation draws them, and its bias was written to after it was
    made and holds numbers of its own, of another spread than the weights: an own initialisation
    sets it to one number, or draws all parameters alike.
    """
    for name, layer in model.named_modules():
        bias = getattr(layer, "bias", None)
        if not isinstance(layer, nn.Linear | _ConvNd) or not isinstance(bias, torch.Tensor):
            continue
        written = bias._version > FRESH_WRITES and len(bias) > 1
        if not (written and is_large(layer)) or is_new(layer):
            continue
        weight = wide(layer.weight.detach())
        if _is_even(weight, [float(weight.abs().max())]):
            continue
        own, spread = float(wide(bias.detach()).std()), float(weight.std())
        if spread > MAX_TIMES * (3 * weight[0].numel()) ** -0.5:
            continue
        error = min(ERRORS / math.sqrt(2 * len(bias)), 0.5)
        if own > 0 and abs(own / max(spread, 1e-30) - 1) > error:
            return str(name)
    return ""


def _is_drawn(rows: torch.Tensor) -> bool:
    """True if rows [N, E] are drawn with a deviation of 1, and were not brought to it."""
    rows = rows[rows.any(1)]
    if rows.numel() < MIN_EMBEDDED or len(rows) < 2:
        return False
    brought = (rows.std(0, correction=0) - 1).abs().max() < 0.01
    return not bool(brought) and _is_normal(rows, [1.0], FEW_ERRORS)


def _is_even(weight: torch.Tensor, bounds: Iterable[float]) -> bool:
    size = weight.abs()
    largest, spread = float(size.max()), float(size.square().mean().sqrt()) * math.sqrt(3)
    return any(
        0.9 < spread / bound < 1.1 and 0.95 * bound < largest <= bound * (1 + 1e-4)
        for bound in bounds
    )


def _is_normal(weight: torch.Tensor, stds: Iterable[float], errors: float = ERRORS) -> bool:
    number, std = weight.numel(), float(weight.std())
    if not any(abs(std / one - 1) < errors / math.sqrt(2 * number) for one in stds):
        return False
    fourth = float((weight / std).square().square().mean())
    centred = abs(float(weight.mean())) < errors * std / math.sqrt(number)
    return centred and abs(fourth - 3) < errors * math.sqrt(24 / number)


def new_norms(model: nn.Module) -> bool | None:
    """True if weights and biases of frozen normalisations are as made; None without any."""
    found = list(_frozen_norms(model))
    if not found:
        return None
    return all(float(values.min()) == float(values.max()) in (0.0, 1.0) for values in found)


def _frozen_norms(model: nn.Module) -> Iterator[torch.Tensor]:
    for module in model.modules():
        if "Norm" in type(module).__name__:
            for parameter in module.parameters(recurse=False):
                if parameter.numel() and not parameter.requires_grad:
                    yield parameter.detach()
