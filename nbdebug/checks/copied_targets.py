"""Targets that are a copy of the inputs."""

from __future__ import annotations

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.check_result import Outcome


class CopiedTargets(Check):
    """Checks that the targets of a sequence are not its inputs.

    A model that predicts the next token gets the sequence moved by one place as its targets.
    Unmoved, each target stands in the inputs at the same place: the model learns to copy, its
    loss falls to 0, and it predicts nothing.

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
        share = float((inputs == targets).float().mean())
        seen = f"{share:.0%} of the targets are equal to the inputs at the same place"
        if share > self.MAX_EQUAL_SHARE and len(inputs.unique()) > 1:
            return Outcome(
                "fail", seen, f"at most {self.MAX_EQUAL_SHARE:.0%}",
                "Shift by one: inputs are tokens[:, :-1], targets are tokens[:, 1:].",
            )  # fmt: skip
        return Outcome("pass", seen, f"at most {self.MAX_EQUAL_SHARE:.0%}")
