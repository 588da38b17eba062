"""Details of one part of a network: its maps, weights, attention and units."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from nbdebug.core.records import Array

NO_MAPS: Array = np.zeros((0, 0, 0))


@dataclass(frozen=True, slots=True)
class Unit:
    """A channel of the output of a part, or a feature, over all fixed samples.

    Attributes:
        number: of the channel; mean: of its values.
        active: share of values that are not 0.
        top: numbers of the samples with its largest means, the largest first.
    """

    number: int
    mean: float
    active: float
    top: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PartDetail:
    """More about one part.

    Attributes:
        name: of the part.
        maps: [K, H, W] of the channels of its output for the sample, of their gradient, or its
            update as one matrix, thinned.
        weights: [K, H, W] of its filters, or one matrix of a linear layer, thinned.
        colours: [K, 3, H, W] of filters that take red, green and blue, thinned.
        change: of `weights` since step `since`, where the timeline begins; moved: norm of the
            change of all weights of the part, over their norm then; nan where it is unknown.
        attention: [heads, T, S] weights of attention for the sample, thinned.
        edges, counts: histogram of its values.
        magnitudes: counts [50] of values by powers of two of their magnitudes, from 2**-30 on; 0
            is left out, smaller and larger ones are in the first and the last bin.
        dtype: of its values; tiny, huge: share of values that are not 0 and below the smallest
            normal number of float16, and above its largest number.
        units: how many channels there are; dead: numbers of those that are 0 for all fixed
            samples; saturated: of those at a limit of the activation for most values.
        excited: numbers of those with the largest means of magnitudes.
        samples: number of samples that the units were seen with.
    """

    name: str
    maps: Array = field(default_factory=lambda: NO_MAPS)
    weights: Array = field(default_factory=lambda: NO_MAPS)
    colours: Array = field(default_factory=lambda: NO_MAPS)
    change: Array = field(default_factory=lambda: NO_MAPS)
    since: int = 0
    moved: float = math.nan
    attention: Array = field(default_factory=lambda: NO_MAPS)
    edges: Array = field(default_factory=lambda: np.zeros(0))
    counts: Array = field(default_factory=lambda: np.zeros(0))
    magnitudes: Array = field(default_factory=lambda: np.zeros(0))
    dtype: str = ""
    tiny: float = 0.0
    huge: float = 0.0
    units: int = 0
    dead: tuple[int, ...] = ()
    saturated: tuple[int, ...] = ()
    excited: tuple[Unit, ...] = ()
    samples: int = 0
