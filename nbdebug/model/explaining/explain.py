"""Explanation of an exception of a step by the call that failed, and its actual arguments."""

from __future__ import annotations

from collections.abc import Iterator
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from nbdebug.model.explaining.layers import ITS_INPUT, THE_DATA, explain_layer
from nbdebug.model.explaining.losses import LOSSES, explain_targets
from nbdebug.model.module.forward import leaves
from nbdebug.model.module.names import stable_name

MAX_FRAMES = 200


def explain(error: BaseException, model: nn.Module, data: Any) -> str:
    """Explain an exception in one sentence; "" if nothing is certain.

    The frames of the traceback hold the layer or the loss that failed, and what it was called
    with; nothing is run again.

    Args:
        data: the batch of the step.
    """
    try:
        return _explain(error, model, data)
    except Exception:
        # Whatever cannot be read (a tensor of a failed device) explains nothing.
        return ""


def _explain(error: BaseException, model: nn.Module, data: Any) -> str:
    tensors = [leaf for leaf in leaves(data) if isinstance(leaf, torch.Tensor)]
    for frame in _frames(error):
        values = frame.f_locals
        name = frame.f_code.co_name
        if name in LOSSES and frame.f_code.co_filename == functional.__file__:
            return LOSSES[name](values)
        module = values.get("self")
        if name == "forward" and isinstance(module, nn.Module) and _is_layer(module):
            label = _label(module, model)
            given = values.get("input", values.get("query"))
            own = any(given is one for one in tensors) or _alike(given, tensors)
            found = explain_layer(module, label, given, THE_DATA if own else ITS_INPUT)
            if found:
                return found
    return explain_targets(error, tensors[-1] if len(tensors) > 1 else None)


def _frames(error: BaseException) -> Iterator[FrameType]:
    """Frames of the traceback, the innermost first."""
    found: list[FrameType] = []
    trace = error.__traceback__
    while trace is not None:
        found.append(trace.tb_frame)
        trace = trace.tb_next
    yield from found[: -MAX_FRAMES - 1 : -1]


def _is_layer(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.modules.")


def _label(module: nn.Module, model: nn.Module) -> str:
    """Name and class of a layer, such as "layer `0 Linear`"."""
    names = [stable_name(name) for name, one in model.named_modules() if one is module]
    name = names[0] if names else ""
    return f"layer `{name} {type(module).__name__}`" if name else f"layer `{type(module).__name__}`"


def _alike(given: Any, tensors: list[torch.Tensor]) -> bool:
    """Tell if a tensor is one of the batch, seen through a view of the same shape."""
    return isinstance(given, torch.Tensor) and any(
        one.shape == given.shape and one.data_ptr() == given.data_ptr() for one in tensors[:-1]
    )
