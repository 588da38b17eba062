"""Baseline loss of a constant output, and recognition of common losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from nbdebug.checks._context import CheckContext
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import first_samples

WEIGHT_FACTORS = (3.0, 30.0)
RANGE_SAMPLES = 16
HIDDEN = "a step_fn, or a loop of its own, hides outputs and targets."
# Of a shift of 1, as rounding leaves it.
CANCELLED = 1e-3


def output_tensors(context: CheckContext) -> tuple[torch.Tensor, torch.Tensor] | Outcome:
    """Outputs and targets of the first batch as tensors, or the outcome without tensors."""
    if context.loss_fn is None:
        return Outcome("not_applicable", HIDDEN, reason="hidden")
    outputs, targets = context.outputs(), context.targets
    if not isinstance(outputs, torch.Tensor) or not isinstance(targets, torch.Tensor):
        return Outcome("not_applicable", "outputs or targets are not a single tensor.")
    if not outputs.is_floating_point() or not outputs.ndim or not targets.ndim:
        said = "the outputs are not real numbers with one row per sample."
        return Outcome("not_applicable", said)
    return outputs, targets


def is_constant(outputs: object) -> bool:
    """True if outputs are a tensor with the same values for each of several samples."""
    several = isinstance(outputs, torch.Tensor) and outputs.ndim > 0 and len(outputs) > 1
    return several and bool((outputs == outputs[:1]).all())  # type: ignore[index]


def is_satisfied(context: CheckContext) -> bool:
    """True if the loss of the batch is exactly 0, and that of other outputs is not: all is learnt.

    Such is a hinge loss once every sample is beyond the margin.
    """
    found = output_tensors(context)
    if isinstance(found, Outcome):
        return False
    outputs, targets = found
    try:
        now, *others = (context.loss_value(way * outputs, targets) for way in (1.0, -1.0, 0.0))
    except Exception:
        # A loss may take outputs of one sign only.
        return False
    return now == 0.0 and any(math.isfinite(value) and value > 0 for value in others)


def is_cross_entropy(context: CheckContext, outputs: torch.Tensor, targets: torch.Tensor) -> bool:
    """True if the loss has the value of cross-entropy of logits."""
    if targets.is_floating_point() or outputs.ndim < 2 or targets.shape == outputs.shape:
        return False
    return _agrees(context, outputs, targets, functional.cross_entropy)


def is_binary(context: CheckContext, outputs: torch.Tensor, targets: torch.Tensor) -> bool:
    """True if the loss has the value of binary cross-entropy of logits."""
    if targets.shape != outputs.shape or not targets.is_floating_point():
        return False
    return _agrees(context, outputs, targets, functional.binary_cross_entropy_with_logits)


def is_likelihood(context: CheckContext, outputs: torch.Tensor, targets: torch.Tensor) -> bool:
    """True if the loss has the value of a loss that takes log-probabilities."""
    if targets.is_floating_point():
        reductions = ("mean", "sum", "batchmean")
        same = targets.shape == outputs.shape
        return same and _agrees(context, outputs, targets, _divergence, reductions)
    if outputs.ndim < 2 or targets.shape == outputs.shape:
        return False
    return _agrees(context, outputs, targets, functional.nll_loss)


def _divergence(outputs: torch.Tensor, targets: torch.Tensor, reduction: str) -> torch.Tensor:
    """KL divergence of log-probabilities, without the warning of torch at a mean."""
    parts = {"mean": outputs.numel(), "sum": 1, "batchmean": len(outputs)}
    return functional.kl_div(outputs, targets, reduction="sum") / parts[reduction]


def is_regression(outputs: torch.Tensor, targets: torch.Tensor) -> bool:
    """True if targets are real numbers in the shape of the outputs, other than only 0 and 1."""
    if not targets.is_floating_point() or targets.shape != outputs.shape:
        return False
    return not bool(((targets == 0) | (targets == 1)).all())


def _agrees(
    context: CheckContext,
    outputs: torch.Tensor,
    targets: torch.Tensor,
    known: Any,
    reductions: Sequence[str] = ("mean", "sum"),
) -> bool:
    # Logits other than 0, where several losses have the same value.
    logits = outputs + torch.linspace(-1, 1, outputs.numel()).to(outputs).view_as(outputs)
    both = (logits, -0.5 * logits)
    try:
        said, other = (context.loss_value(each, targets) for each in both)
        expected = [
            tuple(float(known(each, targets, reduction=reduction)) for each in both)
            for reduction in reductions
        ]
    except (ValueError, RuntimeError, TypeError, IndexError):
        return False
    # A penalty on the weights adds the same to each.
    return any(
        math.isclose(said, first, rel_tol=1e-4)
        or math.isclose(said - other, first - second, rel_tol=1e-4)
        for first, second in expected
    )


def best_constant(
    context: CheckContext,
    targets: torch.Tensor,
    shape: torch.Size,
    free: torch.Size | None = None,
) -> float | None:
    """Smallest loss of a constant output, as `smallest_loss`; None also if it is 0."""
    return smallest_loss(context, targets, shape, free) or None


def smallest_loss(
    context: CheckContext,
    targets: torch.Tensor,
    shape: torch.Size,
    free: torch.Size | None = None,
) -> float | None:
    """Smallest loss of a constant output [...]; None if the minimum is not found.

    Args:
        targets: targets [N, ...]; shape: shape of the outputs without the first dimension.
        free: shape of the constant, which is broadcast to `shape`; as it is without.
    """
    free = shape if free is None else free
    begin = torch.zeros(free, dtype=targets.dtype if targets.is_floating_point() else None)
    begin = begin.to(context.subject.device)
    if targets.is_floating_point() and targets.shape[1:] == shape:
        begin = targets.mean(0) if free == shape else begin + targets.mean()
    constant = begin.detach().clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS([constant], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = context.loss_of(constant.expand(len(targets), *shape), targets)
        value.backward()
        return value

    with torch.enable_grad():
        loss()
        try:
            optimizer.step(loss)
            value = float(loss().detach())
        except RuntimeError:
            # A loss without a minimum leads out of the range of numbers.
            return None
    return value if math.isfinite(value) and value >= 0 else None


def output_range(context: CheckContext) -> tuple[float, float]:
    """Smallest and largest output of this model, also with scaled weights.

    If the outputs stay within limits for large weights, the last operation limits them. The
    weights are restored afterwards.
    """
    inputs = first_samples(context.inputs, RANGE_SAMPLES)
    return output_range_of(context, lambda: [context.outputs(inputs)])


def output_range_of(
    context: CheckContext, outputs: Callable[[], Sequence[torch.Tensor]]
) -> tuple[float, float]:
    """Smallest and largest of some outputs, also with scaled weights, which are restored."""
    kept = [(p, p.detach().clone()) for p in context.model.parameters() if p.is_floating_point()]
    low, high = math.inf, -math.inf
    # The last layer alone too: two layers of the other sign may give outputs of the same sign.
    ways = [(factor, flipped) for flipped in (0, len(kept), 2) for factor in WEIGHT_FACTORS]
    for factor, flipped in [(1.0, 0), *ways[:-1]]:
        with torch.no_grad():
            for place, (parameter, value) in enumerate(kept):
                # Noise, because a last layer whose weights are 0 would stay 0.
                noise = 0.1 * torch.randn_like(value) if factor != 1.0 else 0.0
                sign = -1.0 if len(kept) - place <= flipped else 1.0
                parameter.copy_(sign * factor * (value + noise))
        for found in outputs():
            finite = found[torch.isfinite(found)]
            if finite.numel():
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    with torch.no_grad():
        for parameter, value in kept:
            parameter.copy_(value)
    return low, high


def last_bias(context: CheckContext, outputs: torch.Tensor) -> torch.Size | None:
    """Shape of the bias of the last layer beside outputs without their first dimension.

    None if no parameter shifts the outputs [N, ...] of every sample, as in a product of two
    embeddings. The parameters are restored afterwards.
    """
    shape = outputs.shape[1:]
    for parameter in reversed([p for p in context.model.parameters() if p.is_floating_point()]):
        free = _beside(parameter, shape)
        if free is None:
            continue
        with torch.no_grad():
            kept = parameter.detach().clone()
            before = context.batch_outputs
            parameter[(0,) * parameter.ndim] += 1.0
            moved = context.outputs()[: len(outputs)] != outputs
            # A normalisation that follows takes the shift out again in training.
            after = context.outputs_by_batch()
            cancelled = bool((after - before).abs().max() < CANCELLED)
            parameter.copy_(kept)
        if cancelled:
            continue
        if bool(moved.flatten(1).any(1).all() if moved.ndim > 1 else moved.all()):
            return free
    return None


def _beside(parameter: torch.Tensor, shape: torch.Size) -> torch.Size | None:
    """Shape in which a bias is broadcast to outputs of a shape [...]; None if it is no bias."""
    count = parameter.numel()
    if parameter.ndim > 1 and max(parameter.shape) != count:
        return None
    if count == 1:
        return torch.Size([1] * len(shape))
    for place in (0, len(shape) - 1):
        if shape and shape[place] == count:
            return torch.Size([count if each == place else 1 for each in range(len(shape))])
    return None
