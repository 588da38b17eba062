"""Scaling of the learning rate with the batch size."""

from __future__ import annotations

import math


def scaled_rates(lr: float, old: int, new: int) -> dict[str, float]:
    """Scale a learning rate for a change of the batch size from `old` to `new`, by rule.

    Linear scaling keeps the expected update of an epoch (Goyal et al. 2017), the square
    root keeps the variance of an update (Krizhevsky 2014), which suits adaptive optimizers.
    """
    ratio = new / old
    return {"linear": lr * ratio, "square-root": lr * math.sqrt(ratio)}
