"""Order of the samples."""

from __future__ import annotations

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import split
from nbdebug.model.precision import wide

COMPARED_BATCHES = 4


class Shuffling(Check):
    """Checks that the order of the samples mixes their targets.

    If data is sorted by class and not shuffled, the model learns one class after the other, and
    each batch undoes the last. Shuffle the data in every epoch.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "shuffling"
    step = 4
    order = 25
    title = "Shuffling"
    source = "Google, Deep Learning Tuning Playbook; Bengio (2012)"
    explains = ("one_epoch",)

    FAIL_RATIO = 0.5
    WARNING_RATIO = 0.8

    def examine(self, context: CheckContext) -> Outcome:
        samples = context.samples
        if samples.shuffled:
            return Outcome("pass", "every epoch has another order", "shuffled")
        if samples.shuffled is None or samples.fetch is None or samples.length is None:
            return Outcome(
                "not_applicable", "a stream or a sampler of your own determines the order."
            )
        random = [_spread(split(batch)[1]) for batch in context.data]
        starts = range(
            0, samples.length, max(samples.length // COMPARED_BATCHES, samples.batch_size)
        )
        ends = ((start, min(start + samples.batch_size, samples.length)) for start in starts)
        inside = [
            _spread(split(samples.fetch(torch.arange(start, end)))[1])
            for start, end in ends
            if end - start >= min(samples.batch_size, samples.length)
        ]
        known = [value for value in random if value is not None]
        found = [value for value in inside if value is not None]
        if len(found) < 2 or not known or not sum(known):
            return Outcome("not_applicable", "the targets are not numbers that can be compared.")
        ratio = (sum(found) / len(found)) / (sum(known) / len(known))
        seen = f"not shuffled; targets vary {ratio:.2f} times as much as in shuffled batches"
        remedy = "Shuffle the data: DataLoader(..., shuffle=True)."
        if ratio < self.FAIL_RATIO:
            return Outcome("fail", seen, "about 1", remedy)
        return Outcome("warning" if ratio < self.WARNING_RATIO else "pass", seen, "about 1", remedy)


def _spread(targets: object) -> float | None:
    """Gini impurity of class indices or variance of numbers; None for other targets."""
    if not isinstance(targets, torch.Tensor) or len(targets) < 2:
        return None
    if targets.is_floating_point():
        return (
            float(wide(targets).flatten(1).var(0).mean())
            if targets.ndim > 1
            else float(wide(targets).var())
        )
    share = wide(torch.unique(targets, return_counts=True)[1]) / targets.numel()
    return float(1 - (share**2).sum()) * targets.numel() / max(targets.numel() - 1, 1)
