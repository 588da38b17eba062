"""Penalty on the weights."""

from __future__ import annotations

import math

import torch

from nbdebug.checks._constant import output_tensors
from nbdebug.checks._context import CheckContext
from nbdebug.checks._loss_trace import COMPARED, DATA, LEARNT, Term, loss_trace
from nbdebug.checks._weight_decay import decayed_parameters, is_decoupled, is_learnt
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome, Proposal

SMALLER = "Use a smaller penalty: the penalty is larger than the data loss."


class Regularisation(Check):
    """Checks that the penalty on the weights raises the loss, and is smaller than the data loss.

    The penalty is weight decay, or a term of the loss that depends on the weights. If the penalty
    is larger than the data loss, training mostly shrinks the weights; if it lowers the loss, its
    sign is wrong.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "regularisation"
    step = 2
    order = 50
    title = "Penalty on the weights"
    source = "CS231n, Neural Networks 3 (sanity checks)"
    explains = ("overfit", "baselines", "regularisation_gradient")
    alters = True

    def examine(self, context: CheckContext) -> Outcome:
        found = output_tensors(context)
        if isinstance(found, Outcome):
            return _beside_data(context) or found
        outputs, targets = found
        own = self._own(context, outputs, targets)
        if own is not None:
            return own
        pairs = decayed_parameters(context)
        if not pairs or is_decoupled(context):
            said = "this optimizer applies it separately from the loss." if pairs else "off."
            return Outcome("not_applicable", f"weight decay: {said}")
        data = context.loss_value(outputs, targets)
        penalty = sum(decay / 2 * float((p.detach() ** 2).sum()) for p, decay in pairs)
        seen = (
            f"data loss {data:.4g}, with weight decay {data + penalty:.4g}, "
            f"with ten times the decay {data + 10 * penalty:.4g}"
        )
        if penalty > data > 0 and is_learnt(context, data):
            return _learnt(seen)
        if penalty > data > 0:
            smaller = float(f"{max(decay for _, decay in pairs) * 0.1 * data / penalty:.1g}")
            return Outcome(
                "warning", seen, "a penalty below the data loss", "Use a smaller weight decay.",
                Proposal("weight_decay", smaller),
            )  # fmt: skip
        return Outcome("pass", seen, "a penalty below the data loss")

    def _own(
        self, context: CheckContext, outputs: torch.Tensor, targets: torch.Tensor
    ) -> Outcome | None:
        """Result for a penalty within the loss; None if the loss does not depend on the weights."""
        losses = []
        weights = [p for _, p in context.subject.parameters]
        with torch.no_grad():
            for factor in (1.0, 1.0, 0.0, 2.0):
                kept = [p.clone() for p in weights]
                for weight in weights:
                    weight.mul_(factor)
                losses.append(context.loss_value(outputs, targets))
                for weight, value in zip(weights, kept, strict=True):
                    weight.copy_(value)
        now, again, none, double = losses
        # Of the same outputs, a loss that draws random numbers differs by chance.
        if now != again or now == none == double or not all(math.isfinite(loss) for loss in losses):
            return None
        seen = f"loss {none:.4g} with zero weights, {now:.4g} with the current weights, "
        seen += f"{double:.4g} with doubled weights"
        expected = "a loss that rises with the weights"
        if not none < now < double:
            remedy = "Add the penalty to the loss instead of subtracting it."
            return Outcome("fail", seen, expected, remedy)
        if now - none > none > 0 and is_learnt(context, none):
            return _learnt(seen)
        if now - none > none > 0:
            return Outcome("warning", seen, "a penalty below the data loss", SMALLER)
        return Outcome("pass", seen, expected)


def _learnt(seen: str) -> Outcome:
    return Outcome("pass", f"{seen}; the data are learnt all the same", "a penalty that lets learn")


def _beside_data(context: CheckContext) -> Outcome | None:
    """Result for a step that adds norms of the weights to terms of data; None without."""
    terms, *smaller = (_terms(context, factor) for factor in (1.0, 0.5, 0.25))
    if any(len(each) != len(terms) for each in smaller):
        return None
    penalty = sum(
        term.value
        for term, half, quarter in zip(terms, *smaller, strict=True)
        if term.source & LEARNT
        and not term.source & (DATA | COMPARED)
        # A norm falls by the same factor again; a divergence from a prior need not be small.
        and math.isclose(half.value**2, term.value * quarter.value, rel_tol=1e-3)
        and abs(half.value) <= 0.51 * abs(term.value)
    )
    data = sum(term.value for term in terms if term.source & COMPARED)
    # A loss without a lower bound, such as a likelihood, has no size to compare with.
    if not (penalty and math.isfinite(penalty) and data > 0):
        return None
    seen = f"data loss {data:.4g}, penalty on the weights {penalty:.4g}"
    if penalty < 0:
        remedy = "Add the penalty to the loss instead of subtracting it."
        return Outcome("fail", seen, "a loss that rises with the weights", remedy)
    if penalty > data:
        if is_learnt(context, data):
            return _learnt(seen)
        return Outcome("warning", seen, "a penalty below the data loss", SMALLER)
    return Outcome("pass", seen, "a penalty below the data loss")


def _terms(context: CheckContext, factor: float) -> list[Term]:
    """Terms of the loss with the weights times a factor, from left to right."""
    kept = [(p, p.detach().clone()) for _, p in context.subject.parameters]
    with torch.no_grad():
        for weight, value in kept:
            weight.copy_(factor * value)
    try:
        trace = loss_trace(context)
    finally:
        with torch.no_grad():
            for weight, value in kept:
                weight.copy_(value)
    return [] if isinstance(trace, str) else trace.terms()
