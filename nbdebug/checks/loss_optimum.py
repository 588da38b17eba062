"""Outputs that the loss rewards."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from nbdebug.checks._constant import is_likelihood, is_satisfied, output_tensors
from nbdebug.checks._context import CheckContext
from nbdebug.checks._reachable import Reachable, reachable
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.precision import wide

MAX_SAMPLES = 64
MAX_ELEMENTS = 20_000
STEPS, FEW_STEPS = 300, 40
# Of a loss that falls in proportion to the way, ten times the way is ten times the fall.
MIN_PROPORTION = 5.0


class LossOptimum(Check):
    """Checks that the outputs which lower the loss are those of the targets.

    Gradient descent on the outputs alone, without the model, shows what the loss asks for. Where
    it does not lead to the targets, the loss does not fit the task: cross-entropy of a single
    output, targets in the wrong place, raw outputs where probabilities are expected. A loss that
    falls without bound has targets or outputs outside the range that it is defined for: a binary
    cross-entropy of masks of 0 and 255, or a likelihood of raw outputs.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "loss_optimum"
    step = 2
    order = 12
    title = "The loss rewards the targets"
    source = "PyTorch, loss functions; nbdebug: descent on the outputs"
    explains = ("initial_loss", "prior_bias", "overfit")

    MIN_CORRELATION = 0.5

    def examine(self, context: CheckContext) -> Outcome:
        found = output_tensors(context)
        if isinstance(found, Outcome):
            return found
        outputs, targets = (part[:MAX_SAMPLES] for part in found)
        if outputs.numel() > MAX_ELEMENTS:
            rows = max(2, MAX_ELEMENTS * len(outputs) // outputs.numel())
            outputs, targets = outputs[:rows], targets[:rows]
        if len(outputs) != len(targets) or len(outputs) < 2:
            return Outcome("not_applicable", "there is no target for each output.")
        raw = float(outputs.min()) < 0 < float(outputs.max())
        if raw and targets.is_floating_point() and is_likelihood(context, outputs, targets):
            return Outcome(
                "fail", f"outputs up to {float(outputs.max()):.3g}", "log-probabilities, at most 0",
                "nn.KLDivLoss() takes log-probabilities: add nn.LogSoftmax(1) at the end of the "
                "model.",
            )  # fmt: skip
        numbers = targets.is_floating_point() and targets.shape == outputs.shape
        try:
            model = reachable(context, outputs)
            best = _descended(context, model, targets, STEPS if numbers else FEW_STEPS)
            if best is not None and _is_unbounded(context, model, best, targets):
                return _unbounded(targets, best)
        except RuntimeError as error:
            return Outcome("not_applicable", f"the loss has no gradient at the outputs: {error}")
        if best is None:
            return Outcome("not_applicable", "the loss of these outputs is NaN or Inf.")
        if not numbers:
            return Outcome(
                "pass", f"the loss falls to {best.loss:.3g} along the outputs", "a minimum"
            )
        if not bool(best.moved.all()) and bool(best.moved.any()):
            # Of outputs that are far on the right side the gradient is rounded to 0.
            best = best._replace(moved=best.moved | _moved_at_zero(context, model, targets))
        return self._compared(context, targets, best)

    def _compared(self, context: CheckContext, targets: torch.Tensor, best: _Best) -> Outcome:
        if not bool(best.moved.any()) and is_satisfied(context):
            return Outcome("pass", "the loss of this batch is 0 already", "a minimum")
        if not bool(best.moved.any()):
            return Outcome(
                "fail", f"the loss is {best.loss:.3g} whatever the outputs are",
                "a loss that depends on the outputs",
                "Use nn.MSELoss() for real numbers, nn.BCEWithLogitsLoss() for one output per "
                "class: a softmax or cross-entropy over a single output is constant.",
            )  # fmt: skip
        wanted, reached = wide(targets[best.moved]), wide(best.outputs[best.moved])
        if len(wanted) < 8 or not float(wanted.std()) > 0:
            of_one = len(wanted) > 1 and bool(torch.isclose(wanted, wanted[0]).all())
            if of_one and not bool(torch.isclose(wide(targets), wanted[0]).all()):
                return _of_one_target(float(wanted[0]), best.moved)
            if not of_one:
                return Outcome("not_applicable", "too few targets to compare.")
            return Outcome("not_applicable", "the targets do not vary.")
        # Distances are large where a target of 1 says that two samples are alike.
        found = abs(_correlation(wanted, reached))
        seen = f"outputs that lower the loss have a correlation of {found:.2f} with the targets"
        # Of a periodic loss, the targets are one of several minima.
        if found < self.MIN_CORRELATION and context.loss_value(targets, targets) > best.loss:
            return Outcome(
                "fail", seen, f"at least {self.MIN_CORRELATION}",
                "Use a loss that fits the task: nn.MSELoss() for real numbers; cross-entropy "
                "needs one output per class and class indices.",
            )  # fmt: skip
        return Outcome("pass", seen, f"at least {self.MIN_CORRELATION}")


def _of_one_target(target: float, moved: torch.Tensor) -> Outcome:
    """Row of a loss that learns from one value of the targets alone."""
    return Outcome(
        "fail", f"the loss has a gradient where the target is {target:g} ({int(moved.sum())} of "
        f"{moved.numel()} outputs), and none where it is another: a constant output is its minimum",
        "a gradient for every target", "Let the loss count the other targets too: a binary "
        "cross-entropy has a term for 0 and one for 1, hinge losses take targets of -1 and 1.",
    )  # fmt: skip


class _Best(NamedTuple):
    """The end of a descent: numbers before the last operation [N, ...], outputs [N, ...], loss.

    Attributes:
        moved: where the loss had a gradient [N, ...].
    """

    free: torch.Tensor
    outputs: torch.Tensor
    loss: float
    moved: torch.Tensor


def _descended(
    context: CheckContext, model: Reachable, targets: torch.Tensor, steps: int
) -> _Best | None:
    """Outputs after some steps of Adam that lower the loss; None if it is NaN or Inf."""
    scale = 1.0
    if targets.is_floating_point():
        scale = max(1.0, float(targets.std())) if targets.numel() > 1 else 1.0
    now = model.free.detach().clone().requires_grad_(True)
    optimizer = torch.optim.Adam([now], lr=0.05 * scale)
    moved = torch.zeros_like(now, dtype=torch.bool)
    last, kept = math.nan, now.detach().clone()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = context.loss_of(model.outputs(now), targets)
        value = float(loss.detach())
        if not math.isfinite(value):
            break
        last, kept = value, now.detach().clone()
        if not loss.requires_grad:
            break
        loss.backward()
        if now.grad is None or not bool(torch.isfinite(now.grad).all()):
            break
        moved |= now.grad != 0
        optimizer.step()
    return _Best(kept, model.outputs(kept), last, moved) if math.isfinite(last) else None


def _moved_at_zero(context: CheckContext, model: Reachable, targets: torch.Tensor) -> torch.Tensor:
    """Places [N, ...] with a gradient if the outputs are 0 before the last operation."""
    free = torch.zeros_like(model.free, requires_grad=True)
    loss = context.loss_of(model.outputs(free), targets)
    if not loss.requires_grad or not bool(torch.isfinite(loss.detach())):
        return torch.zeros_like(free, dtype=torch.bool)
    loss.backward()
    return torch.zeros_like(free, dtype=torch.bool) if free.grad is None else free.grad != 0


def _is_unbounded(
    context: CheckContext, model: Reachable, best: _Best, targets: torch.Tensor
) -> bool:
    """True if the loss falls in proportion, below 0, along the way on from begin to end.

    A score that is linear in the outputs, such as that of a Wasserstein critic, is meant so.
    """
    way = best.free - model.free
    far = [
        context.loss_value(model.outputs(best.free + factor * way), targets)
        for factor in (100.0, 1000.0, -100.0)
    ]
    if not all(map(math.isfinite, far)) or not far[1] < far[0] < min(best.loss, 0.0):
        return False
    if (far[1] - best.loss) / (far[0] - best.loss) <= MIN_PROPORTION:
        return False
    straight = math.isclose(far[0] + far[2], 2 * best.loss, rel_tol=1e-3, abs_tol=-1e-3 * far[0])
    return not (straight and targets.is_floating_point())


def _unbounded(targets: torch.Tensor, best: _Best) -> Outcome:
    low, high = float(targets.min()), float(targets.max())
    if targets.is_floating_point() or targets.shape == best.outputs.shape:
        seen = f"the loss falls below 0 without bound; targets lie between {low:.4g} and {high:.4g}"
        remedy = "Binary cross-entropy takes targets between 0 and 1: scale them"
        remedy += f", for example by dividing by {high:.4g}." if high > 1 else "."
        return Outcome("fail", seen, "a loss with a minimum", remedy)
    return Outcome(
        "fail", "the loss of the raw outputs falls below 0 without bound", "a loss with a minimum",
        "nn.NLLLoss() takes log-probabilities: add nn.LogSoftmax(1) at the end of the model, or "
        "use nn.CrossEntropyLoss().",
    )  # fmt: skip


def _correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    one, other = one - one.mean(), other - other.mean()
    return float((one * other).sum() / (one.norm() * other.norm()).clamp_min(1e-30))
