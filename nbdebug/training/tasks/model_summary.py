"""Model summary from one forward pass, which is undone afterwards."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from torch import nn

from nbdebug.core.results.model_summary import LayerSummary, ModelSummary
from nbdebug.errors import ModelError
from nbdebug.model.module.forward import call, split, tensors_of
from nbdebug.model.module.hooks import after_forward, before_forward
from nbdebug.model.module.names import Layer, every_module, is_script
from nbdebug.training.engine.session import Session
from nbdebug.training.tasks.checking.check_data import some_batches
from nbdebug.training.tasks.inside.fixed_samples import FixedData
from nbdebug.training.tasks.inside.looking import looking, reading
from nbdebug.training.tasks.inside.structure import every_module_called
from nbdebug.training.tasks.layer_flow import in_order


def summarize(session: Session, fixed: FixedData) -> ModelSummary:
    """Run one training batch through the model in eval mode and list its modules.

    In a loop of the user's own it is the first call of the model that was seen.

    Raises:
        ModelError: no call of the model was seen yet, or the forward pass fails.
    """
    modules, calls, shapes = every_module(session.model), list[str](), dict[str, tuple[int, ...]]()

    def begin(name: str, *_: Any) -> None:
        calls.append(name)

    def end(name: str, module: nn.Module, given: Any, outputs: Any) -> None:
        first = next(tensors_of(outputs), None)
        shapes.setdefault(name, () if first is None else tuple(first.shape))

    with reading(session):
        run = _forward(session, fixed)
    with looking(session), every_module_called(), ExitStack() as stack:
        for layer in modules:
            if not is_script(layer.module):
                before, after = partial(begin, layer.name), partial(end, layer.name)
                stack.callback(before_forward(layer.module, before).remove)
                stack.callback(after_forward(layer.module, after).remove)
        try:
            run()
        except Exception as error:
            raise ModelError(
                f"The model could not be run on a training batch: {error} "
                "dbg.check('shapes') names the layer."
            ) from error
    root = modules[0].module
    rows = (_row(one, root, shapes.get(one.name, ())) for one in in_order(modules, calls))
    return ModelSummary(tuple(rows))


def _forward(session: Session, fixed: FixedData) -> Callable[[], Any]:
    """The call of the model, or of the step function that calls it."""
    if session.body is not None:
        args, named = fixed.of_training().fresh.arguments
        return partial(session.model, *args, **named)
    batch = next(iter(some_batches(session)))
    if session.step_fn is not None:
        return partial(session.evaluate, batch)
    return partial(call, session.model, split(batch)[0])


def _row(layer: Layer, root: nn.Module, shape: tuple[int, ...]) -> LayerSummary:
    module, parameters = layer.module, list(layer.module.parameters())
    path = "" if module is root else layer.name
    return LayerSummary(
        layer=path,
        kind=type(module).__name__,
        depth=path.count(".") + 1 if path else 0,
        output_shape=shape,
        parameters=sum(one.numel() for one in parameters),
        trainable=sum(one.numel() for one in parameters if one.requires_grad),
    )
