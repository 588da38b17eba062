"""Class labels that the loss can take."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from nbdebug.checks._constant import is_cross_entropy
from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.check_result import Outcome
from nbdebug.model.module.forward import split

KINDS = (nn.CrossEntropyLoss, nn.NLLLoss)
FUNCTIONS = (functional.cross_entropy, functional.nll_loss)
IGNORED = -100


class LabelRange(Check):
    """Whether class labels are whole numbers from 0 to C - 1, one for each place of the outputs.

    Cross-entropy looks up the output of the right class by its number. Labels that begin at
    1, or that are more than the outputs, raise an error or, on a GPU, stop the program;
    labels kept as floats are taken for class probabilities.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "label_range"
    step = 4
    order = 15
    title = "Labels fit the outputs"
    source = "PyTorch, CrossEntropyLoss; TheDeepChecker (2022)"
    explains = ("*", "shapes", "broadcast", "initial_loss", "overfit")

    def examine(self, context: CheckContext) -> Outcome:
        if context.loss_fn is None:
            return Outcome("not_applicable", "training has a step_fn, which hides the labels.")
        outputs, targets = context.outputs(), context.targets
        if not isinstance(outputs, torch.Tensor) or not isinstance(targets, torch.Tensor):
            return Outcome("not_applicable", "outputs or targets are no single tensor.")
        known = isinstance(context.loss_fn, KINDS) or context.loss_fn in FUNCTIONS
        if outputs.ndim < 2 or not (known or is_cross_entropy(context, outputs, targets)):
            return Outcome("not_applicable", "the loss does not take class labels.")
        return self._fit(context, outputs, targets)

    def _fit(self, context: CheckContext, outputs: torch.Tensor, targets: torch.Tensor) -> Outcome:
        classes, expected = outputs.shape[1], outputs.shape[:1] + outputs.shape[2:]
        words = f"whole numbers from 0 to {classes - 1}, shape {tuple(expected)}"
        if targets.is_floating_point() and targets.shape == outputs.shape:
            total = targets.sum(1)
            if bool((targets >= 0).all()) and torch.allclose(total, torch.ones_like(total)):
                return Outcome("pass", "class probabilities that sum to 1", words)
            remedy = "Give class indices, or probabilities that sum to 1."
            return Outcome("fail", "targets that are no class probabilities", words, remedy)
        if targets.is_floating_point():
            remedy = "Make them whole numbers: targets.long()."
            return Outcome("fail", f"labels of type {targets.dtype}", words, remedy)
        if targets.shape != expected:
            remedy = "Bring them into this shape, for example with targets.squeeze(1)."
            return Outcome("fail", f"labels of shape {tuple(targets.shape)}", words, remedy)
        seen = torch.cat([split(batch)[1].flatten() for batch in context.batches])
        ignored = getattr(context.loss_fn, "ignore_index", IGNORED)
        return _within(seen[seen != ignored], classes, words)


def _within(labels: torch.Tensor, classes: int, words: str) -> Outcome:
    if not len(labels):
        return Outcome("fail", "every label is the one that the loss ignores", words)
    low, high = int(labels.min()), int(labels.max())
    said = f"labels from {low} to {high}, outputs for {classes} classes"
    if low >= 0 and high < classes:
        return Outcome("pass", said, words)
    remedy = f"Number the classes from 0 on, or give the last layer {high + 1} outputs."
    if low == 1 and high == classes:
        remedy = "The labels begin at 1: subtract 1."
    return Outcome("fail", said, words, remedy)
