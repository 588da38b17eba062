"""Model summary from one forward pass, which is undone afterwards."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import nn

from nbdebug.core.results.model_summary import LayerSummary, ModelSummary
from nbdebug.errors import ModelError
from nbdebug.model.module.forward import call, leaves, split
from nbdebug.model.module.names import Layer, every_module, is_script
from nbdebug.training.engine.session import Session
from nbdebug.training.tasks.checking.check_data import some_batches
from nbdebug.training.tasks.inside.fixed_samples import FixedData, looking, reading
from nbdebug.training.tasks.inside.structure import every_module_called


class _Calls:
    """Modules in the order of their first calls, and the shapes that these gave."""

    def __init__(self) -> None:
        self.order: dict[nn.Module, int] = {}
        self.shapes: dict[nn.Module, tuple[int, ...]] = {}

    def begin(self, module: nn.Module, given: Any) -> None:
        self.order.setdefault(module, len(self.order))

    def end(self, module: nn.Module, given: Any, outputs: Any) -> None:
        first = next((one for one in leaves(outputs) if isinstance(one, torch.Tensor)), None)
        self.shapes.setdefault(module, () if first is None else tuple(first.shape))


def summarize(session: Session, fixed: FixedData) -> ModelSummary:
    """Run one training batch through the model in eval mode and list its modules.

    In a loop of the user's own it is the first call of the model that was seen.

    Raises:
        ModelError: no call of the model was seen yet, or the forward pass fails.
    """
    calls, modules = _Calls(), every_module(session.model)
    with reading(session):
        run = _forward(session, fixed)
    with looking(session), every_module_called(), ExitStack() as stack:
        for layer in modules:
            if not is_script(layer.module):
                stack.callback(layer.module.register_forward_pre_hook(calls.begin).remove)
                stack.callback(layer.module.register_forward_hook(calls.end).remove)
        try:
            run()
        except Exception as error:
            raise ModelError(
                f"The model could not be run on a training batch: {error} "
                "dbg.check('shapes') names the layer."
            ) from error
    root = modules[0].module
    return ModelSummary(tuple(_row(one, root, calls) for one in _sorted(modules, calls)))


def _forward(session: Session, fixed: FixedData) -> Callable[[], Any]:
    """The call of the model, or of the step function that calls it."""
    if session.body is not None:
        args, named = fixed.of_training().arguments
        return partial(session.model, *args, **named)
    batch = next(iter(some_batches(session)))
    if session.step_fn is not None:
        return partial(session.evaluate, batch)
    return partial(call, session.model, split(batch)[0])


def _sorted(modules: tuple[Layer, ...], calls: _Calls) -> list[Layer]:
    """Modules by their first call; one that was not called stays behind its predecessor."""
    keys: dict[nn.Module, int] = {}
    before = -1
    for layer in modules:
        before = calls.order.get(layer.module, before)
        keys[layer.module] = before
    return sorted(modules, key=lambda layer: keys[layer.module])


def _row(layer: Layer, root: nn.Module, calls: _Calls) -> LayerSummary:
    module, parameters = layer.module, list(layer.module.parameters())
    path = "" if module is root else layer.name
    return LayerSummary(
        layer=path,
        kind=type(module).__name__,
        depth=path.count(".") + 1 if path else 0,
        output_shape=calls.shapes.get(module, ()),
        parameters=sum(one.numel() for one in parameters),
        trainable=sum(one.numel() for one in parameters if one.requires_grad),
    )
