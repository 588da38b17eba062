"""What a last bias that knows the targets' frequencies would save."""

from __future__ import annotations

import torch

from nbdebug.checks._constant import best_constant, is_binary, is_cross_entropy, plain
from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.check_result import Outcome


class PriorBias(Check):
    """How much loss an initial bias of the last layer would save that fits the targets.

    With rare classes, or numbers far from 0, the first steps learn nothing but how frequent
    each class is, or the mean. A last bias set to the log of the frequencies, or to the mean,
    begins there.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "prior_bias"
    step = 2
    order = 40
    title = "Bias of the last layer"
    source = "Karpathy, A Recipe for Training Neural Networks (init well)"
    explains = ("initial_loss",)

    SHARE = 0.7

    def examine(self, context: CheckContext) -> Outcome:
        if context.step:
            return Outcome("not_applicable", "training has begun; Reset to check the beginning.")
        found = plain(context)
        if isinstance(found, str):
            return Outcome("not_applicable", found)
        outputs, _ = found
        targets = torch.cat([targets for _, targets in context.alike])
        assert context.loss_fn is not None  # plain() asked
        logits = is_cross_entropy(context, *found) or is_binary(context, *found)
        mean = None if logits or not targets.is_floating_point() else targets.double().mean()
        best = best_constant(context, targets, outputs.shape[1:])
        if best is None or (targets.shape[1:] != outputs.shape[1:] and not logits):
            return Outcome("not_applicable", "no best constant output was found for this loss.")
        begin = torch.zeros(len(targets), *outputs.shape[1:]).to(outputs)
        zero = float(context.loss_fn(begin, targets))
        saved = 1 - best / zero if zero > 0 else 0.0
        seen = f"a fitting bias begins at {best:.4g} in place of {zero:.4g}: {saved:.0%} less"
        if saved > self.SHARE:
            value = "the log of the class frequencies" if mean is None else f"the mean, {mean:.3g}"
            remedy = f"Begin with a last bias of {value}, or standardise the targets."
            return Outcome("warning", seen, f"at most {self.SHARE:.0%}", remedy)
        return Outcome("pass", seen, f"at most {self.SHARE:.0%}")
