"""Labels of samples beside the classes that the model predicts for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.errors import DataError
from nbdebug.model.module.forward import split
from nbdebug.model.precision import wide

MAX_CLASSES, MAX_SAMPLES, MAX_PLACES = 1000, 2048, 16384
DEFAULT_IGNORE_INDEX = -100


class ClassPredictions(NamedTuple):
    """Labels and scores at some places, which are samples or pixels.

    Attributes:
        labels: classes [M], 0 and 1 where one output tells two classes apart.
        scores: of each class [M, C], or of class 1 alone [M, 1]; sample: index [M] of the sample.
        inputs: of the samples [N, ...]; None if they are no tensor, or differ in shape.
    """

    labels: torch.Tensor
    scores: torch.Tensor
    sample: torch.Tensor
    inputs: torch.Tensor | None

    @property
    def middle(self) -> float:
        """Score between two classes that fits best: 0 of logits, 0.5 of probabilities."""
        return max((0.0, 0.5), key=lambda at: int((self.predicted(at) == self.labels).sum()))

    def predicted(self, middle: float) -> torch.Tensor:
        """Predicted classes [M]."""
        if self.scores.shape[1] == 1:
            return (self.scores[:, 0] > middle).long()
        return self.scores.argmax(1)


def class_predictions(context: CheckContext, batches: Iterable[Any]) -> ClassPredictions | str:
    """Predictions in eval mode for at most 2,048 samples, or the reason if unavailable."""
    found: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    inputs: list[Any] = []
    count = 0
    for batch in batches:
        try:
            given, targets = split(batch)
        except DataError:
            return "a batch is not (inputs, targets)."
        labelled = _labelled(context, context.outputs(given), targets)
        if labelled is None:
            return "the targets are not classes."
        found.append((*labelled[:2], labelled[2] + count))
        inputs.append(given)
        count += len(targets)
        if count >= MAX_SAMPLES:
            break
    if not found or len({scores.shape[1] for _, scores, _ in found}) != 1:
        return "there are no samples with classes."
    labels, scores, sample = (torch.cat(part) for part in zip(*found, strict=True))
    return ClassPredictions(labels, scores, sample, _joined(inputs))


def _joined(inputs: list[Any]) -> torch.Tensor | None:
    if not all(isinstance(one, torch.Tensor) for one in inputs):
        return None
    return torch.cat(inputs) if len({one.shape[1:] for one in inputs}) == 1 else None


def _labelled(
    context: CheckContext, outputs: Any, targets: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
    """Labels [M], scores [M, C] and index of the sample [M] of a batch; None of other tasks."""
    if not isinstance(outputs, torch.Tensor) or not isinstance(targets, torch.Tensor):
        return None
    if not outputs.is_floating_point() or not outputs.ndim or not targets.ndim:
        return None
    found = _of_classes(outputs, targets) or _of_two(outputs, targets)
    if found is None:
        return None
    labels, scores = found
    sample = torch.arange(len(outputs), device=labels.device)
    sample = sample.repeat_interleave(len(labels) // max(1, len(outputs)))
    ignored = getattr(context.loss_fn, "ignore_index", DEFAULT_IGNORE_INDEX)
    kept = ((labels >= 0) & (labels != ignored)).nonzero().flatten()
    kept = kept[:: max(1, -(-len(kept) // MAX_PLACES))]
    return labels[kept].cpu(), scores[kept].detach().cpu(), sample[kept].cpu()


def _of_classes(
    outputs: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Labels [M] and scores [M, C] of outputs [N, C, ...]."""
    if outputs.ndim < 2 or not 1 < outputs.shape[1] <= MAX_CLASSES:
        return None
    scores = outputs.movedim(1, -1).reshape(-1, outputs.shape[1])
    if targets.is_floating_point():
        codes = targets.shape == outputs.shape and bool((targets >= 0).all())
        total = targets.sum(1) if codes else targets
        if not codes or not torch.allclose(total, torch.ones_like(total)):
            return None
        return targets.argmax(1).flatten(), scores
    if targets.shape[1:2] == (1,):
        targets = targets.squeeze(1)
    if targets.is_complex() or targets.shape != outputs.shape[:1] + outputs.shape[2:]:
        return None
    return targets.flatten().long(), scores


def _of_two(
    outputs: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Labels [M], 0 or 1, and scores [M, 1] of outputs [N] or [N, 1, ...]."""
    if targets.is_complex() or targets.numel() != outputs.numel() or len(targets) != len(outputs):
        return None
    if outputs.ndim > 1 and outputs.shape[1] != 1:
        return None
    high = targets == 1
    if not bool((high | (targets == 0)).all()) and not bool((high | (targets == -1)).all()):
        return None
    return high.flatten().long(), outputs.reshape(-1, 1)


def class_recall(found: ClassPredictions, middle: float) -> float:
    """Share of right predictions, the mean over the classes."""
    classes, place = found.labels.unique(return_inverse=True)
    right = wide(found.predicted(middle) == found.labels)
    count = torch.bincount(place, minlength=len(classes))
    return float((torch.bincount(place, right, minlength=len(classes)) / count).mean())
