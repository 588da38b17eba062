"""A histogram as one tensor."""

from __future__ import annotations

import torch

BINS = 40
MAX_VALUES = 65_536


def histogram(values: torch.Tensor) -> torch.Tensor:
    """Lower limit, upper limit and the counts of 40 bins between them, [42].

    If there are more than 65,536 values, an evenly spaced subset is counted.
    """
    flat = values.detach().flatten().float()
    if len(flat) > MAX_VALUES:
        flat = flat[:: -(-len(flat) // MAX_VALUES)]
    low, high = torch.aminmax(flat)
    # Equal limits would give bins of zero width.
    high = torch.where(high > low, high, low + 1e-12 + low.abs() * 1e-6)
    place = ((flat - low) * (BINS / (high - low))).to(torch.int64).clamp_(0, BINS - 1)
    return torch.cat([torch.stack([low, high]), torch.bincount(place, minlength=BINS).to(low)])
