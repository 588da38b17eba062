"""Constant and duplicate input features."""

from __future__ import annotations

import torch
from torch.nn.modules.batchnorm import _NormBase

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import split
from nbdebug.model.precision import wide

# Of samples that may have been scaled, and the rounding of their length.
MIN_FEATURES, MAX_FEATURES, SAME_LENGTH = 3, 512, 1e-5


class Features(Check):
    """Checks that most input features vary over the samples; counts duplicate features.

    A constant feature carries no information; some constant features (the border of images) do
    no harm. If almost all features are constant, the data was read or scaled incorrectly. Samples
    that were scaled to length 1, where each feature should have been, differ by next to nothing.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "features"
    step = 4
    order = 12
    title = "Features vary"
    source = "TheDeepChecker (2022); scikit-learn, VarianceThreshold"
    explains = ("constant_activations", "overfit", "baselines", "one_epoch", "signal")

    MAX_CONSTANT_SHARE, MAX_SAME_SHARE = 0.9, 0.95

    def examine(self, context: CheckContext) -> Outcome:
        parts = [split(batch)[0] for batch in context.data]
        if not all(isinstance(part, torch.Tensor) for part in parts):
            return Outcome("not_applicable", "the inputs are not a single tensor.")
        shapes = {part.shape[1:] for part in parts}
        if len(shapes) > 1 or sum(len(part) for part in parts) < 3:
            return Outcome(
                "not_applicable", "the samples differ in shape, or there are fewer than 3."
            )
        inputs = torch.cat(parts).flatten(1)
        constant = (inputs == inputs[:1]).all(0)
        number, still = inputs.shape[1], int(constant.sum())
        varying = inputs[:, ~constant]
        twice = varying.shape[1] - len(torch.unique(varying, dim=1).T) if number <= 4096 else 0
        seen = f"{still} of {number} features constant, {twice} duplicate"
        expected = f"less than {self.MAX_CONSTANT_SHARE:.0%} constant"
        if still == number:
            remedy = "Check the code that loads the inputs: every sample is the same."
            return Outcome("fail", f"all {len(inputs):,} samples are equal", expected, remedy)
        if still > self.MAX_CONSTANT_SHARE * number:
            remedy = "Check the code that loads, scales and rounds the inputs."
            return Outcome("warning", seen, expected, remedy)
        same = _same_share(context, inputs)
        if same > self.MAX_SAME_SHARE:
            return Outcome(
                "warning", f"each sample was scaled to the same length, such as length 1, and the "
                f"samples are alike: {same:.1%} of their squares is that of the mean sample, since "
                f"feature {int(inputs.float().square().mean(0).argmax())} drowns the others",
                f"at most {self.MAX_SAME_SHARE:.0%}, or features that are standardised",
                "Standardise each feature over the samples, (x - X.mean(0)) / X.std(0) as "
                "StandardScaler does; Normalizer and F.normalize(x, dim=1) scale each sample.",
            )  # fmt: skip
        return Outcome("pass", seen, expected)


def _same_share(context: CheckContext, inputs: torch.Tensor) -> float:
    """Share of the squares of inputs [N, F] of one length that all of them have in common.

    0 where lengths differ, or where a layer standardises the features.
    """
    if not inputs.is_floating_point() or not MIN_FEATURES <= inputs.shape[1] <= MAX_FEATURES:
        return 0.0
    norms = (module for module in context.model.modules() if isinstance(module, _NormBase))
    if any(norm.num_features == inputs.shape[1] for norm in norms):
        return 0.0
    rows = wide(inputs)
    length = rows.norm(dim=1)
    mean = length.mean()
    if not float(mean) > 0 or float((length - mean).abs().max()) > SAME_LENGTH * float(mean):
        return 0.0
    return float(rows.mean(0).square().sum() / mean**2)
