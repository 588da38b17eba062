"""Targets that the loss leaves out, in metrics."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.metrics import Metric

MAX_CLASSES, MAX_BATCHES = 8, 4
LARGE = 10.0


class _Ignored(NamedTuple):
    """Targets [N, ...] that a loss leaves out.

    Attributes:
        at: where they are; value: of them; axis: dimension of the outputs that holds the classes,
            None for outputs in the shape of the targets.
    """

    at: torch.Tensor
    value: float
    axis: int | None


class IgnoredTargets(Check):
    """Checks that metrics leave out the targets that the loss leaves out.

    A loss with an ignore_index, a mask or a class weight of 0 passes over padding and unlabelled
    pixels. A metric that counts them measures what the model is not asked for: accuracy that is
    mostly padding, or one that can never reach 100%. The loss shows which targets it passes over:
    whatever the outputs are there, it stays the same.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "ignored_targets"
    step = 2
    order = 15
    title = "Metrics leave out what the loss leaves out"
    source = "PyTorch, CrossEntropyLoss (ignore_index, weight)"

    MIN_SHARE = 0.01

    def examine(self, context: CheckContext) -> Outcome:
        metrics = context.subject.metrics.functions
        if not metrics or context.loss_fn is None:
            return Outcome("not_applicable", "no metrics are given, or outputs are hidden.")
        for inputs, targets in context.alike[:MAX_BATCHES]:
            outputs = context.outputs(inputs)
            if not isinstance(outputs, torch.Tensor) or not isinstance(targets, torch.Tensor):
                continue
            found = _ignored(context, outputs, targets)
            if found is None or float(found.at.float().mean()) < self.MIN_SHARE:
                continue
            for name, metric in metrics.items():
                if _counts(metric, outputs, targets, found):
                    return self._counted(name, found)
            share = float(found.at.float().mean())
            return Outcome("pass", f"the loss and {len(metrics)} metrics leave out {share:.0%} of "
                           "the targets", "the same targets")  # fmt: skip
        return Outcome("not_applicable", "the loss leaves out no targets.")

    def _counted(self, name: str, found: _Ignored) -> Outcome:
        share, value = float(found.at.float().mean()), f"{found.value:g}"
        return Outcome(
            "warning", f"{name} counts the {share:.0%} of the targets that the loss leaves out, "
            f"such as padding (target {value})", "a metric of the targets that the loss counts",
            f"Leave them out of {name} too: kept = targets != {value}; then take the mean over "
            "kept alone.",
        )  # fmt: skip


def _ignored(
    context: CheckContext, outputs: torch.Tensor, targets: torch.Tensor
) -> _Ignored | None:
    """Targets of one value at which the loss is the same whatever the outputs are."""
    if not outputs.is_floating_point() or not targets.ndim:
        return None
    given = outputs.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        loss = context.loss_of(given, targets)
        (slope,) = torch.autograd.grad(loss, given)
    for axis in _class_axes(outputs, targets):
        flat = slope == 0 if axis is None else (slope == 0).all(axis)
        for value in targets[flat].unique()[:MAX_CLASSES].tolist():
            at = targets == value
            if not bool(flat[at].all()) or bool(at.all()):
                continue
            drawn = LARGE * (1 + outputs.abs().max()) * torch.randn_like(outputs)
            again = context.loss_value(_with(outputs, drawn, at, axis), targets)
            if math.isclose(again, float(loss.detach()), rel_tol=1e-6):
                return _Ignored(at, value, axis)
    return None


def _class_axes(outputs: torch.Tensor, targets: torch.Tensor) -> Iterator[int | None]:
    """Dimensions of outputs that may hold the classes, those of torch first."""
    if outputs.shape == targets.shape:
        yield None
    shape = list(outputs.shape)
    for axis in (1, outputs.ndim - 1):
        if 0 < axis < outputs.ndim and shape[:axis] + shape[axis + 1 :] == list(targets.shape):
            yield axis


def _with(
    outputs: torch.Tensor, others: torch.Tensor, at: torch.Tensor, axis: int | None
) -> torch.Tensor:
    """Outputs with others where `at` marks a target."""
    return torch.where(at if axis is None else at.unsqueeze(axis), others, outputs)


def _counts(metric: Metric, outputs: torch.Tensor, targets: torch.Tensor, found: _Ignored) -> bool:
    """True if a metric depends on the outputs there, or counts them as wrong whatever they are."""
    if _depends(metric, outputs, targets, found):
        return True
    if found.axis is None or targets.is_floating_point():
        return False
    right = _predicting(outputs, targets, found.axis)
    # A sample that is right everywhere else may be wrong by these alone.
    if _depends(metric, right, targets, found):
        return True
    best = _value(metric, right, targets)
    worst = _value(metric, _predicting(outputs, targets + 1, found.axis), targets)
    if best is None or worst is None or math.isclose(best, worst):
        return False
    return math.isclose(best, 1 - float(found.at.float().mean()), rel_tol=1e-4)


def _depends(metric: Metric, outputs: torch.Tensor, targets: torch.Tensor, found: _Ignored) -> bool:
    measured = [_value(metric, one, targets) for one in _tried(outputs, found)]
    known = [value for value in measured if value is not None and math.isfinite(value)]
    return bool(known) and max(known) - min(known) > 1e-6 * max(map(abs, known))


def _tried(outputs: torch.Tensor, found: _Ignored) -> Iterator[torch.Tensor]:
    """Outputs that differ at the targets that are left out: for each class, or two numbers."""
    classes = 1 if found.axis is None else outputs.shape[found.axis]
    if found.axis is None or classes == 1:
        for sign in (-1.0, 1.0):
            yield _with(outputs, torch.full_like(outputs, sign * LARGE), found.at, found.axis)
        return
    for label in range(min(classes, MAX_CLASSES)):
        wanted = torch.full_like(found.at, label, dtype=torch.long)
        yield _with(outputs, _predicting(outputs, wanted, found.axis), found.at, found.axis)


def _predicting(outputs: torch.Tensor, labels: torch.Tensor, axis: int) -> torch.Tensor:
    """Outputs that are highest for these labels, taken modulo the number of classes."""
    number = outputs.shape[axis]
    best = torch.full_like(outputs, -LARGE)
    return best.scatter_(axis, (labels.long() % number).unsqueeze(axis), LARGE)


def _value(metric: Metric, outputs: torch.Tensor, targets: torch.Tensor) -> float | None:
    """Value of a copy of a metric, which may count its calls; None if it raises."""
    with suppress(Exception), torch.no_grad():
        made: Any = copy.deepcopy(metric)(outputs, targets)
        return float(made)
    return None
