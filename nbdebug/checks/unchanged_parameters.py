"""Parameters that one update does not change."""

from __future__ import annotations

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._named import first_names
from nbdebug.checks.base import Check
from nbdebug.core.results.check_result import Outcome


class UnchangedParameters(Check):
    """Checks that one optimizer step changes every weight that has a gradient.

    Weights stay unchanged without any error if the learning rate is so small that rounding
    removes the update, if a parameter group has a learning rate of 0, or if the optimizer skips
    its step. Biases are excluded, since normalisation removes their gradient; frozen parameters
    are only counted.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "unchanged_parameters"
    step = 3
    order = 12
    title = "An update changes every weight"
    source = "torchtest; Schoop et al. (2021), UMLAUT; TrainCheck (2025)"
    explains = ("overfit",)

    def examine(self, context: CheckContext) -> Outcome:
        optimizer = context.subject.optimizer
        context.gradients()
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        named = [
            (name, p)
            for name, p in context.subject.parameters
            if p.requires_grad and p.grad is not None and id(p) in held and p.ndim > 1
            and bool(p.grad.to_dense().count_nonzero())
        ]  # fmt: skip
        frozen = sum(not p.requires_grad for p in context.model.parameters())
        if not named:
            return Outcome("not_applicable", "no weight of the optimizer has a gradient.")
        before = [p.detach().clone() for _, p in named]
        optimizer.step()
        still = [name for (name, p), old in zip(named, before, strict=True) if torch.equal(p, old)]
        words = f", {frozen} frozen" if frozen else ""
        seen = f"{len(named) - len(still)} of {len(named)} weights changed{words}"
        if not still:
            return Outcome("pass", seen, "all weights with a gradient")
        if all(group["lr"] == 0 for group in optimizer.param_groups):
            if context.subject.schedule.schedulers:
                return Outcome("not_applicable", "the schedule starts at a learning rate of 0.")
            remedy = "Set a learning rate above 0."
        else:
            remedy = "Raise the learning rate of their parameter group: rounding removes updates."
        return Outcome(
            "warning",
            f"{seen}; {first_names(still)} did not change",
            "all weights with a gradient",
            remedy,
        )
