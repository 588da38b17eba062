"""Distribution of the unclipped gradient norms of the last 1,000 steps."""

from __future__ import annotations

import math

import numpy as np
import torch

from nbdebug.model.training_state import TrainingState
from nbdebug.probes.base import Probe, Values

BIN_WIDTH = 0.05
MAX_BINS = 200
SERIES = ("clip_norm_p50", "clip_norm_p90", "clip_norm_p99", "clip_over")


class ClipNorms(Probe):
    """Unclipped norms of the last 1,000 steps: percentiles, and the share above the threshold.

    `clip_norm_p50`, `clip_norm_p90` and `clip_norm_p99` are percentiles; `clip_over` is the
    share of norms that the current threshold would have clipped (NaN if there is no threshold).
    The histogram `clip_norms` has bins of 0.05 decades; its limits are log10 of the norm. The
    probe measures only while its panel is visible.
    """

    name = "clip_norms"
    every = 20
    on_demand = True
    order = 52

    def attach(self, session: TrainingState) -> None:
        self._clipping = session.clipping

    def read(self, step: int) -> Values:
        clipping, window = self._clipping, self._clipping.window
        positive = [norm for norm in window.ascending if norm > 0]
        if not positive:
            return {}
        limit = clipping.threshold if clipping.mode == "off" else clipping.limit
        points = [window.percentile(q) for q in (50, 90, 99)]
        numbers = torch.tensor([*points, window.share_above(limit)], dtype=torch.float64)
        return {SERIES: numbers, "clip_norms": _histogram(positive)}


def _histogram(norms: list[float]) -> torch.Tensor:
    """Limits (log10) and counts over whole bins, so that bin edges do not move."""
    logs = np.log10(norms)
    first, last = math.floor(logs[0] / BIN_WIDTH), math.floor(logs[-1] / BIN_WIDTH) + 1
    width = max(1, math.ceil((last - first) / MAX_BINS))
    bins = math.ceil((last - first) / width)
    low, high = first * BIN_WIDTH, (first + bins * width) * BIN_WIDTH
    counts, _ = np.histogram(logs, bins=bins, range=(low, high))
    return torch.tensor([low, high, *counts.tolist()], dtype=torch.float64)
