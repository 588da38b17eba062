"""Symmetry of initial weights."""

from __future__ import annotations

import torch
from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.names import layers

WEIGHT_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.RNNBase)


class Symmetry(Check):
    """Checks that the units of each layer start with different weights.

    Equal units get equal gradients and stay equal: the layer is equivalent to a single unit. If
    all weights are 0, a ReLU network gets no gradient. Equal units with different gradients, as
    those of an adapter that starts at 0, separate at the first update.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "symmetry"
    step = 3
    order = 5
    title = "Different initial weights"
    source = "CS231n, Neural Networks 2; TheDeepChecker (2022)"
    explains = (
        "dead_units", "constant_activations", "zero_gradient", "affine", "initial_loss", "overfit",
    )  # fmt: skip

    def examine(self, context: CheckContext) -> Outcome:
        found = [layer for layer in layers(context.model) if isinstance(layer.module, WEIGHT_KINDS)]
        if not found:
            return Outcome(
                "not_applicable", "the model has no linear, convolutional or recurrent layer."
            )
        # A last layer of zeros does no harm, since its inputs differ.
        inner = found[:-1] or found
        equal = [
            (layer.name, weight)
            for layer in inner
            for name, weight in layer.module.named_parameters(recurse=False)
            if weight.ndim > 1 and len(weight) > 1 and _equal_rows(weight)
        ]
        if equal:
            context.gradients()
        alike = [name for name, weight in equal if not _is_zero_branch(weight)]
        if alike:
            return Outcome(
                "fail", f"all units of {', '.join(dict.fromkeys(alike))} have equal weights",
                "different weights", "Initialise the weights randomly (control reinit).",
            )  # fmt: skip
        return Outcome("pass", f"units of {len(found)} layers differ", "different weights")


def _is_zero_branch(weight: torch.Tensor) -> bool:
    """True for zeros at the end of a branch, which differ as soon as they have gradients."""
    differ = weight.grad is not None and not _equal_rows(weight.grad)
    return differ and not bool(weight.any())


def _equal_rows(weight: torch.Tensor) -> bool:
    return bool((weight == weight[:1]).all())
