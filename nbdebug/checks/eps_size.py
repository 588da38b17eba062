"""Size of eps in the optimizer."""

from __future__ import annotations

import math
from typing import Any

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._named import first_names
from nbdebug.checks._weight_decay import is_learnt
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.precision import wide


class EpsSize(Check):
    """Checks that eps of the optimizer is above 0 in the dtype of the weights, and small.

    Adam and similar optimizers divide by the size of the gradient plus eps. In float16 the
    default of 1e-8 is 0: a weight without a gradient becomes 0/0, which is NaN. An eps far above
    the gradients takes their place, so that the updates are far smaller than the learning rate,
    unless a large one makes up for it.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "eps_size"
    step = 4
    order = 42
    title = "eps of the optimizer"
    source = "PyTorch, torch.optim.Adam (eps)"
    explains = ("unchanged_parameters", "overfit", "one_epoch")

    MAX_GRADIENT_RATIO = 100.0
    # What no precision asks for; it is meant where the learning rate makes up for it.
    MIN_LARGE, MAX_SHARE, MIN_UPDATE = 0.01, 0.2, 1e-3

    def examine(self, context: CheckContext) -> Outcome:
        optimizer = context.subject.optimizer
        groups = [g for g in optimizer.param_groups if isinstance(g.get("eps"), int | float)]
        if not groups:
            return Outcome("not_applicable", f"{type(optimizer).__name__} has no eps.")
        for group in groups:
            lost = {p.dtype for p in group["params"] if _is_zero(group["eps"], p.dtype)}
            if lost and _divides(group):
                kind = str(lost.pop()).removeprefix("torch.")
                return Outcome(
                    "fail", f"eps={group['eps']:g} is 0 in {kind}, the dtype of the weights",
                    "above 0", "Use eps=1e-4, or keep the weights in float32 and compute in "
                    f"{kind} by torch.autocast: a gradient of 0 gives 0/0, which is NaN.",
                )  # fmt: skip
        loss = context.gradients()
        names = {id(p): name for name, p in context.subject.parameters}
        found = next(filter(None, (self._of_group(group, names) for group in groups)), None)
        if found is not None and is_learnt(context, loss):
            # Of the gradients, next to nothing is left.
            found = None
        return found or Outcome("pass", f"eps={groups[0]['eps']:g}", "above 0, below the gradients")

    def _of_group(self, group: dict[str, Any], names: dict[int, str]) -> Outcome | None:
        """A fault of eps beside the gradients of a group; None without."""
        eps = group["eps"]
        weights = [p for p in group["params"] if p.grad is not None]
        sizes = {names.get(id(p), "a parameter"): _rms(p.grad.to_dense()) for p in weights}
        largest = max(sizes.values(), default=0.0)
        if not largest > 0 or not _divides(group):
            return None
        share, update = _update(weights, group)
        # With an accumulator of squared updates, eps makes these larger.
        shrunk = eps >= self.MIN_LARGE and share < self.MAX_SHARE and "rho" not in group
        if eps <= self.MAX_GRADIENT_RATIO * largest and not (shrunk and update < self.MIN_UPDATE):
            return None
        return Outcome(
            "warning", f"eps={eps:g} is {eps / largest:.2g} times the largest root mean square of "
            f"a gradient ({largest:.2g}; {first_names(list(sizes))}): a step changes the weights "
            f"by about {update:.1g} of their size", f"at most {self.MAX_GRADIENT_RATIO:g} times, "
            f"and from {self.MIN_LARGE:g} on updates above {self.MIN_UPDATE:g}",
            "Lower eps (1e-8 is usual), or do not scale the loss down: as it is, eps sets the size "
            "of the updates.",
        )  # fmt: skip


def _rms(values: torch.Tensor) -> float:
    return math.sqrt(float(wide(values.detach()).square().mean()))


def _update(weights: list[torch.Tensor], group: dict[str, Any]) -> tuple[float, float]:
    """Norm of a first update, in parts of what it is without eps, and of that of the weights."""
    lr, eps, rest = float(group["lr"]), group["eps"], 1 - float(group.get("momentum", 0.0))
    update = size = 0.0
    moved = 0
    for weight in weights:
        gradient = wide(weight.grad.to_dense())  # type: ignore[union-attr]
        update += float((gradient / (gradient.abs() + eps)).square().sum())
        size += float(wide(weight.detach()).square().sum())
        moved += int(gradient.count_nonzero())
    ratio = lr / (rest or 1.0) * math.sqrt(update / size) if size else math.inf
    return math.sqrt(update / max(moved, 1)), ratio


def _divides(group: dict[str, Any]) -> bool:
    """True for the options of an optimizer that divides by the size of the gradient."""
    return "betas" in group or "alpha" in group or "rho" in group or "lr_decay" in group


def _is_zero(eps: float, dtype: torch.dtype) -> bool:
    return eps > 0 and dtype.is_floating_point and float(torch.tensor(eps, dtype=dtype)) == 0
