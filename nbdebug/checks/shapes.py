"""Shapes from layer to layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.error_text import describe_error
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.errors import LoopLeft
from nbdebug.model.module.hooks import after_forward, before_forward
from nbdebug.model.module.names import Layer, layers

EXPECTED_INPUTS = {
    "in_features": "features in the last dimension",
    "in_channels": "channels in the second dimension",
    "num_features": "features or channels in the second dimension",
    "input_size": "features in the last dimension",
    "normalized_shape": "as the last dimensions",
    "num_embeddings": "as one more than the largest index",
}


class Shapes(Check):
    """Checks that one batch passes through the model and the loss.

    If the forward pass raises an exception, the result names the first layer that refused its
    input, the shape of the input and the expected shape. `dbg.summary()` lists the shapes of all
    layers.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "shapes"
    step = 3
    order = 1
    title = "Shapes from layer to layer"
    source = "Karpathy, A Recipe for Training Neural Networks"
    explains = ("*",)

    def examine(self, context: CheckContext) -> Outcome:
        calls: list[tuple[str, str]] = []
        under_way: list[tuple[Layer, str]] = []
        handles = []
        for layer in layers(context.model):

            def comes(_m: nn.Module, inputs: Any, layer: Layer = layer) -> None:
                under_way.append((layer, _shape(inputs)))

            def goes(_m: nn.Module, _i: Any, output: Any, layer: Layer = layer) -> None:
                under_way.pop()
                calls.append((layer.name, _shape(output)))

            handles += [
                before_forward(layer.module, comes),
                after_forward(layer.module, goes),
            ]
        context.train()
        try:
            context.look(context.batch)
        except LoopLeft:
            raise
        except Exception as error:
            return _broken(error, under_way, calls)
        finally:
            for handle in handles:
                handle.remove()
        shape = calls[-1][1] if calls else "unknown"
        return Outcome("pass", f"{len(calls)} layer calls, final output shape {shape}", "")


def _broken(
    error: Exception, under_way: list[tuple[Layer, str]], calls: list[tuple[str, str]]
) -> Outcome:
    said = describe_error(error)
    before = "; ".join(f"{name or 'the model'} returned {shape}" for name, shape in calls[-2:])
    before = f" Before: {before}." if before else ""
    if not under_way:
        return Outcome(
            "fail", f"all layers ran, then the model or the loss raised {said}.{before}",
            "no exception",
            "Compare shapes and dtypes of outputs and targets with those that the loss expects.",
        )  # fmt: skip
    layer, shape = under_way[-1]
    wants = next(
        (
            f"{getattr(layer.module, name)} {words}"
            for name, words in EXPECTED_INPUTS.items()
            if hasattr(layer.module, name)
        ),
        "another shape",
    )
    return Outcome(
        "fail", f"{layer.name} ({type(layer.module).__name__}) got {shape}: {said}.{before}", wants,
        "Match this layer to the output of the layer before, or reshape in between.",
    )  # fmt: skip


def _shape(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{tuple(value.shape)}"
    if isinstance(value, tuple | list):
        return ", ".join(_shape(part) for part in value)
    return type(value).__name__
