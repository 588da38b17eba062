"""Order of the colour channels of validation inputs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import torch

from nbdebug.checks._class_predictions import class_predictions, class_recall
from nbdebug.checks._context import CheckContext
from nbdebug.checks._samples import limited_by_time
from nbdebug.model.module.forward import split

COLOURS = 3
# Of the recall on training data, so much with another order.
MIN_RECALL_SHARE = 0.85


def permuted_channels(
    context: CheckContext, middle: float, recall: float
) -> tuple[int, ...] | None:
    """Order of three channels with which validation inputs are classified as well as training."""
    best: tuple[float, tuple[int, ...]] | None = None
    for order in list(permutations(range(COLOURS)))[1:]:
        found = class_predictions(context, _permuted(context, order))
        if isinstance(found, str):
            return None
        value = class_recall(found, middle)
        if best is None or value > best[0]:
            best = value, order
    return None if best is None or best[0] < MIN_RECALL_SHARE * recall else best[1]


def _permuted(context: CheckContext, order: tuple[int, ...]) -> Iterator[Any]:
    """Validation batches with their channels in another order; none where they have no colours."""
    assert context.samples.held_out is not None
    for batch in limited_by_time(context.samples.held_out()):
        inputs, targets = split(batch)
        known = isinstance(inputs, torch.Tensor) and inputs.ndim == 4
        axis = next((a for a in (1, -1) if known and inputs.shape[a] == COLOURS), None)
        if axis is None:
            return
        yield inputs.index_select(axis, torch.tensor(order, device=inputs.device)), targets
