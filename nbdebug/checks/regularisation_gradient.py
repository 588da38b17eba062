"""The gradient of weight decay against that of the data."""

from __future__ import annotations

import math

from nbdebug.checks._context import CheckContext
from nbdebug.checks._weight_decay import decayed, is_decoupled
from nbdebug.checks.base import Check
from nbdebug.core.results.check_result import Outcome, Proposal


class RegularisationGradient(Check):
    """How large the gradient of weight decay is against that of the data.

    Weight decay is a nudge. Where it pulls harder than the data, the weights go to zero
    whatever the samples say, and a fault in the data gradient hides behind it.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "regularisation_gradient"
    step = 3
    order = 70
    title = "Weight decay against the data"
    source = "CS231n, Neural Networks 3 (gradient checks)"
    explains = ("overfit", "baselines")

    LARGE = 1.0

    def examine(self, context: CheckContext) -> Outcome:
        pairs = decayed(context)
        if not pairs:
            return Outcome("not_applicable", "weight decay is off.")
        if is_decoupled(context):
            return Outcome("not_applicable", "this optimizer applies decay apart from gradients.")
        context.gradients()
        data = math.sqrt(sum(float((p.grad**2).sum()) for p, _ in pairs if p.grad is not None))
        decay = math.sqrt(sum(decay**2 * float((p.detach() ** 2).sum()) for p, decay in pairs))
        if not data or not math.isfinite(data):
            return Outcome("not_applicable", "there is no gradient of the data to compare with.")
        ratio = decay / data
        seen = f"its gradient has {ratio:.2g} times the norm of the data's"
        if ratio > self.LARGE:
            smaller = float(f"{max(value for _, value in pairs) * 0.1 / ratio:.1g}")
            remedy = "Take a smaller weight decay."
            proposal = Proposal("weight_decay", smaller)
            return Outcome("warning", seen, f"at most {self.LARGE:g}", remedy, proposal)
        return Outcome("pass", seen, f"at most {self.LARGE:g}")
