"""Units that are always near a limit of their range."""

from __future__ import annotations

import torch

from nbdebug.checks._activation_outputs import MAX_FEATURES, Watched
from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome


class SaturatedUnits(Check):
    """Checks that few units of tanh, sigmoid or softsign are saturated for almost all samples.

    Near the limits of the activation the slope is almost 0, and so is the gradient. Large initial
    weights or unscaled inputs saturate a layer before training starts.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "saturated_units"
    step = 3
    order = 22
    title = "Saturated units"
    source = "Glorot and Bengio (2010); TheDeepChecker (2022)"
    explains = ("gradient_ratio", "zero_gradient", "overfit")
    alters = True

    MIN_SAMPLE_SHARE = 0.95
    MAX_SATURATED_SHARE = 0.5

    def examine(self, context: CheckContext) -> Outcome:
        outputs = context.outputs()
        watched = {
            name: each
            for name, each in context.activations.items()
            if each.edges and not each.behind and not _is_output(each, outputs)
        }
        if not watched:
            return Outcome("not_applicable", "no hidden layer uses tanh, sigmoid or softsign.")
        shares = {name: self._saturated(each.edges) for name, each in watched.items()}
        name, worst = max(shares.items(), key=lambda item: item[1])
        seen = f"{worst:.0%} of the units of layer {name} are within 2.5% of a limit of their range"
        expected = f"at most {self.MAX_SATURATED_SHARE:.0%}"
        if worst > self.MAX_SATURATED_SHARE:
            remedy = "Use smaller inputs and initial weights, add normalisation, or use ReLU."
            return Outcome("warning", seen, expected, remedy)
        return Outcome("pass", seen, expected)

    def _saturated(self, edges: list[torch.Tensor]) -> float:
        return float((torch.cat(edges).mean(0) > self.MIN_SAMPLE_SHARE).float().mean())


def _is_output(watched: Watched, outputs: object) -> bool:
    """True for the output activation, which confident predictions saturate."""
    if not isinstance(outputs, torch.Tensor) or outputs.ndim < 2:
        return False
    same = outputs.float().flatten(1)[:, :MAX_FEATURES]
    return watched.values[0].shape == same.shape and torch.allclose(watched.values[0], same)
