"""Order of the samples in a batch."""

from __future__ import annotations

from typing import Any

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._model_calls import ModelCall, batch_tensors, watched_step
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import with_leaves


class BatchOrder(Check):
    """Checks that the output of a sample does not depend on its place in the batch.

    Positions that are added along the batch (position[:x.size(0)] of inputs with the batch
    first), or a recurrent layer that runs over the samples (batch_first is missing), raise no
    error. The batch is turned round; each output has to come out as before, in its new place.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "batch_order"
    step = 3
    order = 41
    title = "The place in the batch"
    source = "PyTorch, nn.LSTM (batch_first); nbdebug: exchange of samples"
    explains = ("ignored_inputs", "overfit")

    TOLERANCE = 1e-3

    def examine(self, context: CheckContext) -> Outcome:
        step = watched_step(context)
        if isinstance(step, str):
            return Outcome("not_applicable", step)
        call = step.calls[0]
        count = _samples(call, batch_tensors(context))
        if count is None:
            return Outcome("not_applicable", "the inputs of the model are not one row per sample.")
        before, again = call.again(context), call.again(context)
        after = _turned(context, call, count)
        if not before or any(len(one) != count for one in before if one.ndim):
            return Outcome("not_applicable", "the outputs are not one row per sample.")
        if not all(map(torch.equal, before, again)):
            return Outcome("not_applicable", "outputs of equal inputs differ in eval mode.")
        for one, other in zip(before, after, strict=True):
            if not one.ndim:
                continue
            scale = float(one.abs().max()) or 1.0
            apart = float((one - other.flip(0)).abs().max())
            if apart > self.TOLERANCE * scale:
                return Outcome(
                    "fail", f"with the batch turned round, outputs of the same samples differ by "
                    f"{apart:.2g}", "0", "Look for positions that are added along dimension 0 "
                    "(x.size(0) of inputs with the batch first), and set batch_first=True in "
                    "recurrent and attention layers.",
                )  # fmt: skip
        return Outcome("pass", "outputs do not depend on the place in the batch", "0")


def _samples(call: ModelCall, tensors: list[torch.Tensor]) -> int | None:
    """Number of samples of a call whose inputs all hold a row for each; None for others."""
    rows = {len(one) for one in tensors if one.ndim}
    if len(rows) != 1 or not call.inputs:
        return None
    count = rows.pop()
    for one in call.inputs:
        if one.ndim and len(one) == count and not (one.ndim > 1 and one.shape[1] == count):
            continue
        # A matrix of pairs, indices of other rows, or another axis for the samples.
        return None
    return count if count > 2 else None


def _turned(context: CheckContext, call: ModelCall, count: int) -> list[torch.Tensor]:
    """Outputs of a call in eval mode for its samples in the other order."""

    def flipped(leaf: Any) -> Any:
        return leaf.flip(0) if isinstance(leaf, torch.Tensor) and len(leaf) == count else leaf

    return call.with_arguments(context, with_leaves(call.arguments, flipped))
