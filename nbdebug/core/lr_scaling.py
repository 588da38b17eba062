"""What the learning rate would be if it were scaled with the batch size."""

from __future__ import annotations

import math


def scaled_rates(lr: float, old: int, new: int) -> dict[str, float]:
    """The learning rate after a change of the batch size from `old` to `new`, by rule.

    Linear scaling keeps the expected update of an epoch (Goyal et al. 2017), the square
    root keeps the variance of an update (Krizhevsky 2014), as adaptive optimizers want it.
    """
    ratio = new / old
    return {"linear": lr * ratio, "square-root": lr * math.sqrt(ratio)}
