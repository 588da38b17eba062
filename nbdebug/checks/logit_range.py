"""Range of the logits, where it does not depend on the model."""

from __future__ import annotations

import math

import torch

from nbdebug.checks._bounded import TOLERANCE, Bounded, BoundedLogits
from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome


class LogitRange(Check):
    """Checks that logits can become large enough for the loss to fall.

    Cosines lie between -1 and 1, and so do the outputs of a tanh. Under cross-entropy such logits
    give nearly equal probabilities, more so if they are multiplied by a temperature instead of
    divided by it: the loss stays near that of chance however well the model works. The range is
    followed from a norm, a cosine or a bounded activation to the loss; a scale that is learnt
    makes it free.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "logit_range"
    step = 2
    order = 12
    title = "Range of the logits"
    source = "Wang et al., NormFace (2017); Chen et al., SimCLR (2020), temperature"
    explains = ("initial_loss", "overfit", "loss_optimum", "gradient_ratio")

    MAX_SHARE, MAX_FAIR_SHARE = 0.9, 0.7

    def examine(self, context: CheckContext) -> Outcome:
        context.train()
        trace = BoundedLogits()
        with torch.enable_grad(), trace:
            context.evaluate(context.batch)
        if not trace.seen:
            return Outcome("not_applicable", "no function of torch is seen to take logits.")
        if not trace.found:
            return Outcome("pass", "logits without a limit", "logits that can become large")
        share, lowest, chance, worst = max(
            ((*_lowest(one), one) for one in trace.found), key=lambda found: found[0]
        )
        where = f" ({worst.line})" if worst.line else ""
        seen = (
            f"the logits of {worst.function}{where} lie between {worst.range.low:.3g} and "
            f"{worst.range.high:.3g} whatever the model gives: the loss cannot fall below "
            f"{lowest:.3g}, and chance gives {chance:.3g}"
        )
        expected = f"a lowest loss of at most {self.MAX_FAIR_SHARE:.0%} of that of chance"
        if share <= self.MAX_FAIR_SHARE:
            return Outcome("pass", seen, expected)
        return Outcome(
            "fail" if share > self.MAX_SHARE else "warning", seen, expected,
            "Divide the similarities by the temperature (0.05 to 0.5), or multiply them by a scale "
            "that is learnt.",
        )  # fmt: skip


def _lowest(found: Bounded) -> tuple[float, float, float]:
    """The lowest loss as a share of that of chance, the lowest loss, and that of chance."""
    low, high = found.range.low, found.range.high
    if found.function == "binary_cross_entropy_with_logits":
        lowest = (math.log1p(math.exp(-high)) + math.log1p(math.exp(low))) / 2
        return lowest / math.log(2), lowest, math.log(2)
    # Classes that a mask hides are none.
    shown = (found.logits >= low - TOLERANCE * max(1.0, abs(low))).sum(found.dim)
    classes = max(2, int(shown.min()))
    lowest = math.log1p((classes - 1) * math.exp(low - high))
    return lowest / math.log(classes), lowest, math.log(classes)
