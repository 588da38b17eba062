"""Classes that a classifier never predicts."""

from __future__ import annotations

import torch

from nbdebug.model.training_state import TrainingState
from nbdebug.probes._class_counts import class_counts
from nbdebug.probes.base import Probe, Values

MAX_CLASSES, MAX_LABELS = 32, 4096
DEFAULT_IGNORE_INDEX = -100


class MissedClass(Probe):
    """Share of a class in a batch for which it was never predicted: `missed/<class>`.

    -1 where it was predicted. Labels that the loss leaves out (`ignore_index`, a weight of 0) do
    not count. Measured for outputs [N, C] or [N, C, ...] of an image or a volume, of at most 32
    classes with integer labels or one-hot targets, and for one output per sample or pixel with
    targets of 0 and 1. Of the tokens of a text some are never the likeliest, so sequences are left
    out.
    """

    name = "missed_class"
    cost = "cheap"
    order = 46
    reads_outputs = True

    def attach(self, session: TrainingState) -> None:
        self._session = session
        self._kind: str | None = None

    def read(self, step: int) -> Values:
        outputs, targets = self._session.in_loss()
        if not isinstance(outputs, torch.Tensor) or not isinstance(targets, torch.Tensor):
            return {}
        # The tokens of all sequences of a batch are more than its samples.
        tokens = outputs.ndim == 2 and len(outputs) > self._session.batching.size
        found = None if tokens else self._predictions(outputs.detach(), targets)
        if found is None:
            return {}
        predicted, labels, count = found
        kept = self._counts(labels, count)
        share = class_counts(labels, kept, count) / kept.sum().clamp(min=1)
        hit = class_counts(predicted, kept, count) > 0
        names = tuple(f"missed/{number}" for number in range(count))
        return {names: torch.where(hit, -1.0, share)}

    def _counts(self, labels: torch.Tensor, count: int) -> torch.Tensor:
        """True for each label [M] that the loss makes something of."""
        loss_fn = self._session.loss_fn
        kept = (labels >= 0) & (labels < count)
        kept &= labels != getattr(loss_fn, "ignore_index", DEFAULT_IGNORE_INDEX)
        weight = getattr(loss_fn, "weight", None)
        if isinstance(weight, torch.Tensor) and weight.shape == (count,):
            kept &= weight.to(labels.device)[labels.clamp(0, count - 1)] > 0
        return kept

    def _predictions(
        self, outputs: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, int] | None:
        """Predicted classes [M], labels [M] and the number of classes; None for other tasks."""
        if not outputs.is_floating_point() or not outputs.ndim or not outputs.numel():
            return None
        if targets.dtype in (torch.int64, torch.int32, torch.uint8):
            shape = outputs.shape[:1] + outputs.shape[2:]
            if targets.shape != shape or not _has_classes(outputs):
                return None
            labels, count = targets.flatten().long(), outputs.shape[1]
            predicted = outputs.argmax(1).flatten()
        elif targets.shape == outputs.shape:
            kind = self._kind_of(outputs, targets)
            if kind == "one-hot":
                labels, count = targets.argmax(1).flatten(), outputs.shape[1]
                predicted = outputs.argmax(1).flatten()
            elif kind == "binary":
                flat, labels, count = outputs.flatten(), targets.flatten().long(), 2
                # Probabilities or logits.
                middle = torch.where((flat >= 0).all() & (flat <= 1).all(), 0.5, 0.0)
                predicted = (flat > middle).long()
            else:
                return None
        else:
            return None
        every = -(-len(labels) // MAX_LABELS)
        return predicted[::every], labels[::every], count

    def _kind_of(self, outputs: torch.Tensor, targets: torch.Tensor) -> str:
        """Kind of targets in the shape of the outputs: "one-hot", "binary" or "other"."""
        if self._kind is None:
            # Once: the answer is waited for.
            self._kind = "other"
            alone = outputs.numel() == len(outputs) or (outputs.ndim > 3 and outputs.shape[1] == 1)
            if bool(((targets == 0) | (targets == 1)).all()):
                if alone or (outputs.ndim == 3 and min(outputs.shape[1:]) > MAX_CLASSES):
                    self._kind = "binary"
                elif _has_classes(outputs) and bool((targets.sum(1) == 1).all()):
                    self._kind = "one-hot"
        return self._kind


def _has_classes(outputs: torch.Tensor) -> bool:
    """True for scores [N, C] or [N, C, H, W] or [N, C, D, H, W] of a few classes."""
    return outputs.ndim in (2, 4, 5) and 1 < outputs.shape[1] <= MAX_CLASSES
