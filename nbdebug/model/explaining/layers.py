"""Explanations of layers that refuse their input."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

TENSOR_LAYERS = (nn.Linear, _ConvNd, _BatchNorm, nn.LayerNorm, nn.Embedding)
AXES = {3: "[N, C, L]", 4: "[N, C, H, W]", 5: "[N, C, D, H, W]"}


class Called(NamedTuple):
    """Input of a layer, as the beginning of three sentences."""

    has: str
    be: str
    padded: str


THE_DATA = Called("the data have", "the data are", "the data with padding are")
ITS_INPUT = Called("its input has", "its input is", "its input with padding is")


def explain_layer(module: nn.Module, label: str, given: Any, what: Called) -> str:
    """Explain what of its input a layer refuses; "" if that is not certain.

    Args:
        label: of the layer; given: its input; what: how the input is called.
    """
    if not isinstance(given, torch.Tensor):
        # Containers and recurrent layers take other things, too.
        return _no_tensor(label, given) if isinstance(module, TENSOR_LAYERS) else ""
    dtype = _dtype(module, label, given, what)
    if dtype:
        return dtype
    if isinstance(module, nn.Linear):
        return _features(label, module.weight.shape[-1], given, what)
    if isinstance(module, _ConvNd):
        return _convolution(module, label, given, what)
    if isinstance(module, _BatchNorm):
        return _batch_norm(module, label, given, what)
    if isinstance(module, nn.RNNBase):
        return _features(label, module.input_size, given, what)
    if isinstance(module, nn.LayerNorm):
        return _layer_norm(module, label, given, what)
    if isinstance(module, nn.Embedding):
        return _embedding(module, label, given, what)
    return ""


def shape_of(tensor: torch.Tensor) -> str:
    """Shape as text, such as "[64, 3]"."""
    return f"[{', '.join(map(str, tensor.shape))}]"


def _no_tensor(label: str, given: Any) -> str:
    if not isinstance(given, tuple | list):
        return "" if given is None else f"{label} takes a tensor, it got a {type(given).__name__}"
    parts = len(given)
    return (
        f"{label} takes a tensor, it got a {type(given).__name__} of {parts} parts: recurrent "
        "layers return (outputs, state); pass the part that is meant, such as outputs[0]"
    )


def _dtype(module: nn.Module, label: str, given: torch.Tensor, what: Called) -> str:
    weight = getattr(module, "weight", None)
    if weight is None:
        weight = getattr(module, "weight_ih_l0", None)
    if not isinstance(weight, torch.Tensor) or isinstance(module, nn.Embedding):
        return ""
    if weight.device != given.device:
        return f"{label} is on {weight.device}, {what.be} on {given.device}"
    if torch.is_autocast_enabled() or weight.dtype == given.dtype:
        return ""
    seen, wanted = (str(one.dtype).removeprefix("torch.") for one in (given, weight))
    if isinstance(module, _BatchNorm | nn.LayerNorm) and given.is_floating_point():
        return ""
    return f"{label} takes {wanted}, {what.be} {seen}: convert with .to(torch.{wanted})"


def _features(label: str, wanted: int, given: torch.Tensor, what: Called) -> str:
    if not given.ndim or given.shape[-1] == wanted:
        return ""
    text = f"{label} takes {wanted} features, {what.has} {given.shape[-1]}"
    if given.ndim > 2 and math.prod(given.shape[1:]) == wanted:
        return f"{text} in the last axis of {shape_of(given)}: flatten it before, with nn.Flatten()"
    return text


def _convolution(module: _ConvNd, label: str, given: torch.Tensor, what: Called) -> str:
    axes, wanted = len(module.kernel_size) + 2, module.in_channels
    if given.ndim not in (axes, axes - 1):
        return f"{label} takes a batch {AXES[axes]}, {what.has} the shape {shape_of(given)}"
    channels = given.shape[1 - axes]
    if channels != wanted:
        text = f"{label} takes {wanted} channels, {what.has} {channels}"
        if given.shape[-1] == wanted:
            order = [0, axes - 1, *range(1, axes - 1)]
            call = f".permute({', '.join(map(str, order))})"
            return f"{text}: the shape is {shape_of(given)}, with channels last; use {call}"
        if given.ndim == axes - 1 and wanted == 1:
            return f"{text}: the shape is {shape_of(given)}, without channels; use .unsqueeze(1)"
        return text
    if module.transposed or isinstance(module.padding, str):
        return ""
    sizes = [n + 2 * p for n, p in zip(given.shape[2 - axes :], module.padding, strict=True)]
    reach = [d * (k - 1) + 1 for k, d in zip(module.kernel_size, module.dilation, strict=True)]
    if any(size < far for size, far in zip(sizes, reach, strict=True)):
        kernel = list(module.kernel_size)
        return f"{label} has a kernel of {kernel}, {what.padded} only {sizes}"
    return ""


def _batch_norm(module: _BatchNorm, label: str, given: torch.Tensor, what: Called) -> str:
    axes = {nn.BatchNorm1d: (2, 3), nn.BatchNorm2d: (4,), nn.BatchNorm3d: (5,)}
    wanted = next((n for kind, n in axes.items() if isinstance(module, kind)), (given.ndim,))
    if given.ndim not in wanted:
        words = " or ".join(map(str, wanted))
        return f"{label} takes {words} axes, {what.has} the shape {shape_of(given)}"
    if given.shape[1] != module.num_features:
        word = "features" if given.ndim == 2 else "channels"
        return f"{label} takes {module.num_features} {word}, {what.has} {given.shape[1]}"
    if module.training and given.numel() == given.shape[1]:
        return (
            f"{label} cannot compute statistics of a single sample: take a larger batch size, and "
            "one that leaves no last batch of 1"
        )
    return ""


def _layer_norm(module: nn.LayerNorm, label: str, given: torch.Tensor, what: Called) -> str:
    wanted = tuple(module.normalized_shape)
    seen = tuple(given.shape[-len(wanted) :])
    if seen == wanted:
        return ""
    return f"{label} takes {list(wanted)} as its last axes, {what.has} {list(seen)}"


def _embedding(module: nn.Embedding, label: str, given: torch.Tensor, what: Called) -> str:
    if given.dtype not in (torch.int32, torch.int64):
        dtype = str(given.dtype).removeprefix("torch.")
        return f"{label} takes whole numbers (ids), {what.be} {dtype}: convert with .long()"
    rows = module.num_embeddings
    low, high = int(given.min()), int(given.max())
    if low >= 0 and high < rows:
        return ""
    seen = f"ids from {low} to {high}"
    return f"{label} has {rows} rows, for ids from 0 to {rows - 1}; {what.has} {seen}"
