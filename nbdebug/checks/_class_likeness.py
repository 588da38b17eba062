"""Likeness of validation inputs to training inputs, as a whole and class by class."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from nbdebug.checks._class_predictions import ClassPredictions
from nbdebug.checks._relation import features_of

NEIGHBOURS, MAX_COMPARED, MIN_ROWS = 5, 512, 8
MAX_DISTANCE_RATIO = 1.3
MIN_ERRORS_APART, MAX_CENTRE_RATIO = 3.0, 0.5


def are_alike(
    train: ClassPredictions, held_out: ClassPredictions, pairs: Iterable[tuple[int, int]]
) -> bool | None:
    """True if inputs of both parts are of one kind; None of inputs that cannot be compared.

    Args:
        pairs: classes of validation, and those of training that they should look like.
    """
    if train.inputs is None or held_out.inputs is None:
        return None
    found = features_of([train.inputs[:MAX_COMPARED], held_out.inputs[:MAX_COMPARED]])
    if found is None or min(map(len, found)) <= NEIGHBOURS:
        return None
    if not _are_close(*found):
        return False
    parts = (train, held_out)
    if any(part.inputs is not None and len(part.labels) != len(part.inputs) for part in parts):
        # Classes of pixels have no centre among the pictures.
        return True
    labels, others = (part.labels[:MAX_COMPARED] for part in parts)
    return not any(
        _is_apart(found[1][others == own], found[0], labels == wanted) for own, wanted in pairs
    )


def _are_close(train: torch.Tensor, held_out: torch.Tensor) -> bool:
    """True if rows lie as close to the training rows as these to one another."""
    within = torch.cdist(train, train).fill_diagonal_(torch.inf)
    own, apart = (
        float(each.topk(NEIGHBOURS, largest=False).values.mean(1).median())
        for each in (within, torch.cdist(held_out, train))
    )
    return apart <= MAX_DISTANCE_RATIO * own


def _is_apart(rows: torch.Tensor, train: torch.Tensor, wanted: torch.Tensor) -> bool:
    """True if rows lie around another centre than the training rows `wanted` [N].

    The distance is large beside its error, and beside that of the other training rows.
    """
    like, unlike = train[wanted], train[~wanted]
    if min(map(len, (rows, like, unlike))) < MIN_ROWS:
        return False
    error = float((rows.var(0) / len(rows) + like.var(0) / len(like)).sum())
    off = float((rows.mean(0) - like.mean(0)).square().sum())
    between = float((unlike.mean(0) - like.mean(0)).square().sum())
    return off > MIN_ERRORS_APART * error and off > MAX_CENTRE_RATIO**2 * between
