"""Independence of samples within a batch."""

from __future__ import annotations

from typing import Any

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._model_calls import uneven_step
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import first_samples, with_leaves

TESTED_SAMPLES = 8


class SampleIndependence(Check):
    """Checks that the output of each sample depends only on that sample.

    A .view() instead of a .transpose(), or a softmax over the batch dimension, mixes samples:
    training raises no error but learns something else. In eval mode BatchNorm does not mix
    samples; attention over the batch dimension does.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "sample_independence"
    step = 3
    order = 40
    title = "Samples do not mix"
    source = "Karpathy, A Recipe for Training Neural Networks"
    explains = ("batch_order",)

    TOLERANCE = 1e-4

    def examine(self, context: CheckContext) -> Outcome:
        if context.loss_fn is None:
            return self._of_step(context)
        inputs = first_samples(context.inputs, TESTED_SAMPLES)
        if not isinstance(inputs, torch.Tensor) or len(inputs) < 3:
            return Outcome("not_applicable", "the inputs are not a tensor of at least 3 samples.")
        state = torch.get_rng_state()
        before, again = context.outputs(inputs), context.outputs(inputs)
        if not isinstance(before, torch.Tensor) or len(before) != len(inputs):
            return Outcome(
                "not_applicable", "the outputs are not a tensor with one row per sample."
            )
        if not _close(before, again, self.TOLERANCE):
            return self._differing(context, inputs, before, state)
        changed = inputs.clone()
        # Copies of the first sample, since a permutation could leave a sum over samples unchanged.
        changed[1:] = inputs[:1]
        if changed.equal(inputs):
            return Outcome("not_applicable", "all samples of the batch are equal.")
        after = context.outputs(changed)
        shift = float((after[0] - before[0]).abs().max())
        if not _close(after[0], before[0], self.TOLERANCE):
            return Outcome(
                "fail", f"the first output changed by {shift:.2g} when other samples changed", "0",
                "Look for .view() or .reshape() across the batch dimension, or dim=0 in a softmax.",
            )  # fmt: skip
        return Outcome("pass", "outputs do not change when other samples change", "0")

    def _differing(
        self, context: CheckContext, inputs: torch.Tensor, before: torch.Tensor, state: torch.Tensor
    ) -> Outcome:
        """Outcome of equal inputs with other outputs: a state, or random numbers in eval mode."""
        alike = [before]
        for _ in range(2):
            torch.set_rng_state(state)
            alike.append(context.outputs(inputs))
        # A state that has settled repeats itself, but not what it was at first.
        if not all(_close(one, alike[-1], self.TOLERANCE) for one in alike):
            return Outcome(
                "fail", "a call changes the outputs of the next one, with the same inputs and "
                "random numbers in eval mode", "outputs that depend on the inputs alone",
                "Look for a hidden state, a counter or a running average that forward keeps "
                "in the model: pass it in, or reset it for each batch.",
            )  # fmt: skip
        return Outcome(
            "fail", "the same inputs give different outputs in eval mode", "equal outputs",
            "Use nn.Dropout, which eval mode switches off, or pass training=self.training.",
        )  # fmt: skip

    def _of_step(self, context: CheckContext) -> Outcome:
        """Outcome for the first call of the model in a step, of any inputs with a row each."""
        step = uneven_step(context)
        if isinstance(step, str):
            return Outcome("not_applicable", step)
        call = step.calls[0]
        rows = {len(one) if one.ndim else 0 for one in call.inputs}
        square = any(one.ndim > 1 and one.shape[0] == one.shape[1] for one in call.inputs)
        if len(rows) != 1 or square or not min(rows) > 2:
            return Outcome("not_applicable", "the inputs of the model are not one row per sample.")
        before, again = call.again(context), call.again(context)
        changed = with_leaves(call.arguments, _first_for_others)
        after = call.with_arguments(context, changed)
        if any(one.ndim and len(one) != min(rows) for one in before):
            return Outcome("not_applicable", "the outputs are not one row per sample.")
        for one, same, other in zip(before, again, after, strict=True):
            if not one.ndim or not _close(one, same, self.TOLERANCE):
                return Outcome("not_applicable", "outputs of equal inputs differ in eval mode.")
            if not _close(other[0], one[0], self.TOLERANCE):
                shift = float((other[0] - one[0]).abs().max())
                return Outcome(
                    "fail", f"the first output changed by {shift:.2g} when other samples changed",
                    "0", "Look for .view() or .reshape() across the batch dimension, or dim=0 in "
                    "a softmax.",
                )  # fmt: skip
        return Outcome("pass", "outputs do not change when other samples change", "0")


def _first_for_others(leaf: Any) -> Any:
    """The first sample in place of all others."""
    return leaf[:1].expand_as(leaf).clone() if isinstance(leaf, torch.Tensor) else leaf


def _close(one: Any, other: Any, tolerance: float) -> bool:
    scale = float(other.abs().max()) or 1.0
    return float((one - other).abs().max()) <= tolerance * scale
