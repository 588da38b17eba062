"""Samples without a label among class targets."""

from __future__ import annotations

import torch

MIN_CLASSES = 3


def has_label(targets: torch.Tensor) -> torch.Tensor:
    """True at each integer target [N, ...] that is a class, False at those of no class.

    One number below 0 beside at least three classes marks samples without a label, such as -1 or
    -100: losses of torch take no such class, and leave it out or raise.
    """
    below = targets < 0
    classes = targets[~below].unique()
    if len(targets[below].unique()) != 1 or len(classes) < MIN_CLASSES:
        return torch.ones_like(below)
    return ~below
