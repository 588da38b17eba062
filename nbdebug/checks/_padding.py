"""Padding of sequences: the positions behind (or before) the words of a sample."""

from __future__ import annotations

from collections.abc import Iterable
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


def marks_padding(at: torch.Tensor, tensors: Iterable[torch.Tensor]) -> bool:
    """True if marked positions [N, L] end (or begin) sequences, and tensors have one value there.

    Tensors are those of tokens [N, L] or numbers [N, L, F] beside the marks; their sequences may
    have one length, and targets that are moved on by one place have one mark more.
    """
    if at.ndim != 2 or not bool(at.any()):
        return False
    ends = [dims for dims in ((1,), ()) if _is_at_one_end(at.flip(dims))]
    for tensor in tensors:
        if tensor.ndim in (2, 3) and tensor.shape[:2] == at.shape and not tensor.is_complex():
            for dims in ends:
                if _has_one_value(tensor.flip(dims), at.flip(dims)):
                    return True
    return False


def _has_one_value(tensor: torch.Tensor, at: torch.Tensor) -> bool:
    """True if the marked places [N, L] of rows have the value of the first place, no others do."""
    equal = tensor == tensor[:, 0][at[:, 0]][0]
    equal = equal if tensor.ndim == 2 else equal.all(2)
    missed = at & ~equal
    few = int(missed.sum(1).max()) <= 1 and 2 * int(missed.sum()) <= int(at.sum())
    return few and not bool((equal & ~at).any())


def _is_at_one_end(at: torch.Tensor) -> bool:
    """True if the marked positions of each row [N, L] are a run at its beginning."""
    return torch.equal(at.long().cumprod(1).sum(1), at.sum(1))


def _fills_up(at: torch.Tensor, from_end: bool) -> bool:
    """True if marked positions [N, L] are runs of several lengths at one end of the samples."""
    run = at.sum(1)
    if not _is_at_one_end(at.flip(1) if from_end else at) or int(run.max()) >= at.shape[1]:
        return False
    long = int((run >= 2).sum())
    return len(run.unique()) >= MIN_LENGTHS and long >= max(MIN_RUNS, MIN_RUN_SHARE * len(run))
