"""Weights of classes in the loss."""

from __future__ import annotations

from typing import Any

import torch

from nbdebug.checks._class_targets import class_targets
from nbdebug.checks._context import CheckContext
from nbdebug.checks._model_calls import ModelCall, batch_tensors, watched_step
from nbdebug.checks._number_targets import number_targets
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome

# Of one class, by rounding.
MAX_SPREAD = 0.01
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
        found = _weights(context, context.batch)
        if isinstance(found, str):
            return Outcome("not_applicable", found)
        place = found[1]
        # Rare classes may be missing in the first batch.
        most = max(context.batches, key=lambda batch: len(_labels(context, batch, place).unique()))
        more = _weights(context, most)
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


Weights = tuple[dict[int, float], int]


def _weights(context: CheckContext, batch: Any) -> Weights | str:
    """Weight of each class in a batch, and the place of the tensor of classes; or why not."""
    step = watched_step(context, batch)
    if isinstance(step, str):
        return step
    tensors = batch_tensors(context, batch)
    for call in step.calls:
        found = _of_classes(call, tensors) or _of_two(call, tensors)
        if found is not None:
            return found
    return "no output has a class in the batch as its target, with one weight."


def _labels(context: CheckContext, batch: Any, place: int) -> torch.Tensor:
    return batch_tensors(context, batch)[place].flatten()


def _of_classes(call: ModelCall, tensors: list[torch.Tensor]) -> Weights | None:
    """Weight of each class, and the place of the tensor of classes; None if not seen."""
    for found in class_targets(call):
        place = _place(found.wanted[found.counted], found.counted, tensors)
        if found.classes < 2 or place is None:
            continue
        share = found.outputs.double().softmax(-1).gather(-1, found.wanted[..., None])[..., 0]
        normal = bool((found.outputs.exp().sum(-1) - 1).abs().max() < 1e-3)
        # Of log-probabilities the gradient is the weight itself.
        weight = found.pull if normal else found.pull / (1 - share).clamp_min(1e-12)
        weights = _each(found.wanted[found.counted], weight[found.counted])
        return None if weights is None else (weights, place)
    return None


def _place(wanted: torch.Tensor, counted: torch.Tensor, tensors: list[torch.Tensor]) -> int | None:
    """Place of the tensor that holds classes, one for each position."""
    for place, tensor in enumerate(tensors):
        if tensor.is_floating_point() or tensor.numel() != counted.numel():
            continue
        if torch.equal(tensor.reshape(counted.shape)[counted], wanted.to(tensor)):
            return place
    return None


def _of_two(call: ModelCall, tensors: list[torch.Tensor]) -> Weights | None:
    """Weight of targets of 0 and 1 of logits, and their place; None if not seen."""
    for _, output, gradient in call.read():
        for place, tensor in enumerate(tensors):
            found = number_targets(output, gradient, [tensor])
            if found is None or output.numel() != found.targets.numel():
                continue
            if bool(((found.targets == 0) | (found.targets == 1)).all()):
                slope = gradient.flatten().double().abs()
                off = (output.flatten().double().sigmoid() - found.targets.double()).abs()
                weights = _each(found.targets.long(), slope / off.clamp_min(1e-12))
                return None if weights is None else (weights, place)
    return None


def _each(labels: torch.Tensor, weights: torch.Tensor) -> dict[int, float] | None:
    """Weight of each class; None if the samples of a class have several weights."""
    found = {}
    for label in labels.unique().tolist():
        of_label = weights[labels == label]
        found[int(label)] = middle = float(of_label.median())
        if float((of_label - middle).abs().max()) > MAX_SPREAD * middle:
            return None
    return found if len(found) > 1 else None


def _counts(context: CheckContext, place: int) -> dict[int, int]:
    """Number of positions of each class in the batches, given the place of the classes."""
    parts = [_labels(context, batch, place) for batch in context.batches]
    values, counts = torch.cat(parts).unique(return_counts=True)
    return {int(v): int(c) for v, c in zip(values.tolist(), counts.tolist(), strict=True)}
