"""The loss of a step for outputs that the model did not compute."""

from __future__ import annotations

from typing import Any

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._model_calls import ModelCall
from nbdebug.model.module.forward import tensors_of, with_leaves


def loss_of_outputs(
    context: CheckContext, call: ModelCall, free: list[torch.Tensor]
) -> torch.Tensor:
    """The loss of a step whose model returns free outputs, and computes none.

    What the model is given otherwise, as by a loop that calls it again, it computes.
    """
    inputs = [one.shape for one in call.inputs]

    def replaced(*args: Any, **named: Any) -> Any:
        if [one.shape for one in tensors_of((args, named))] != inputs:
            return computed(*args, **named)
        # Here, where a step has its graph.
        given = _of_model(context, free)
        by_id = {id(old): new for old, new in zip(call.found, given, strict=True)}
        return with_leaves(call.outputs, lambda leaf: by_id.get(id(leaf), leaf))

    context.train()
    own = vars(context.model)
    kept, computed = own.get("forward"), context.model.forward
    own["forward"] = replaced
    try:
        loss: torch.Tensor = context.evaluate(context.batch)[0]
    finally:
        del own["forward"]
        if kept is not None:
            own["forward"] = kept
    return loss


def _of_model(context: CheckContext, free: list[torch.Tensor]) -> list[torch.Tensor]:
    """Free outputs with a graph to the model: a loop of the user's own goes backward from them."""
    parameter = next((one for one in context.model.parameters() if one.requires_grad), None)
    if parameter is None:
        return free
    with torch.enable_grad():
        return [one + (0.0 * parameter.flatten()[0]).to(one) for one in free]
