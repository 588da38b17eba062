"""Loss before training."""

from __future__ import annotations

import math

import torch

from nbdebug.checks._constant import best_constant, is_binary, is_cross_entropy, plain
from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.check_result import Outcome, Verdict

SAMPLES = 64
LARGE = 5.0


class InitialLoss(Check):
    """The loss of the untrained model, against that of a model that ignores its inputs.

    An untrained classifier of C classes should say 1/C for each, a loss of ln C (2.302 for
    10 classes, 0.693 for two); a regression should lose about the variance of its targets.
    Far above: initial weights or targets on the wrong scale. Far below: the targets leak
    into the inputs, or the loss is divided once too often.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "initial_loss"
    step = 2
    order = 20
    title = "Loss before training"
    source = "CS231n, Neural Networks 3; Karpathy, A Recipe for Training Neural Networks"

    FAIL = 3.0
    WARNING = 2.0
    LOW = 0.5

    def examine(self, context: CheckContext) -> Outcome:
        if context.step:
            return Outcome("not_applicable", "training has begun; Reset to check the beginning.")
        found = plain(context)
        if isinstance(found, str):
            return Outcome("not_applicable", found)
        enough = -(-SAMPLES // context.samples.batch_size)
        parts = context.alike[:enough]
        # All at once, so that a sum over samples is a sum on both sides.
        outputs = torch.cat([context.outputs(inputs) for inputs, _ in parts])
        targets = torch.cat([targets for _, targets in parts])
        assert context.loss_fn is not None  # plain() asked
        loss = float(context.loss_fn(outputs, targets))
        chance, words = self._chance(context, outputs, targets)
        if chance is None:
            return Outcome("not_applicable", "no best constant output was found for this loss.")
        seen, expected = f"loss {loss:.4g}", f"about {chance:.4g} ({words})"
        ratio = loss / chance
        if not math.isfinite(loss) or ratio > self.FAIL:
            status: Verdict = "fail"
        elif ratio > self.WARNING or ratio < self.LOW:
            status = "warning"
        else:
            return Outcome("pass", seen, expected)
        return Outcome(
            status, f"{seen}, {ratio:.2g} times chance", expected, _advice(context, ratio)
        )

    def _chance(
        self, context: CheckContext, outputs: torch.Tensor, targets: torch.Tensor
    ) -> tuple[float | None, str]:
        assert context.loss_fn is not None  # plain() asked
        uniform = torch.zeros_like(outputs)
        if is_cross_entropy(context, outputs, targets):
            return float(context.loss_fn(uniform, targets)), f"-ln(1/{outputs.shape[1]}) a sample"
        if is_binary(context, outputs, targets):
            return float(context.loss_fn(uniform, targets)), "-ln(1/2) a sample"
        return best_constant(context, targets, outputs.shape[1:]), "of the best constant output"


def _advice(context: CheckContext, ratio: float) -> str:
    if ratio < 1:
        return (
            "See whether the targets leak into the inputs, whether these weights are trained "
            "already, and how the loss is reduced."
        )
    for part, name in ((context.inputs, "inputs"), (context.targets, "targets")):
        if isinstance(part, torch.Tensor) and part.is_floating_point():
            size = float(part.float().abs().mean())
            if size > LARGE:
                return f"The {name} are {size:.3g} on average, not scaled: standardise them."
    return (
        "Inputs and targets are of usual size, so the initial weights are too large: use "
        "PyTorch's default ones (reinit), and see that the loss takes what the model gives."
    )
