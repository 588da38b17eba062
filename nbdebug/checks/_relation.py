"""Relation of inputs and targets, without a model: against the same targets in another order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch

from nbdebug.model.precision import wide

NEIGHBOURS, ORDERS = 10, 40
MAX_FEATURES, MAX_WORDS = 256, 512
LINEAR_PENALTY, LOCAL_PENALTY = 1.0, 0.3
# Of a table of measured things: standard deviations beyond chance, and mean correlation.
MIN_COLUMNS, MAX_COLUMNS, MIN_BEYOND, MIN_CORRELATION = 3, 128, 12.0, 0.2
MIN_NEXT_CORRELATION = 0.3


class Relation:
    """Predictions of each sample from the others: by neighbours, a linear and a smooth function.

    Attributes:
        features: standardised numbers [N, F] of the inputs.
    """

    def __init__(self, features: torch.Tensor) -> None:
        self.features = features

    @cached_property
    def _predictors(self) -> list[torch.Tensor]:
        """Matrices [N, N] that predict each sample from all but itself."""
        apart = torch.cdist(self.features, self.features)
        count = min(NEIGHBOURS, len(apart) - 1)
        near = apart.clone().fill_diagonal_(torch.inf).topk(count, largest=False).indices
        votes = torch.zeros_like(apart).scatter_(1, near, 1 / count)
        linear = self.features @ self.features.T / max(1, self.features.shape[1])
        scale = apart.square().median().clamp_min(1e-12)
        smooth = torch.exp(-apart.square() / scale)
        return [
            votes, _left_out(linear, LINEAR_PENALTY), _left_out(smooth, LOCAL_PENALTY),
        ]  # fmt: skip

    def strengths(self, targets: torch.Tensor) -> list[float]:
        """Standard deviations by which each prediction beats that of targets in random orders.

        Args:
            targets: centred numbers [N, C].
        """
        drawn = targets[_orders(len(targets))]
        found = []
        for matrix in self._predictors:
            value = float((targets * (matrix @ targets)).sum())
            others = (drawn * (matrix @ drawn)).sum((1, 2))
            found.append((value - float(others.mean())) / max(float(others.std()), 1e-12))
        return found

    def strength(self, targets: torch.Tensor) -> float:
        """The largest of `strengths`."""
        return max(self.strengths(targets))


def is_table(features: torch.Tensor) -> bool:
    """True if columns [N, F] go together more than by chance, and are no window of a series.

    Columns of measured things do, drawn numbers do not. In a window each goes with the next one.
    """
    count, width = features.shape
    if not MIN_COLUMNS <= width <= MAX_COLUMNS:
        return False
    together = (features.T @ features / count).fill_diagonal_(0).square()
    draws = torch.Generator().manual_seed(0)
    apart = []
    for _ in range(ORDERS // 2):
        orders = torch.rand(features.shape, generator=draws).argsort(0)
        drawn = features.gather(0, orders)
        apart.append((drawn.T @ drawn / count).fill_diagonal_(0).square().sum())
    chance = torch.stack(apart)
    beyond = float((together.sum() - chance.mean()) / chance.std().clamp_min(1e-12))
    mean = float(together.sum()) / (width * (width - 1))
    follows = float(together.diagonal(1).min()) > MIN_NEXT_CORRELATION**2
    return beyond > MIN_BEYOND and mean > MIN_CORRELATION**2 and not follows


def _left_out(kernel: torch.Tensor, penalty: float) -> torch.Tensor:
    """Matrix [N, N] of the predictions of ridge regression, each sample left out in its own."""
    eye = torch.eye(len(kernel), dtype=kernel.dtype)
    hat = eye - penalty * torch.linalg.inv(kernel + penalty * eye)
    own = hat.diagonal().clone()
    found: torch.Tensor = (hat - torch.diag(own)) / (1 - own).clamp_min(1e-6)[:, None]
    return found


def _orders(count: int) -> torch.Tensor:
    """Random orders [O, N]."""
    draws = torch.Generator().manual_seed(0)
    return torch.stack([torch.randperm(count, generator=draws) for _ in range(ORDERS)])


def features_of(parts: Sequence[torch.Tensor]) -> list[torch.Tensor] | None:
    """Numbers [N, F] of inputs [N, ...], all standardised by the first part; None of others.

    Tokens are counted; of many numbers, sums with random signs are taken.
    """
    first = parts[0]
    if (
        first.is_complex()
        or first.ndim < 1
        or any(one.shape[1:] != first.shape[1:] for one in parts)
    ):
        return None
    if first.is_floating_point() or first.ndim != 2 or int(first.min()) < 0:
        flat = [wide(one.detach().cpu().reshape(len(one), -1)) for one in parts]
    else:
        flat = [_counts(one.detach().cpu().long()) for one in parts]
    flat = [torch.nan_to_num(one, 0.0, 0.0, 0.0) for one in flat]
    mean, spread = flat[0].mean(0), flat[0].std(0)
    told = spread > 1e-9 * (flat[0].abs().max() + 1e-30)
    if not bool(told.any()):
        return None
    flat = [((one - mean) / spread)[:, told].clamp(-10, 10) for one in flat]
    width = flat[0].shape[1]
    if width > MAX_FEATURES:
        draws = torch.Generator().manual_seed(0)
        signs = torch.randn(width, MAX_FEATURES, generator=draws, dtype=torch.float64).to(flat[0])
        flat = [one @ signs / width**0.5 for one in flat]
    return flat


def _counts(tokens: torch.Tensor) -> torch.Tensor:
    """Counts [N, V] of the words of sequences [N, L]; rare words share places."""
    words = tokens % MAX_WORDS
    ones = wide(torch.ones_like(words))
    return wide(words.new_zeros(len(tokens), MAX_WORDS)).scatter_add_(1, words, ones)


def targets_of(parts: Sequence[torch.Tensor], classes: int = 100) -> list[torch.Tensor] | None:
    """Numbers [N, C] of targets, centred by the first part; None of what is no row of numbers.

    Classes become columns of 0 and 1; numbers become ranks, which outliers do not move.
    """
    flat = [one.detach().cpu().reshape(len(one), -1) for one in parts]
    if any(one.shape[1] != flat[0].shape[1] for one in flat) or flat[0].is_complex():
        return None
    if not flat[0].is_floating_point() and flat[0].shape[1] == 1:
        values = torch.cat(flat).unique()
        if not 2 <= len(values) <= classes:
            return None
        rows = [wide(one == values) for one in flat]
    elif 1 <= flat[0].shape[1] <= classes:
        if not all(bool(wide(one).isfinite().all()) for one in flat):
            return None
        rows = _ranks([wide(one) for one in flat])
    else:
        return None
    mean = rows[0].mean(0)
    return [one - mean for one in rows]


def _ranks(parts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Each number [N, C] as the share of the numbers of all parts that are smaller."""
    every = torch.cat(list(parts)).T.contiguous().sort(1).values
    return [wide(torch.searchsorted(every, one.T.contiguous()).T) / every.shape[1] for one in parts]
