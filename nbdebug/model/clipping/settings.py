"""Settings of gradient clipping, and the recent gradient norms."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn

from nbdebug.core.names import unknown_name
from nbdebug.errors import ControlValueError
from nbdebug.model.module.names import within

NORM_WINDOW_SIZE = 1000


class NormWindow:
    """The norms of the last 1,000 steps, before clipping, also in ascending order.

    Attributes:
        fresh: number of steps with the thresholds now in force.
    """

    def __init__(self, size: int = NORM_WINDOW_SIZE) -> None:
        self._size = size
        self.clear()

    def clear(self) -> None:
        self._recent: deque[float] = deque()
        self.ascending: list[float] = []
        self.fresh = 0

    @property
    def recent(self) -> tuple[float, ...]:
        """The norms, the oldest first."""
        return tuple(self._recent)

    def __len__(self) -> int:
        return len(self._recent)

    def add(self, norm: float) -> None:
        """Add a finite norm, and drop the oldest one of a full window."""
        self._recent.append(norm)
        insort(self.ascending, norm)
        self.fresh = min(self.fresh + 1, self._size)
        if len(self._recent) > self._size:
            oldest = self._recent.popleft()
            del self.ascending[bisect_left(self.ascending, oldest)]

    def copied(self) -> NormWindow:
        """An independent copy."""
        new = NormWindow(self._size)
        new._recent, new.ascending = self._recent.copy(), self.ascending.copy()
        new.fresh = self.fresh
        return new

    def percentile(self, q: float) -> float:
        """The q-th percentile, bit-equal to `numpy.percentile`; NaN when empty."""
        if not self.ascending:
            return math.nan
        rank = q / 100 * (len(self.ascending) - 1)
        low = math.floor(rank)
        left, right = self.ascending[low], self.ascending[min(low + 1, len(self.ascending) - 1)]
        share, gap = rank - low, right - left
        return left + gap * share if share < 0.5 else right - gap * (1 - share)

    def share_above(self, threshold: float) -> float:
        """Share of the norms above a threshold; NaN when empty."""
        if not self.ascending:
            return math.nan
        return 1.0 - bisect_right(self.ascending, threshold) / len(self.ascending)


class Clipping:
    """The settings of gradient clipping.

    Args:
        layers: names of the parameters by the layer that holds them.

    Attributes:
        mode: off; norm (all gradients together); value (entry by entry); parameter (each
            parameter by its own norm, what Keras calls clipnorm); layer (the parameters of
            a layer together); adaptive (all together, at a percentile of the recent norms:
            AutoClip, Seetharaman et al. 2020).
        threshold: the largest norm, or entry, that is not clipped; adaptive sets its own.
        norm_type: p of the norms, 1, 2 or inf; unused by value.
        percentile: of the last 1,000 norms, the threshold of adaptive.
        overrides: thresholds of single layers in the mode layer.
        window: recent values of the quantity that the mode compares with its threshold: the
            total norm, or the largest norm of a parameter, of a layer without override, or the
            largest entry.
        parts: clipping of the parameters of each of several optimizers, by its name.
    """

    def __init__(self, layers: Mapping[str, Sequence[str]] | None = None) -> None:
        self.layers: Mapping[str, Sequence[str]] = layers or {}
        self._percentile = 10.0
        self._threshold, self._overrides = 1.0, dict[str, float]()
        self.window = NormWindow()
        self._mode, self._norm_type = "off", 2.0
        self.parts: dict[str, Clipping] = {}

    def split(self, name: str, parameters: Iterable[str]) -> Clipping:
        """Clip some parameters apart, by their own norm; what is set for all is set for them."""
        part = Clipping()
        part.take(self, parameters)
        part.mode, part.norm_type, part.percentile = self.mode, self.norm_type, self.percentile
        part.threshold, part.overrides = self.threshold, self.overrides
        self.parts[name] = part
        return part

    def take(self, whole: Clipping, parameters: Iterable[str]) -> None:
        """Take the layers of these parameters from the clipping of all."""
        names = set(parameters)
        layers = {
            layer: tuple(name for name in inside if name in names)
            for layer, inside in whole.layers.items()
        }
        self.layers = {layer: held for layer, held in layers.items() if held}

    @property
    def mode(self) -> str:
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        before = self.compared
        if mode != self._mode:
            self.window.fresh = 0
        self._mode = mode
        self._clear_if_incomparable(before)
        for part in self.parts.values():
            part.mode = mode

    @property
    def threshold(self) -> float:
        return self._threshold

    @threshold.setter
    def threshold(self, threshold: float) -> None:
        if threshold != self._threshold:
            self.window.fresh = 0
        self._threshold = threshold
        for part in self.parts.values():
            part.threshold = threshold

    @property
    def percentile(self) -> float:
        return self._percentile

    @percentile.setter
    def percentile(self, percentile: float) -> None:
        self._percentile = percentile
        for part in self.parts.values():
            part.percentile = percentile

    @property
    def overrides(self) -> dict[str, float]:
        return self._overrides

    @overrides.setter
    def overrides(self, overrides: dict[str, float]) -> None:
        if overrides != self._overrides:
            self.window.fresh = 0
        self._overrides = overrides
        for part in self.parts.values():
            part.overrides = overrides

    @property
    def norm_type(self) -> float:
        return self._norm_type

    @norm_type.setter
    def norm_type(self, norm_type: float) -> None:
        before = self.compared
        self._norm_type = norm_type
        self._clear_if_incomparable(before)
        for part in self.parts.values():
            part.norm_type = norm_type

    @property
    def compared(self) -> tuple[str, float]:
        """The quantity that is compared with the threshold, and the p of its norm."""
        if self._mode == "value":
            return "value", math.inf
        return (self._mode if self._mode in ("parameter", "layer") else "total"), self._norm_type

    @property
    def limit(self) -> float:
        """The threshold in force; NaN while there is none."""
        if self._mode == "off":
            return math.nan
        if self._mode == "adaptive":
            return self.window.percentile(self.percentile)
        return self.threshold

    @property
    def fixed_limit(self) -> float:
        """The threshold in force; NaN without clipping and in adaptive mode."""
        return math.nan if self._mode in ("off", "adaptive") else self.threshold

    def _clear_if_incomparable(self, before: tuple[str, float]) -> None:
        if self.compared != before:
            # Norms of different kinds have no common percentile.
            self.window.clear()


def parameter_layers(names: Iterable[str], model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Names of parameters by the layer that holds them; a parameter without layer by the model."""
    found: dict[str, list[str]] = {}
    for name in names:
        layer = name.rpartition(".")[0] or type(model).__name__.lower()
        found.setdefault(layer, []).append(name)
    return {layer: tuple(members) for layer, members in found.items()}


def matching_layers(pattern: str, layers: Iterable[str]) -> list[str]:
    """Layers that a pattern selects: by name, inside a module of that name, or as shell pattern.

    Raises:
        ControlValueError: no layer matches; the error lists the layers.
    """
    names = list(layers)
    found = within(pattern, names) or [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        raise ControlValueError(unknown_name("layer for clip_overrides", pattern, names))
    return found
