"""Range and type of class labels."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from nbdebug.checks._constant import is_cross_entropy
from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import split

LOSS_CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss)
LOSS_FUNCTIONS = (functional.cross_entropy, functional.nll_loss)
DEFAULT_IGNORE_INDEX = -100


class LabelRange(Check):
    """Checks that class labels are integers from 0 to C - 1, one per position of the outputs.

    Cross-entropy selects the output of the true class by its index. Labels that start at 1, or
    that exceed the number of outputs, raise an error or, on a GPU, stop the program; labels of
    a float dtype are interpreted as class probabilities.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "label_range"
    step = 4
    order = 15
    title = "Labels fit the outputs"
    source = "PyTorch, CrossEntropyLoss; TheDeepChecker (2022)"
    runs_loss = False
    explains = ("*", "shapes", "broadcast", "initial_loss", "loss_inputs", "overfit")

    def examine(self, context: CheckContext) -> Outcome:
        if context.loss_fn is None:
            return Outcome("not_applicable", "a step_fn, or a loop of its own, hides the labels.")
        outputs, targets = context.outputs(), context.targets
        if not isinstance(outputs, torch.Tensor) or not isinstance(targets, torch.Tensor):
            return Outcome("not_applicable", "outputs or targets are not a single tensor.")
        known = isinstance(context.loss_fn, LOSS_CLASSES) or context.loss_fn in LOSS_FUNCTIONS
        if outputs.ndim < 2 or not (known or is_cross_entropy(context, outputs, targets)):
            return Outcome("not_applicable", "the loss does not take class labels.")
        return self._fit(context, outputs, targets)

    def _fit(self, context: CheckContext, outputs: torch.Tensor, targets: torch.Tensor) -> Outcome:
        classes, expected = outputs.shape[1], outputs.shape[:1] + outputs.shape[2:]
        words = f"integers from 0 to {classes - 1}, shape {tuple(expected)}"
        if targets.is_floating_point() and targets.shape == outputs.shape:
            total = targets.sum(1)
            if bool((targets >= 0).all()) and torch.allclose(total, torch.ones_like(total)):
                return Outcome("pass", "class probabilities that sum to 1", words)
            remedy = "Use class indices, or probabilities that sum to 1."
            if bool(((targets == 0) | (targets == 1)).all()):
                remedy = (
                    "If a sample may have several classes at a time, use nn.BCEWithLogitsLoss; "
                    "if it has one, class indices: targets.argmax(1)."
                )
            return Outcome("fail", "targets that are not class probabilities", words, remedy)
        if targets.is_floating_point():
            remedy = "Convert the labels to integers: targets.long()."
            return Outcome("fail", f"labels of dtype {targets.dtype}", words, remedy)
        if targets.shape != expected:
            remedy = "Reshape the labels, for example with targets.squeeze(1)."
            return Outcome("fail", f"labels of shape {tuple(targets.shape)}", words, remedy)
        seen = torch.cat([split(batch)[1].flatten() for batch in context.batches])
        ignored = getattr(context.loss_fn, "ignore_index", DEFAULT_IGNORE_INDEX)
        return _within(seen[seen != ignored], classes, words)


def _within(labels: torch.Tensor, classes: int, words: str) -> Outcome:
    if not len(labels):
        return Outcome("fail", "every label is the ignore_index of the loss", words)
    low, high = int(labels.min()), int(labels.max())
    said = f"labels from {low} to {high}, outputs for {classes} classes"
    if low >= 0 and high < classes:
        return Outcome("pass", said, words)
    remedy = f"Number the classes from 0, or use {high + 1} outputs in the last layer."
    if low == 1 and high == classes:
        remedy = "The labels start at 1: subtract 1."
    return Outcome("fail", said, words, remedy)
