"""Distribution of the gradient norms of the last 1,000 steps, measured or from History."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array, ControlChange, Histogram
from nbdebug.core.series import Series

PERCENTILES = ("p50", "p90", "p99")
MAX_STEPS = 1000
BIN_DECADES, MAX_BINS = 0.05, 200


@dataclass(frozen=True, slots=True)
class RecentNorms:
    """Norms that the threshold is compared with.

    Attributes:
        edges: [B + 1] edges of the bins; counts: [B] steps in each.
        percentiles: norms by name: p50, p90, p99.
        over: share of the steps above the threshold, NaN without one.
        step: the newest of these steps.
    """

    edges: Array
    counts: Array
    percentiles: Mapping[str, float] = field(default_factory=dict)
    over: float = math.nan
    step: int = 0


def recent_norms(snapshot: Snapshot, threshold: float) -> RecentNorms | None:
    """Norms up to now, also while paused; None if there is none above zero.

    In a short run, History holds the norm of every step. In a longer one it holds means of some
    steps, and what the probe has measured is preferred while that is not old.
    """
    found = snapshot.histograms.get("clip_norms")
    series = comparable(snapshot)
    exact = series is not None and len(series) and int(series.count.max()) == 1
    if found is not None and not exact and _valid(snapshot, found):
        return _measured(snapshot, found)
    return None if series is None else _from_history(series, threshold)


def comparable(snapshot: Snapshot) -> Series | None:
    """Norms since the kind of norm that clipping compares was changed last."""
    series = snapshot.series.get("clip_norm")
    if series is None or not len(series):
        return None
    changed = [c.step for c in snapshot.changes if c.status == "applied" and _other_kind(c)]
    return series.part(series.step >= max(changed, default=0))


def _other_kind(change: ControlChange) -> bool:
    if change.control == "clip_norm_type":
        return True
    # Off, norm and adaptive compare the norm over all parameters.
    apart = ("value", "parameter", "layer")
    return change.control == "clip_mode" and (change.old in apart or change.new in apart)


def _valid(snapshot: Snapshot, found: Histogram) -> bool:
    """True for a measurement of this branch, and while paused only for a late one."""
    behind = snapshot.status.step - found.step
    return behind >= 0 and (snapshot.status.state == "running" or behind <= MAX_STEPS // 20)


def _measured(snapshot: Snapshot, found: Histogram) -> RecentNorms:
    edges = 10.0 ** np.linspace(found.low, found.high, len(found.counts) + 1)
    latest = snapshot.latest
    percentiles = {name: latest.get(f"clip_norm_{name}", math.nan) for name in PERCENTILES}
    over = latest.get("clip_over", math.nan)
    return RecentNorms(edges, found.counts, percentiles, over, found.step)


def _from_history(series: Series, threshold: float) -> RecentNorms | None:
    norms = np.repeat(series.mean, series.count)[-MAX_STEPS:]
    norms = norms[np.isfinite(norms)]
    positive = norms[norms > 0]
    if not len(positive):
        return None
    logs = np.log10(positive)
    first = math.floor(logs.min() / BIN_DECADES)
    last = math.floor(logs.max() / BIN_DECADES) + 1
    width = max(1, math.ceil((last - first) / MAX_BINS))
    bins = math.ceil((last - first) / width)
    low, high = first * BIN_DECADES, (first + bins * width) * BIN_DECADES
    counts, edges = np.histogram(logs, bins=bins, range=(low, high))
    percentiles = {name: float(np.percentile(norms, int(name[1:]))) for name in PERCENTILES}
    over = float((norms > threshold).mean()) if math.isfinite(threshold) else math.nan
    return RecentNorms(10.0**edges, counts.astype(float), percentiles, over, int(series.step[-1]))
