"""Levels of 8 bits that have wrapped around before the data was made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from nbdebug.checks._relation import targets_of
from nbdebug.model.precision import wide

LEVELS, MAX_COLUMNS, MIN_COLUMNS, MIN_SAMPLES = 256, 256, 16, 128
TOLERANCE, TRAINED, RIDGE = 1e-2, 0.75, 0.05
MIN_GAIN, MIN_SHARE, CHANCES = 0.08, 0.1, 4.5
# The highest level; share of the variance that is left of a column.
MIN_HIGHEST, LESS = 200, 0.5


class WrappedLevels(NamedTuple):
    """Shares of held-out targets that a linear model explains by inputs.

    Attributes:
        given: by the inputs as they are; turned: with the largest levels read as below 0.
    """

    given: float
    turned: float


def wrapped_levels(pairs: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> WrappedLevels | None:
    """Proof that levels of inputs [N, ...] have wrapped; None without it.

    What was subtracted in 8 bits lies just below 255 where it should lie below 0. The largest
    levels are read as below 0; numbers that did not wrap are torn apart by it.
    """
    levels = _levels(torch.cat([inputs for inputs, _ in pairs]))
    wanted = targets_of([torch.cat([targets for _, targets in pairs])])
    if levels is None or wanted is None:
        return None
    ways = _turned(levels)
    if not ways:
        return None
    spread, (given, *others) = _errors(wanted[0], [levels, *ways])
    for other in others:
        gain = (given - other) / spread
        noise = float(gain.std()) / len(gain) ** 0.5
        found = WrappedLevels(*(1 - float(one.mean()) / spread for one in (given, other)))
        if float(gain.mean()) > max(MIN_GAIN, CHANCES * noise) and found.turned > MIN_SHARE:
            return found
    return None


def _levels(inputs: torch.Tensor) -> torch.Tensor | None:
    """Levels [N, F] from 0 to 255 of numbers that were levels once; None of other numbers."""
    if inputs.is_complex() or inputs.dtype is torch.bool or len(inputs) < MIN_SAMPLES:
        return None
    flat = wide(inputs.detach().cpu().reshape(len(inputs), -1))
    low, high = float(flat.min()), float(flat.max())
    if flat.shape[1] < MIN_COLUMNS or not high - low > 0:
        return None
    for start, scale in ((0.0, 1.0), (0.0, 255.0), (low, 255 / (high - low))):
        levels = (flat - start) * scale
        whole = levels.round()
        inside = bool(((whole >= 0) & (whole < LEVELS)).all()) and float(whole.max()) > MIN_HIGHEST
        if inside and bool(((levels - whole).abs() < TOLERANCE).all()):
            return whole[:, :: -(-whole.shape[1] // MAX_COLUMNS)]
    return None


def _turned(levels: torch.Tensor) -> list[torch.Tensor]:
    """Levels of which the largest of some columns are read as below 0.

    First as many as bring the mean of a column to 0; then as many as make it vary least, in columns
    that vary far less so.
    """
    ordered, count = levels.sort(0, descending=True).values, len(levels)
    taken = torch.arange(count, dtype=levels.dtype)[:, None]
    sums = torch.cat([torch.zeros_like(ordered[:1]), ordered.cumsum(0)])
    mean = (sums[-1] - LEVELS * taken) / count
    squares = (ordered**2).sum(0) - 2 * LEVELS * sums[:-1] + LEVELS**2 * taken
    spread = squares / count - mean**2
    least = spread.argmin(0)
    least = torch.where(spread.amin(0) < LESS * spread[0], least, 0)
    found = []
    for number in ((sums[-1] / LEVELS).long(), least):
        limit = ordered.gather(0, (number - 1).clamp_min(0)[None])
        turned = torch.where((levels >= limit) & (number > 0), levels - LEVELS, levels)
        if int((turned != levels).any(0).sum()) >= MIN_COLUMNS:
            found.append(turned)
    return found


def _errors(
    targets: torch.Tensor, inputs: Sequence[torch.Tensor]
) -> tuple[float, list[torch.Tensor]]:
    """Mean square of held-out targets [N, C], and the squared errors of linear models of each."""
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))
    fit, rest = order.split([int(TRAINED * len(order)), len(order) - int(TRAINED * len(order))])
    targets = targets - targets[fit].mean(0)
    found = []
    for one in inputs:
        mean, std = one[fit].mean(0), one[fit].std(0)
        scaled = (one - mean) / std.clamp_min(1e-6)
        own = scaled[fit]
        penalty = RIDGE * len(fit) * torch.eye(own.shape[1], dtype=own.dtype)
        weights = torch.linalg.solve(own.T @ own + penalty, own.T @ targets[fit])
        found.append((scaled[rest] @ weights - targets[rest]).square().sum(1))
    return float(targets[rest].square().sum(1).mean()), found
