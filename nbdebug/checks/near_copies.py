"""Validation samples that are almost training samples."""

from __future__ import annotations

import math

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._held_out import both_inputs
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.precision import wide

FAR, MIN_VALUES, MIN_COLUMNS, MIN_ROWS = 50, 10, 3, 100
MAX_ROWS, MAX_NUMBERS, MAX_COLUMNS = 1024, 2**25, 256
# Nearest training sample, as part of the distance of the 50th.
RADII = (0.1, 0.03, 0.01)


class NearCopies(Check):
    """Checks that validation samples are no training samples with a little noise.

    Data that is oversampled or augmented before it is split has the same rows, slightly changed,
    in both parts: the validation loss then tells how well rows are learnt by heart. The nearest
    training sample of each validation sample is compared with those farther away: distances fill
    a space evenly, and what is far closer than its space allows, with nothing in between, is a
    copy. Equal rows are left to the check of overlap, columns of few values are left out.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "near_copies"
    step = 4
    order = 31
    title = "No near copies in validation data"
    source = "Kaufman et al. (2012), Leakage in Data Mining; Levina, Bickel (2004), dimension"

    MIN_SHARE, MIN_COPIES, MAX_CHANCE, MAX_BETWEEN = 0.05, 5, 0.01, 0.25

    def examine(self, context: CheckContext) -> Outcome:
        found = both_inputs(context)
        if isinstance(found, str):
            return Outcome("not_applicable", found)
        train, held_out = found
        if train.shape[1:] != held_out.shape[1:] or not train.is_floating_point():
            return Outcome("not_applicable", "the samples are no numbers of one shape.")
        numbers = _numbers(train, held_out)
        if numbers is None:
            return Outcome("not_applicable", "there are too few samples, or columns of numbers.")
        # Noise in columns that are else constant fills the space if it is scaled up.
        best = max(self._share(*_projected(*numbers)), self._share(*_projected(*_scaled(*numbers))))
        seen = (
            f"{best:.1%} of {len(numbers[1]):,} validation samples are a training sample, but for "
        )
        seen += "very small differences"
        if best <= self.MIN_SHARE:
            return Outcome("pass", seen, f"at most {self.MIN_SHARE:.0%}")
        return Outcome(
            "warning", seen, f"at most {self.MIN_SHARE:.0%}", "Split first, then oversample or "
            "augment the training data alone; keep groups of almost equal samples together.",
        )  # fmt: skip

    def _share(self, train: torch.Tensor, held_out: torch.Tensor) -> float:
        """Share of rows [N, D] with a copy among the training rows, but no mere neighbours."""
        nearest, far, dimension = _distances(train, held_out)
        ratio, best = nearest / far, 0.0
        for radius in RADII:
            # Of FAR - 1 samples within a ball of this dimension, one within this radius.
            chance = 1 - (1 - radius**dimension) ** (FAR - 1)
            close = (ratio > 0) & (ratio < radius) & (chance < self.MAX_CHANCE)
            between = (ratio >= radius) & (ratio < 3 * radius)
            count = int(close.sum())
            if count >= self.MIN_COPIES and int(between.sum()) <= self.MAX_BETWEEN * count:
                best = max(best, count / len(ratio))
        return best


def _numbers(
    train: torch.Tensor, held_out: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Columns [N, D] of several values of both parts; None of too few."""
    train, held_out = (one.detach().cpu().flatten(1) for one in (train, held_out))
    rows = min(len(train), MAX_NUMBERS // max(1, train.shape[1]))
    train, held_out = wide(train[:rows]), wide(held_out[: min(rows, MAX_ROWS)])
    if len(train) < 2 * MIN_ROWS or len(held_out) < MIN_ROWS:
        return None
    told = (train[:MAX_ROWS].sort(0).values.diff(dim=0) != 0).sum(0) >= MIN_VALUES
    told &= train.isfinite().all(0) & held_out.isfinite().all(0)
    if int(told.sum()) < MIN_COLUMNS:
        return None
    return train[:, told], held_out[:, told]


def _scaled(train: torch.Tensor, held_out: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both parts with the columns of training at mean 0 and standard deviation 1."""
    mean, spread = train.mean(0), train.std(0)
    return (train - mean) / spread, (held_out - mean) / spread


def _projected(train: torch.Tensor, held_out: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both parts with at most 256 columns, which keep the distances."""
    if train.shape[1] <= MAX_COLUMNS:
        return train, held_out
    draws = torch.Generator().manual_seed(0)
    signs = torch.randn(train.shape[1], MAX_COLUMNS, generator=draws, dtype=torch.float64)
    signs = signs.to(train)
    return train @ signs, held_out @ signs


def _distances(
    train: torch.Tensor, held_out: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Distances [N] of the nearest and the 50th training sample, and the dimension between."""
    exact = "donot_use_mm_for_euclid_dist"
    found = [
        torch.cdist(part, train, compute_mode=exact).topk(FAR, largest=False).values
        for part in held_out.split(256)
    ]
    near = torch.cat(found)
    nearest, half, far = near[:, 0], near[:, FAR // 2 - 1], near[:, -1].clamp_min(1e-12)
    growth = (far / half.clamp_min(1e-12)).log().clamp_min(1e-6)
    return nearest, far, math.log(2) / growth
