"""Counts of class labels, without a wait for the device."""

from __future__ import annotations

import torch


def class_counts(labels: torch.Tensor, counted: torch.Tensor, classes: int) -> torch.Tensor:
    """Number of labels of each class [C], float64.

    Unlike `bincount` and an index of booleans, nothing here waits for a GPU.

    Args:
        labels: integers [M]; counted: booleans [M], True for labels from 0 to C - 1 that count.
    """
    # What does not count goes into a class behind the last one.
    place = torch.where(counted, labels, classes)
    counts = torch.zeros(classes + 1, dtype=torch.float64, device=labels.device)
    return counts.scatter_add_(0, place, torch.ones_like(place, dtype=torch.float64))[:classes]
