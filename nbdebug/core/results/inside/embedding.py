"""Embedding: what a part of a network gives for the fixed samples, as points of a plane."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from nbdebug.core.records import Array

Projection = Literal["pca", "tsne"]
PROJECTIONS: tuple[Projection, ...] = get_args(Projection)
PROJECTION_TITLES = {"pca": "PCA", "tsne": "t-SNE"}
SIDE, MARGIN, RADIUS = 320, 10, 3.5
# Okabe and Ito 2008, as in plots.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C8C8C")


@dataclass(frozen=True, eq=False)
class Embedding:
    """Outputs of a part for the N fixed samples, projected onto a plane.

    Attributes:
        step: of training; part: name of the part; method: of the projection.
        points: [N, 2]; NaN for a sample whose output has NaN or Inf.
        shares: of the variance along both axes, () for t-SNE.
        features: what of the output was projected, such as "24 features".
        origin: where the samples come from; indices: of them in that data, None without.
        targets: class or value [N] of each sample, None where they have none.
        classes: True if the targets are classes.
        losses: [N] of the samples, None where they were not asked for or are unknown.
        reason: why there are no points, or no losses; "" if there are.
    """

    step: int
    part: str
    method: Projection
    points: Array
    shares: tuple[float, ...] = ()
    features: str = ""
    origin: str = ""
    indices: tuple[int, ...] | None = None
    targets: Array | None = None
    classes: bool = False
    losses: Array | None = None
    reason: str = ""

    @property
    def said(self) -> str:
        """Method, part, features, share of the variance and step, as a sentence."""
        method = PROJECTION_TITLES[self.method]
        text = f"{method} of {self.features} of {self.part}, {len(self.points):,} samples"
        text += f" from {self.origin}" if self.origin else ""
        if self.shares:
            share = ", ".join(f"{one:.0%}" for one in self.shares)
            text += f"; share of the variance: {share}"
        return f"{text}. Measured at step {self.step:,}."

    def name(self, position: int) -> int:
        """Index of a sample in its data, else its number."""
        return position if self.indices is None else self.indices[position]

    def to_frame(self) -> pd.DataFrame:
        """One row per sample: number among the fixed ones, index, x, y, target, loss."""
        count = len(self.points)
        columns = {
            "sample": np.arange(count),
            "index": np.array([self.name(at) for at in range(count)], dtype=np.int64),
            "x": self.points[:, 0],
            "y": self.points[:, 1],
        }
        if self.targets is not None:
            columns["target"] = self.targets.astype(np.int64) if self.classes else self.targets
        if self.losses is not None:
            columns["loss"] = self.losses
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        return f"Embedding({self.reason if not len(self.points) else self.said})"

    def _repr_html_(self) -> str:
        if not len(self.points):
            return f"<p>{html.escape(self.reason)}</p>"
        said = f"<p>{html.escape(' '.join(filter(None, (self.said, self.reason))))}</p>"
        return said + _drawn(self)


def fitted(points: Array) -> tuple[Array, float]:
    """Middle [2] of the finite points, and half of the side of the square around them."""
    known = points[np.isfinite(points).all(axis=1)]
    if not len(known):
        return np.zeros(2), 1.0
    low, high = known.min(axis=0), known.max(axis=0)
    return (low + high) / 2, float((high - low).max()) / 2 or 1.0


def _drawn(found: Embedding) -> str:
    """SVG of the points, in the colours of their classes."""
    middle, half = fitted(found.points)
    scale = (SIDE / 2 - MARGIN) / half
    dots = ""
    for at, (x, y) in enumerate(found.points):
        if not (np.isfinite(x) and np.isfinite(y)):
            continue
        known = found.targets is not None
        target = float(found.targets[at]) if found.targets is not None else 0.0
        colour = COLOURS[int(target) % len(COLOURS)] if known and found.classes else COLOURS[0]
        title = f"sample {found.name(at)}" + (f", target {target:g}" if known else "")
        place = (
            f'cx="{SIDE / 2 + (x - middle[0]) * scale:.1f}" '
            f'cy="{SIDE / 2 - (y - middle[1]) * scale:.1f}"'
        )
        dots += f'<circle {place} r="{RADIUS}" fill="{colour}"><title>{title}</title></circle>'
    label = html.escape(found.said)
    return f'<svg width="{SIDE}" height="{SIDE}" role="img" aria-label="{label}">{dots}</svg>'
