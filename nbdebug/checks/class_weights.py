"""Weights of classes in the loss."""

from __future__ import annotations

from typing import Any

import torch

from nbdebug.checks._class_weights import weights_of_classes
from nbdebug.checks._context import CheckContext
from nbdebug.checks._model_calls import batch_tensors
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome

EXPECTED = "larger weights for rarer classes"


class ClassWeights(Check):
    """Checks that weights of classes in the loss favour the rare classes, not the frequent ones.

    The gradient of the loss at the outputs shows the weight of each class. Weights in proportion
    to the frequency of a class, instead of one over it, or in another order than the classes,
    make uneven classes more uneven.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "class_weights"
    step = 2
    order = 16
    title = "Weights of the classes"
    source = "PyTorch, CrossEntropyLoss(weight) and BCEWithLogitsLoss(pos_weight)"
    explains = ("labels", "prior_bias", "initial_loss")

    MIN_WEIGHT_RATIO = 2.0
    MIN_COUNT_RATIO = 2.0

    def examine(self, context: CheckContext) -> Outcome:
        found = weights_of_classes(context, context.batch)
        if isinstance(found, str):
            return Outcome("not_applicable", found)
        place = found[1]
        # Rare classes may be missing in the first batch.
        most = max(context.batches, key=lambda batch: len(_labels(context, batch, place).unique()))
        more = weights_of_classes(context, most)
        weights = found[0] if isinstance(more, str) else more[0]
        return self._judge(weights, _counts(context, place))

    def _judge(self, weights: dict[int, float], counts: dict[int, int]) -> Outcome:
        """Judge the weight and the number of samples of each class."""
        heavy = max(weights, key=lambda label: weights[label])
        lighter = [c for c in weights if self.MIN_WEIGHT_RATIO * weights[c] < weights[heavy]]
        if not lighter:
            return Outcome("pass", "the weights of the classes are of similar size", EXPECTED)
        rare = min(lighter, key=lambda label: counts[label])
        ratio = weights[heavy] / max(weights[rare], 1e-30)
        seen = f"class {heavy} ({counts[heavy]} of {sum(counts.values())} samples) has "
        seen += f"{ratio:.2g} times the weight of class {rare} ({counts[rare]})"
        if counts[heavy] > self.MIN_COUNT_RATIO * counts[rare]:
            return Outcome(
                "warning", seen, EXPECTED, "Use weights of 1 / frequency in the order of the "
                "classes: len(y) / (C * torch.bincount(y)); pos_weight is negatives / positives.",
            )  # fmt: skip
        return Outcome("pass", seen, EXPECTED)


def _labels(context: CheckContext, batch: Any, place: int) -> torch.Tensor:
    return batch_tensors(context, batch)[place].flatten()


def _counts(context: CheckContext, place: int) -> dict[int, int]:
    """Number of positions of each class in the batches, given the place of the classes."""
    parts = [_labels(context, batch, place) for batch in context.batches]
    values, counts = torch.cat(parts).unique(return_counts=True)
    return {int(v): int(c) for v, c in zip(values.tolist(), counts.tolist(), strict=True)}
