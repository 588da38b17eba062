"""Direction of an update."""

from __future__ import annotations

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._updates import gradients_along_updates
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.precision import wide


class UpdateDirection(Check):
    """Checks that the optimizer moves the weights against the gradient.

    With maximize=True, or an optimizer of one's own with a wrong sign, each update raises the
    loss. The first update of a new optimizer is compared with the gradient it was made from, with
    weight decay switched off, for each parameter group.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "update_direction"
    step = 3
    order = 13
    title = "An update lowers the loss"
    source = "PyTorch, torch.optim (maximize)"
    explains = ("overfit", "one_epoch", "baselines", "lr_range")
    alters = True

    # Of updates with noise, some point the other way by chance.
    MIN_COSINE = 0.2

    def examine(self, context: CheckContext) -> Outcome:
        groups = context.subject.optimizer.param_groups
        raised = [number for number, group in enumerate(groups) if group.get("maximize")]
        if raised:
            return self._fault(raised, len(groups), "maximize=True")
        if context.step:
            return Outcome(
                "not_applicable", "earlier gradients are part of each update; Reset to run this "
                "check.",
            )  # fmt: skip
        cosines = self._cosines(context)
        if all(cosine == 0 for cosine in cosines):
            return Outcome("not_applicable", "the first updates change no parameter.")
        wrong = [number for number, cosine in enumerate(cosines) if cosine > self.MIN_COSINE]
        if wrong:
            words = f"the update has a cosine of {cosines[wrong[0]]:.2f} with the gradient"
            return self._fault(wrong, len(groups), words)
        seen = f"cosine of update and gradient: {max(cosines):.2f}"
        return Outcome("pass", seen, "below 0")

    def _fault(self, numbers: list[int], count: int, words: str) -> Outcome:
        where = f"parameter group {numbers[0]} of {count}: " if count > 1 else ""
        return Outcome(
            "fail", f"{where}{words}, so that each update raises the loss", "updates against the "
            "gradient", "Make the optimizer with maximize=False, or turn the sign of its step "
            "round: weights are to go against the gradient.",
        )  # fmt: skip

    def _cosines(self, context: CheckContext) -> list[float]:
        """Cosine of the first update with its gradient, for each parameter group."""
        groups = context.subject.optimizer.param_groups
        kept = [group.get("weight_decay") for group in groups]
        for group in groups:
            if "weight_decay" in group:
                group["weight_decay"] = 0.0
        try:
            return self._first(context)
        finally:
            for group, decay in zip(groups, kept, strict=True):
                if decay is not None:
                    group["weight_decay"] = decay

    def _first(self, context: CheckContext) -> list[float]:
        groups = context.subject.optimizer.param_groups
        total: list[list[torch.Tensor]] = []
        before: list[list[torch.Tensor]] = []
        for _ in gradients_along_updates(context):
            now = [[p.detach().clone() for p in group["params"]] for group in groups]
            if before:
                found = [
                    _cosine(old, new, slope)
                    for old, new, slope in zip(before, now, total, strict=True)
                ]
                if any(found):
                    return found
            before = now
            slopes = [[_flat(p) for p in group["params"]] for group in groups]
            if not total:
                total = slopes
            else:
                # An optimizer may gather several gradients before it makes an update.
                total = [
                    [a + b for a, b in zip(x, y, strict=True)]
                    for x, y in zip(total, slopes, strict=True)
                ]
        return [0.0] * len(groups)


def _flat(parameter: torch.Tensor) -> torch.Tensor:
    if parameter.grad is None:
        return wide(torch.zeros_like(parameter))
    return wide(parameter.grad.detach().to_dense())


def _cosine(old: list[torch.Tensor], new: list[torch.Tensor], slope: list[torch.Tensor]) -> float:
    moves = [(wide(b) - wide(a)) for a, b in zip(old, new, strict=True)]
    product = sum(float((m * s).sum()) for m, s in zip(moves, slope, strict=True))
    sizes = [sum(float((x**2).sum()) for x in part) ** 0.5 for part in (moves, slope)]
    return product / (sizes[0] * sizes[1]) if all(sizes) else 0.0
