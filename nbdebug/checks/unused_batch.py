"""Steps that train on something else than the batch that they are given."""

from __future__ import annotations

from typing import Any

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import tensors_of, with_leaves
from nbdebug.model.module.hooks import before_forward

SEED = 1


class UnusedBatch(Check):
    """Checks that a step computes its loss from the batch that it is given.

    A loop that draws a batch of its own, as by `next(iter(loader))`, or that names another
    variable than the one of its `for`, trains on the same samples again and again. The step is
    run twice from one seed, the second time with other numbers in the batch.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "unused_batch"
    step = 2
    order = 4
    title = "The step uses its batch"
    source = "nbdebug: the same loss and inputs for two batches"
    explains = ("overfit", "one_epoch", "related_targets", "signal", "baselines")
    sees_step = True

    def examine(self, context: CheckContext) -> Outcome:
        if context.loss_fn is not None:
            return Outcome("not_applicable", "nbdebug gives the batch to the model itself.")
        others = _others(context.batch)
        if not others:
            return Outcome("not_applicable", "no tensor of a batch holds different numbers.")
        context.train()
        first = _loss_and_inputs(context, context.batch)
        expected = "a loss that depends on the batch"
        if any(not _are_equal(first, _loss_and_inputs(context, other)) for other in others):
            return Outcome("pass", "another batch gives another loss", expected)
        # Dropout draws other numbers, so the loss alone does not tell.
        later = _loss_and_inputs(context, context.batch, seed=SEED + 1)
        fixed = _are_equal(first[1:] or first, later[1:] or later)
        seen = f"the loss is {float(first[0]):.6g} for a batch and for one with other numbers"
        if fixed:
            return Outcome(
                "fail", f"{seen}: each step trains on the same samples", expected,
                "Use the batch of the loop in its body. `next(iter(loader))` begins a new pass "
                "each time: without shuffling, that is the first batch again.",
            )  # fmt: skip
        return Outcome(
            "warning", f"{seen}: the step draws its samples from somewhere else", expected,
            "Use the batch of the loop in its body, not `next(iter(loader))`, which begins a new "
            "pass each time. Samples from a buffer of earlier batches are meant so.",
        )  # fmt: skip


def _loss_and_inputs(context: CheckContext, batch: Any, seed: int = SEED) -> list[torch.Tensor]:
    """The loss of a step, and what its models are given, from the same random numbers."""
    seen: list[torch.Tensor] = []

    def note(_: Any, arguments: Any) -> None:
        seen.extend(part.detach().clone() for part in tensors_of(arguments))

    hook = before_forward(context.model, note)
    try:
        with context.samples.seeded(seed):
            loss = context.look(batch)[0]
    finally:
        hook.remove()
    return [torch.as_tensor(loss), *seen]


def _others(batch: Any) -> list[Any]:
    """Batches with other numbers; the first one has other floating-point numbers only.

    Integers may be lengths and indices, which a healthy loop could not take from another sample.
    """
    made = [with_leaves(batch, change) for change in (_mirrored_measures, _mirrored)]
    return [one for one in made if not all(map(_is_equal, tensors_of(batch), tensors_of(one)))]


def _mirrored_measures(part: Any) -> Any:
    floating = isinstance(part, torch.Tensor) and part.is_floating_point()
    return _mirrored(part) if floating else part


def _mirrored(part: Any) -> Any:
    """A tensor whose smallest number is exchanged with its largest, and so on."""
    if not isinstance(part, torch.Tensor) or not part.numel():
        return part
    if part.dtype is torch.bool:
        return ~part
    return part if part.is_complex() else part.max() + part.min() - part


def _are_equal(ones: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return len(ones) == len(others) and all(map(_is_equal, ones, others))


def _is_equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)
