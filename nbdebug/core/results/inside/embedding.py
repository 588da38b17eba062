"""Embedding: what a part of a network gives for the fixed samples, as points of a plane."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from nbdebug.core.records import Array

if TYPE_CHECKING:
    import pandas as pd

Projection = Literal["pca", "tsne"]
PROJECTIONS: tuple[Projection, ...] = get_args(Projection)
PROJECTION_TITLES = {"pca": "PCA", "tsne": "t-SNE"}
WIDTH, HEIGHT, MARGIN, RADIUS = 520, 300, 10, 3.5
MAX_NAMED = 12
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

    def middles(self) -> dict[str, tuple[float, float]]:
        """Median of the points of each class, by its number; {} without classes, or with many."""
        names = np.unique(self.targets) if self.targets is not None and self.classes else ()
        if self.targets is None or not 1 < len(names) <= MAX_NAMED:
            return {}
        found = {}
        for name in names:
            points = self.points[self.targets == name]
            points = points[np.isfinite(points).all(axis=1)]
            if len(points):
                x, y = np.median(points, axis=0).tolist()
                found[f"{name:g}"] = (x, y)
        return found

    def to_frame(self) -> pd.DataFrame:
        """One row per sample: number among the fixed ones, index, x, y, target, loss."""
        import pandas as pd

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


def class_colour(number: float) -> tuple[str, bool]:
    """Colour of a class; True for a ring in place of a dot, where colours come again."""
    turn, place = divmod(int(number), len(COLOURS))
    return COLOURS[place], turn % 2 == 1


def fitted(values: Array) -> tuple[float, float]:
    """Middle of the finite values along one axis, and half of their range, 1 for none."""
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    return (low + high) / 2, (high - low) / 2 or 1.0


def _drawn(found: Embedding) -> str:
    """SVG of the points in the colours of their classes, with the number of each class."""
    places = _pixels(found, found.points)
    dots = ""
    for at, (x, y) in enumerate(places):
        if not (np.isfinite(x) and np.isfinite(y)):
            continue
        title, colour, ring = f"sample {found.name(at)}", COLOURS[0], False
        if found.targets is not None:
            target = float(found.targets[at])
            title += f", target {target:g}"
            colour, ring = class_colour(target) if found.classes else (colour, ring)
        place = f'cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}"'
        # The inside of a ring answers to the pointer too.
        fill = f'fill="{colour}" stroke="{colour}" stroke-width="1.5"'
        fill += ' fill-opacity="0"' if ring else ""
        dots += f"<circle {place} {fill}><title>{title}</title></circle>"
    for name, (x, y) in found.middles().items():
        style = 'text-anchor="middle" dominant-baseline="middle" font-weight="bold"'
        ((left, top),) = _pixels(found, np.array([[x, y]]))
        dots += f'<text x="{left:.1f}" y="{top:.1f}" fill="currentColor" {style}>{name}</text>'
    label = html.escape(found.said)
    return f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{label}">{dots}</svg>'


def _pixels(found: Embedding, points: Array) -> Array:
    """Places in the drawing of points [K, 2] of the plane."""
    placed = []
    for at, size in enumerate((WIDTH, HEIGHT)):
        middle, half = fitted(found.points[:, at])
        share = (points[:, at] - middle) / half * (-1 if at else 1)
        placed.append(size / 2 + share * (size / 2 - MARGIN))
    return np.stack(placed, axis=1)
