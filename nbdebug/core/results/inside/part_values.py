"""Values that a part of a network gave."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nbdebug.core.records import Array


@dataclass(frozen=True, slots=True)
class PartValues:
    """Values that a part gave for one sample, the gradient of the loss there, or its update.

    Attributes:
        picture: [H, W] what is drawn, a small part of the values where there are many.
        mean, std, low, high: over all finite values; nan without any.
        zeros: share of values that are exactly 0; broken: share that is NaN or Inf.
        count: number of values.
        ratio: of an update, its L2 norm over that of the weights; nan for other values.
    """

    picture: Array
    mean: float = math.nan
    std: float = math.nan
    low: float = math.nan
    high: float = math.nan
    zeros: float = 0.0
    broken: float = 0.0
    count: int = 0
    ratio: float = math.nan
