"""Padding of sequences: the positions behind (or before) the words of a sample."""

from __future__ import annotations

from typing import NamedTuple

import torch

MIN_SEQUENCES = 4
MIN_LENGTHS = 3
# Of samples that are filled up, a share ends in a run of at least two.
MIN_RUN_SHARE, MIN_RUNS = 0.2, 2


class Padding(NamedTuple):
    """Positions [N, L] that fill up sequences, and the value that stands there."""

    at: torch.Tensor
    value: float


def padding_of(tensor: torch.Tensor) -> Padding | None:
    """Padding of sequences [N, L] of tokens or [N, L, F] of numbers; None without.

    One value, which is at the end (or the beginning) of samples in runs of several lengths and
    nowhere else, is padding.
    """
    if tensor.ndim < 2 or tensor.ndim > 3 or tensor.dtype is torch.bool or tensor.is_complex():
        return None
    if len(tensor) < MIN_SEQUENCES or tensor.shape[1] < 3 or tensor.numel() == 0:
        return None
    if (tensor.ndim == 2) == tensor.is_floating_point():
        return None
    for end in (-1, 0):
        for value in tensor[:, end].unique()[:64].tolist() if tensor.ndim == 2 else [0.0]:
            equal = tensor == value
            at = equal if tensor.ndim == 2 else equal.all(2)
            if _fills_up(at, from_end=end == -1):
                return Padding(at, value)
    return None


def _fills_up(at: torch.Tensor, from_end: bool) -> bool:
    """True if marked positions [N, L] are runs of several lengths at one end of the samples."""
    run = (at.flip(1) if from_end else at).long().cumprod(1).sum(1)
    if not torch.equal(run, at.sum(1)) or int(run.max()) >= at.shape[1]:
        return False
    long = int((run >= 2).sum())
    return len(run.unique()) >= MIN_LENGTHS and long >= max(MIN_RUNS, MIN_RUN_SHARE * len(run))
