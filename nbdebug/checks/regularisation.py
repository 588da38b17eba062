"""A loss that rises with its penalty."""

from __future__ import annotations

import math

import torch

from nbdebug.checks._constant import plain
from nbdebug.checks._context import CheckContext
from nbdebug.checks._weight_decay import decayed, is_decoupled
from nbdebug.checks.base import Check
from nbdebug.core.results.check_result import Outcome, Proposal


class Regularisation(Check):
    """The data loss alone, then with the penalty on the weights: it must rise with it.

    The penalty is weight decay, or what the loss itself adds for the weights. Where it is
    larger than the data loss, training shrinks weights and does little else; where it makes
    the loss fall, its sign is wrong.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "regularisation"
    step = 2
    order = 50
    title = "Penalty on the weights"
    source = "CS231n, Neural Networks 3 (sanity checks)"
    explains = ("overfit", "baselines", "regularisation_gradient")

    def examine(self, context: CheckContext) -> Outcome:
        found = plain(context)
        if isinstance(found, str):
            return Outcome("not_applicable", found)
        outputs, targets = found
        own = self._own(context, outputs, targets)
        if own is not None:
            return own
        pairs = decayed(context)
        if not pairs or is_decoupled(context):
            said = "this optimizer applies decay apart from the loss." if pairs else "it is off."
            return Outcome("not_applicable", f"weight decay: {said}")
        assert context.loss_fn is not None  # plain() asked
        data = float(context.loss_fn(outputs, targets))
        penalty = sum(decay / 2 * float((p.detach() ** 2).sum()) for p, decay in pairs)
        seen = (
            f"data loss {data:.4g}, with weight decay {data + penalty:.4g}, "
            f"with ten times of it {data + 10 * penalty:.4g}"
        )
        if penalty > data > 0:
            smaller = float(f"{max(decay for _, decay in pairs) * 0.1 * data / penalty:.1g}")
            return Outcome(
                "warning", seen, "a penalty below the data loss", "Take a smaller weight decay.",
                Proposal("weight_decay", smaller),
            )  # fmt: skip
        return Outcome("pass", seen, "a penalty below the data loss")

    def _own(
        self, context: CheckContext, outputs: torch.Tensor, targets: torch.Tensor
    ) -> Outcome | None:
        """What the loss adds for the weights; None when it does not look at them."""
        assert context.loss_fn is not None  # plain() asked
        losses = []
        weights = [p for _, p in context.subject.parameters]
        with torch.no_grad():
            for factor in (1.0, 0.0, 2.0):
                kept = [p.clone() for p in weights]
                for weight in weights:
                    weight.mul_(factor)
                losses.append(float(context.loss_fn(outputs, targets)))
                for weight, value in zip(weights, kept, strict=True):
                    weight.copy_(value)
        now, none, double = losses
        if now == none == double or not all(math.isfinite(loss) for loss in losses):
            return None
        seen = f"loss {none:.4g} without weights, {now:.4g} as they are, {double:.4g} with twice"
        expected = "a loss that rises with the weights"
        if not none < now < double:
            remedy = "Add the penalty: it must not be subtracted or averaged away."
            return Outcome("fail", seen, expected, remedy)
        if now - none > none > 0:
            remedy = "Make the penalty smaller: it is larger than the data loss."
            return Outcome("warning", seen, "a penalty below the data loss", remedy)
        return Outcome("pass", seen, expected)
