"""Parameters that updates do not change."""

from __future__ import annotations

import torch
from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.checks._named import first_names
from nbdebug.checks._updates import gradients_along_updates
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome


class UnchangedParameters(Check):
    """Checks that the optimizer changes every weight that has a gradient.

    Weights stay unchanged without any error if the learning rate is so small that rounding
    removes the update, if a parameter group has a learning rate of 0, or if the optimizer skips
    its step. An optimizer may gather several gradients before it makes an update, so up to 32 are
    tried. Biases are excluded, since normalisation removes their gradient; frozen parameters are
    only counted.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "unchanged_parameters"
    step = 3
    order = 12
    title = "An update changes every weight"
    source = "torchtest; Schoop et al. (2021), UMLAUT; TrainCheck (2025)"
    explains = ("overfit",)
    alters = True

    def examine(self, context: CheckContext) -> Outcome:
        optimizer = context.subject.optimizer
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        weights = [
            (name, p)
            for name, p in context.subject.parameters
            if p.requires_grad and id(p) in held and p.ndim > 1
        ]
        before = {name: p.detach().clone() for name, p in weights}
        still: dict[str, nn.Parameter] = {}
        changed: set[str] = set()
        for updates in gradients_along_updates(context):
            changed |= {n for n, p in weights if n in still and not torch.equal(p, before[n])}
            for name, parameter in weights:
                if parameter.grad is not None and bool(parameter.grad.to_dense().count_nonzero()):
                    still[name] = parameter
            if updates and changed >= still.keys():
                break
        return self._judge(context, sorted(still.keys() - changed), len(still), updates)

    def _judge(self, context: CheckContext, still: list[str], count: int, updates: int) -> Outcome:
        if not count:
            return Outcome("not_applicable", "no weight of the optimizer has a gradient.")
        if not updates:
            return Outcome("not_applicable", "the loss is NaN or Inf after the first update.")
        frozen = sum(not p.requires_grad for p in context.model.parameters())
        words = f", {frozen} frozen" if frozen else ""
        seen = f"{count - len(still)} of {count} weights changed{words}"
        if not still:
            return Outcome("pass", seen, "all weights with a gradient")
        if all(group["lr"] == 0 for group in context.subject.optimizer.param_groups):
            if context.subject.is_scheduled:
                return Outcome("not_applicable", "the schedule holds the learning rate at 0.")
            remedy = "Set a learning rate above 0."
        else:
            remedy = _of_group(context, still[0]) or (
                "Raise the learning rate of their parameter group: rounding removes updates."
            )
        return Outcome(
            "warning",
            f"{seen} in {updates} updates; {first_names(still)} did not change",
            "all weights with a gradient",
            remedy,
        )


def _of_group(context: CheckContext, name: str) -> str | None:
    """Remedy for a parameter whose group has a learning rate of 0; None for others."""
    wanted = dict(context.subject.parameters)[name]
    groups = context.subject.optimizer.param_groups
    for number, group in enumerate(groups):
        if group["lr"] == 0 and any(parameter is wanted for parameter in group["params"]):
            return (
                f"Parameter group {number} of {len(groups)} has a learning rate of 0: set it, or "
                "freeze its layers by requires_grad_(False)."
            )
    return None
