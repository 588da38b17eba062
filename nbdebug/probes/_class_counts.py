"""Counts of class labels, without a wait for the device."""

from __future__ import annotations

import torch

from nbdebug.model.precision import widest


def class_counts(labels: torch.Tensor, counted: torch.Tensor, classes: int) -> torch.Tensor:
    """Number of labels of each class [C], in the widest dtype.

    Unlike `bincount` and an index of booleans, nothing here waits for a GPU.

    Args:
        labels: integers [M]; counted: booleans [M], True for labels from 0 to C - 1 that count.
    """
    # What does not count goes into a class behind the last one.
    place = torch.where(counted, labels, classes)
    dtype = widest(labels.device)
    counts = torch.zeros(classes + 1, dtype=dtype, device=labels.device)
    return counts.scatter_add_(0, place, torch.ones_like(place, dtype=dtype))[:classes]
