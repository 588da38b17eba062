"""Steps that train on something else than the batch that they are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import tensors_of
from nbdebug.model.module.hooks import before_forward

SEED, MAX_BATCHES = 1, 3


class UnusedBatch(Check):
    """Checks that a step computes its loss from the batch that it is given.

    A loop that draws a batch of its own, as by `next(iter(loader))`, or that names another
    variable than the one of its `for`, trains on the same samples again and again. The step is
    run from one seed with several batches.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "unused_batch"
    step = 2
    order = 4
    title = "The step uses its batch"
    source = "nbdebug: the same loss and inputs for two batches"
    explains = ("overfit", "one_epoch", "related_targets", "signal", "baselines")
    sees_step = True
    alters = True

    def examine(self, context: CheckContext) -> Outcome:
        if context.loss_fn is not None:
            return Outcome("not_applicable", "nbdebug gives the batch to the model itself.")
        others = _others(context)
        if not others:
            return Outcome("not_applicable", "there is no second batch with other numbers.")
        context.train()
        first = _loss_and_inputs(context, context.batch)
        expected = "a loss that depends on the batch"
        if any(not _are_equal(first, _loss_and_inputs(context, other)) for other in others):
            return Outcome("pass", "another batch gives another loss", expected)
        # Dropout draws other numbers, so the loss alone does not tell.
        later = _loss_and_inputs(context, context.batch, seed=SEED + 1)
        fixed = _are_equal(first[1:] or first, later[1:] or later)
        seen = f"the loss is {float(first[0]):.6g} for one batch and for another"
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


def _others(context: CheckContext) -> list[Any]:
    """Batches of the data with other numbers than the first.

    A healthy loop may fail at numbers that its data does not hold.
    """
    samples, found = context.samples, list(context.batches[1:MAX_BATCHES])
    size = samples.batch_size
    if not found and samples.fetch is not None and (samples.length or 0) >= 2 * size:
        found = [samples.read(range(begin, begin + size), SEED) for begin in (0, size)]
    held = list(tensors_of(context.batch))
    return [one for one in found if not _are_equal(held, list(tensors_of(one)))]


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


def _are_equal(ones: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> bool:
    return len(ones) == len(others) and all(map(_is_equal, ones, others))


def _is_equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)
