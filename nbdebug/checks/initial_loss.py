"""Loss before training."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from nbdebug.checks._constant import (
    best_constant,
    is_binary,
    is_cross_entropy,
    is_regression,
    output_range,
    output_tensors,
    smallest_loss,
)
from nbdebug.checks._context import CheckContext
from nbdebug.checks._initial_advice import advice, widest
from nbdebug.checks._initial_weights import loaded, trained_before
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome, Verdict

LOSS_SAMPLES = 64
# Weights up to 30 times as large give outputs that are at most this many times as wide.
SCALED_RATIO = 5.0


class Chance(NamedTuple):
    """The loss of a model that knows nothing, None if it was not found.

    Attributes:
        words: whose loss it is; lowest: True if it is the lowest of all constant outputs.
    """

    loss: float | None
    words: str
    lowest: bool = False


class InitialLoss(Check):
    """Checks that the loss of the untrained model is close to that of a constant output.

    An untrained classifier of C classes should give each the probability 1/C, a loss of ln C
    (2.302 for 10 classes, 0.693 for two); the loss of a regression should be about the variance
    of the targets. A loss far above means initial weights or targets on the wrong scale. A loss
    far below means that the targets leak into the inputs, or that the loss is divided twice.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "initial_loss"
    step = 2
    order = 20
    title = "Loss before training"
    source = "CS231n, Neural Networks 3; Karpathy, A Recipe for Training Neural Networks"

    FAIL_RATIO = 3.0
    WARNING_RATIO = 2.0
    LOW_RATIO = 0.5
    # Of losses other than cross-entropy, where the weights are PyTorch's.
    OTHER_LOSSES = 1.5
    NOTHING = 1e-6
    # Between the mean of the targets and 0: standard deviations, or the size of fresh outputs.
    MAX_OFFSET, NEAR = 0.5, 1.0

    def examine(self, context: CheckContext) -> Outcome:
        trained = _why_trained(context)
        if trained:
            return Outcome("not_applicable", trained)
        found = output_tensors(context)
        if isinstance(found, Outcome):
            return found
        enough = -(-LOSS_SAMPLES // context.samples.batch_size)
        parts = context.alike[:enough]
        # All samples at once, so that a sum over samples is compared with a sum.
        outputs = torch.cat([context.outputs(inputs) for inputs, _ in parts])
        targets = torch.cat([targets for _, targets in parts])
        loss = context.loss_value(outputs, targets)
        chance, words, is_lowest = self._chance(context, outputs, targets)
        # Uniform scores are no minimum: of log-probabilities their loss is 0.
        lowest = chance if is_lowest else None
        different = bool((targets != targets[0]).any())
        if lowest is not None and lowest < self.NOTHING * loss and different:
            return _without_reward(loss, lowest)
        if not chance:
            return Outcome("not_applicable", "no best constant output was found for this loss.")
        if loss > self.WARNING_RATIO * chance and is_regression(outputs, targets):
            chance, words = self._untrained(context, outputs, targets, chance, words)
        seen, expected = f"loss {loss:.4g}", f"about {chance:.4g} ({words})"
        ratio = loss / chance
        # The loss of a constant is no chance where it is far from what PyTorch's weights give.
        usual = not is_lowest or widest(context.model)
        slack = 1.0 if usual else self.OTHER_LOSSES
        if not math.isfinite(loss) or ratio > slack * self.FAIL_RATIO:
            status: Verdict = "fail"
        elif ratio < self.LOW_RATIO or (
            ratio > slack * self.WARNING_RATIO and not _is_scaled(context)
        ):
            status = "warning"
        else:
            return Outcome("pass", seen, expected)
        return Outcome(
            status, f"{seen}, {ratio:.2g} times chance", expected,
            advice(context, ratio, context.loss_value(_mean_of(outputs), targets) / chance),
        )  # fmt: skip

    def _untrained(
        self, context: CheckContext, outputs: torch.Tensor, targets: torch.Tensor,
        chance: float, words: str,
    ) -> tuple[float, str]:  # fmt: skip
        """The loss of the best outputs that an untrained model can be expected to have."""
        # Nothing untrained knows the mean of each pixel: one number for all is chance.
        number = best_constant(context, targets, outputs.shape[1:], torch.Size())
        if number is not None:
            chance, words = max(chance, number), "of the best single number"
        # Of an asymmetric loss the best number is far from 0, where an untrained model is.
        offset = abs(float(targets.mean()))
        if offset < max(self.MAX_OFFSET * float(targets.std()), self.NEAR):
            nothing = context.loss_value(torch.zeros_like(outputs), targets)
            if nothing > chance:
                chance, words = nothing, "of an output of 0"
        return chance, words

    def _chance(
        self, context: CheckContext, outputs: torch.Tensor, targets: torch.Tensor
    ) -> Chance:
        uniform = torch.zeros_like(outputs)
        if is_cross_entropy(context, outputs, targets):
            words = f"-ln(1/{outputs.shape[1]}) per sample"
            return Chance(context.loss_value(uniform, targets), words)
        if is_binary(context, outputs, targets):
            return Chance(context.loss_value(uniform, targets), "-ln(1/2) per sample")
        lowest = smallest_loss(context, targets, outputs.shape[1:])
        return Chance(lowest, "of the best constant output", lowest=True)


def _why_trained(context: CheckContext) -> str:
    """Sentence on weights that were trained already; "" for initial ones."""
    if context.step:
        return "training has started; Reset to run this check."
    if name := trained_before(context.model):
        return f"the weights of the frozen layer {name} were trained before."
    name = loaded(context.model)
    return f"the weights of {name} were trained before, and loaded." if name else ""


def _without_reward(loss: float, chance: float) -> Outcome:
    return Outcome(
        "fail",
        f"loss {loss:.4g}; the same output for every sample has a loss of {chance:.2g}",
        "a loss that the same output for every sample does not bring to 0",
        "Nothing in the loss asks the model to tell samples apart: check the signs and the margins "
        "of its terms, and whether the targets differ.",
    )


def _is_scaled(context: CheckContext) -> bool:
    """True if the scale of the outputs is set by the model, such as cosines times a number."""
    low, high = output_range(context)
    outputs = context.outputs()
    now = float(outputs.max() - outputs.min())
    return high - low < SCALED_RATIO * now


def _mean_of(outputs: torch.Tensor) -> torch.Tensor:
    """The mean output in place of each one [N, ...]."""
    return outputs.mean(0, keepdim=True).expand_as(outputs).contiguous()
