"""Units that output 0 for almost every sample."""

from __future__ import annotations

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.check_result import Outcome

DEAD_KINDS = ("relu", "relu6", "leaky_relu", "elu", "gelu", "silu")


class DeadUnits(Check):
    """Checks that few units of each activation are dead, that is 0 for almost every sample.

    A dead unit gets no gradient and does not recover. ReLU units die from a bias or a learning
    rate that is too large, or from inputs far from 0.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "dead_units"
    step = 3
    order = 20
    title = "Dead units"
    source = "TheDeepChecker (2022): 95th percentile of |activation| under 1e-5"
    explains = ("zero_gradient", "constant_activations", "unchanged_parameters", "overfit")

    ZERO_TOLERANCE = 1e-5
    MAX_DEAD_SHARE = 0.8

    def examine(self, context: CheckContext) -> Outcome:
        shares = {
            name: self._dead(watched.peaks)
            for name, watched in context.activations.items()
            if watched.kind in DEAD_KINDS
        }
        if not shares:
            return Outcome("not_applicable", "forward calls no activation such as ReLU.")
        name, worst = max(shares.items(), key=lambda item: item[1])
        words = f"{worst:.0%} of the units of layer {name} are dead"
        if worst > self.MAX_DEAD_SHARE:
            remedy = (
                "Re-initialise the layer (reinit), lower the learning rate, standardise the inputs."
            )
            return Outcome("fail" if worst == 1 else "warning", words, "at most 80%", remedy)
        return Outcome("pass", words, "at most 80%")

    def _dead(self, peaks: list[torch.Tensor]) -> float:
        level = torch.quantile(torch.cat(peaks), 0.95, dim=0)
        return float((level < self.ZERO_TOLERANCE).float().mean())
