"""Values and scale of the targets."""

from __future__ import annotations

import math

import torch

from nbdebug.checks._constant import output_tensors
from nbdebug.checks._context import CheckContext
from nbdebug.checks._loss_trace import loss_trace
from nbdebug.checks.base import Check
from nbdebug.core.results.check_result import Outcome


class Labels(Check):
    """Checks that targets have no NaN or Inf, take several values, and are on a usable scale.

    A single class or a constant target is learned without the inputs. Targets in the hundreds
    make the first gradients explode.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "labels"
    step = 4
    order = 20
    title = "Targets"
    source = "TheDeepChecker (2022); Google, Deep Learning Tuning Playbook"
    explains = ("initial_loss", "output_activation", "overfit")

    MIN_EVENNESS = 0.5
    MAX_SCALE = 10.0

    def examine(self, context: CheckContext) -> Outcome:
        parts = [targets for _, targets in context.alike]
        if not all(isinstance(part, torch.Tensor) for part in parts):
            return Outcome("not_applicable", "the targets are not a single tensor.")
        targets = torch.cat(parts)
        if not bool(torch.isfinite(targets).all()):
            if math.isfinite(float(context.look(context.batch)[0])):
                return Outcome(
                    "pass", "targets with NaN, which the loss leaves out", "a finite loss"
                )
            remedy = "Exclude these samples, or fill in their targets."
            return Outcome("fail", "some targets are NaN or Inf", "no NaN or Inf", remedy)
        if bool((targets == targets.flatten()[0]).all()):
            if not _are_read(context):
                return Outcome("not_applicable", "the loss does not read the targets.")
            return Outcome(
                "fail", f"all {len(targets):,} targets are {targets.flatten()[0].item():g}",
                "at least two values", "Check the code that makes the targets, and shuffling.",
            )  # fmt: skip
        return (
            self._numbers(targets)
            if targets.is_floating_point()
            else self._classes(context, targets)
        )

    def _classes(self, context: CheckContext, targets: torch.Tensor) -> Outcome:
        counts = torch.unique(targets, return_counts=True)[1].double()
        even = _evenness(counts)
        if even < self.MIN_EVENNESS and (pulls := _pulls(context)) is not None:
            # The loss may leave a class out (ignore_index), or weigh it.
            counts = pulls[pulls > 0]
            even = _evenness(counts) if len(counts) > 1 else even
        seen = f"{len(counts)} classes, evenness {even:.2f}"
        if even < self.MIN_EVENNESS:
            remedy = "Weight the loss by class, or sample rare classes more often."
            return Outcome("warning", seen, "at least 0.5 of the entropy of equal shares", remedy)
        return Outcome("pass", seen, "at least 0.5 of the entropy of equal shares")

    def _numbers(self, targets: torch.Tensor) -> Outcome:
        flat = targets.flatten(1) if targets.ndim > 1 else targets[:, None]
        spread, mean = float(flat.std(0).max()), float(flat.mean(0).abs().max())
        seen = f"standard deviation {spread:.3g}, mean {mean:.3g}"
        if max(spread, mean) > self.MAX_SCALE:
            remedy = "Standardise the targets, and scale the predictions back."
            return Outcome("warning", seen, "both at most 10", remedy)
        return Outcome("pass", seen, "both at most 10")


def _evenness(counts: torch.Tensor) -> float:
    """Entropy of counts [C] as a share of that of equal counts."""
    share = counts / counts.sum()
    return float(-(share * share.log()).sum()) / math.log(len(counts))


def _pulls(context: CheckContext) -> torch.Tensor | None:
    """Size of the gradient at equal outputs by class [C]; None if classes have no places there."""
    found = output_tensors(context)
    if isinstance(found, str):
        return None
    outputs, targets = torch.zeros_like(found[0], requires_grad=True), found[1]
    if outputs.ndim != targets.ndim + 1:
        return None
    dim = outputs.ndim - 1 if outputs.shape[:-1] == targets.shape else 1
    assert context.loss_fn is not None  # output_tensors() says so
    (slope,) = torch.autograd.grad(context.loss_fn(outputs, targets), outputs)
    _, place = torch.unique(targets, return_inverse=True)
    size = slope.abs().sum(dim).flatten().double()
    return torch.zeros(int(place.max()) + 1).to(size).index_add(0, place.flatten(), size)


def _are_read(context: CheckContext) -> bool:
    """True if the loss reads the targets, or if that is not seen."""
    trace = loss_trace(context)
    return isinstance(trace, str) or trace.reads(context.targets)
