"""Explanations of losses of torch that refuse outputs or targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from nbdebug.core.error_text import message_of
from nbdebug.model.explaining.layers import shape_of

Values = Mapping[str, Any]
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def explain_targets(error: BaseException, targets: Any) -> str:
    """Explain an error of the backward pass by the type of the targets of the batch."""
    wrong = "Found dtype Long but expected Float" in message_of(error)
    if wrong and isinstance(targets, torch.Tensor) and targets.dtype == torch.int64:
        return "the targets are int64, the loss takes floating-point numbers: use targets.float()"
    return ""


def _structure(values: Values) -> str:
    """Fault of outputs or targets that are no tensors, or on two devices; "" without one."""
    for name, word in (("input", "the outputs of the model"), ("target", "the targets")):
        value = values.get(name)
        if isinstance(value, tuple | list):
            parts = f"a {type(value).__name__} of {len(value)} parts"
            advice = ", such as outputs[0]" if name == "input" else ""
            return (
                f"the loss takes a tensor, {word} are {parts}: pass the part that is meant{advice}"
            )
        if not isinstance(value, torch.Tensor):
            return f"the loss takes a tensor, {word} are a {type(value).__name__}"
    outputs, targets = values["input"], values["target"]
    if outputs.device != targets.device:
        return f"the outputs are on {outputs.device}, the targets on {targets.device}"
    return ""


def _classes(values: Values) -> str:
    """Class labels of cross_entropy and nll_loss."""
    found = _structure(values)
    if found:
        return found
    outputs, targets = values["input"], values["target"]
    expected = outputs.shape[:1] + outputs.shape[2:] if outputs.ndim > 1 else outputs.shape[:0]
    if targets.is_floating_point():
        dtype = str(targets.dtype).removeprefix("torch.")
        if targets.shape == outputs.shape:
            return ""
        shape = "" if targets.shape == expected else f" of shape {list(expected)}"
        return f"the labels are {dtype}, cross-entropy takes whole numbers{shape}: targets.long()"
    if targets.shape != expected:
        return _label_shape(outputs, targets, torch.Size(expected))
    if targets.dtype not in (torch.int64, torch.uint8):
        dtype = str(targets.dtype).removeprefix("torch.")
        return f"the labels are {dtype}, cross-entropy takes int64: use targets.long()"
    return _label_range(outputs, targets, values.get("ignore_index", -100))


def _label_shape(outputs: torch.Tensor, targets: torch.Tensor, expected: torch.Size) -> str:
    if outputs.ndim and targets.ndim and len(outputs) != len(targets):
        return f"the outputs hold {len(outputs)} samples, the targets {len(targets)}"
    text = f"the labels have the shape {shape_of(targets)}, cross-entropy takes {list(expected)}"
    if targets.shape == outputs.shape:
        return f"{text}: one-hot labels must be floats, or use targets.argmax(1)"
    if targets.ndim == len(expected) + 1 and targets.numel() == expected.numel():
        return f"{text}: use targets.squeeze({list(targets.shape).index(1)})"
    return f"{text} for outputs {shape_of(outputs)}"


def _label_range(outputs: torch.Tensor, targets: torch.Tensor, ignored: int) -> str:
    classes = outputs.shape[1] if outputs.ndim > 1 else outputs.shape[0]
    counted = targets[targets != ignored]
    if not counted.numel():
        return ""
    low, high = int(counted.min()), int(counted.max())
    if low >= 0 and high < classes:
        return ""
    text = (
        f"the labels go from {low} to {high}, the outputs are for {classes} classes, counted from "
        f"0 to {classes - 1}"
    )
    return f"{text}: subtract 1 from the labels" if low >= 1 and high == classes else text


def _pairs(values: Values) -> str:
    """Targets that are compared with outputs number by number."""
    found = _structure(values)
    if found:
        return found
    outputs, targets = values["input"], values["target"]
    if outputs.shape != targets.shape:
        try:
            torch.broadcast_shapes(outputs.shape, targets.shape)
        except RuntimeError:
            pass
        else:
            return _column(outputs, targets)
        return _unlike(outputs, targets)
    return _type(outputs, targets)


def _binary(values: Values) -> str:
    """Targets of binary cross-entropy, which are probabilities of the same shape."""
    found = _structure(values)
    if found:
        return found
    outputs, targets = values["input"], values["target"]
    if outputs.shape != targets.shape:
        return _column(outputs, targets) or _unlike(outputs, targets)
    return _type(outputs, targets)


def _probabilities(values: Values) -> str:
    """Outputs of binary_cross_entropy, which must lie between 0 and 1."""
    found = _binary(values)
    if found:
        return found
    low, high = values["input"].min().item(), values["input"].max().item()
    if low >= 0 and high <= 1:
        return ""
    return (
        f"the outputs go from {low:.3g} to {high:.3g}, binary cross-entropy takes 0 to 1: end the "
        "model with a sigmoid, or use BCEWithLogitsLoss"
    )


def _unlike(outputs: torch.Tensor, targets: torch.Tensor) -> str:
    return f"the outputs have the shape {shape_of(outputs)}, the targets {shape_of(targets)}"


def _column(outputs: torch.Tensor, targets: torch.Tensor) -> str:
    """Advice where one of two has an axis of length 1 more; "" otherwise."""
    if outputs.numel() != targets.numel():
        return ""
    advice = ": use targets.reshape(outputs.shape)"
    if outputs.ndim == targets.ndim + 1 and outputs.shape[-1] == 1:
        advice = ": use targets.unsqueeze(-1), or outputs.squeeze(-1)"
    return _unlike(outputs, targets) + advice


def _type(outputs: torch.Tensor, targets: torch.Tensor) -> str:
    if not outputs.is_floating_point() or targets.dtype not in (*INTEGERS, torch.bool):
        return ""
    dtype = str(targets.dtype).removeprefix("torch.")
    return f"the targets are {dtype}, the loss takes floating-point numbers: use targets.float()"


LOSSES: Mapping[str, Callable[[Values], str]] = {
    "cross_entropy": _classes,
    "nll_loss": _classes,
    "binary_cross_entropy_with_logits": _binary,
    "binary_cross_entropy": _probabilities,
    "mse_loss": _pairs,
    "l1_loss": _pairs,
    "smooth_l1_loss": _pairs,
    "huber_loss": _pairs,
}
