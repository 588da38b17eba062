"""Predictions of the fixed samples at one step, and the samples themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from nbdebug.core.html.thumbnail import thumbnail

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PredictedSamples:
    """The fixed samples, N of them, as far as tables and plots show them.

    Attributes:
        count: number of samples.
        origin: "val_data", "train_data", "given", or "a training step".
        indices: of the samples in that data, None where samples have none.
        targets: classes [N], -1 where unknown, or values [N, K]; None where nobody says them.
        rows: the first inputs of each sample; () if inputs are no numbers.
        images: samples [N, 1 or 3, H, W] that are images, of at most 32 x 32; None for others.
        points: both inputs [N, 2] where a sample is two numbers, else None.
    """

    count: int = 0
    origin: str = ""
    indices: tuple[int, ...] | None = None
    targets: Integers | Floats | None = None
    rows: tuple[tuple[float, ...], ...] = ()
    images: Floats | None = None
    points: Floats | None = None

    def name(self, position: int) -> int:
        """Index of a sample in its data, else its position."""
        return position if self.indices is None else self.indices[position]

    def picture(self, position: int) -> str:
        """Data URI of a sample that is an image, "" for another."""
        return "" if self.images is None else thumbnail(self.images[position].astype(np.float64))


@dataclass(frozen=True, eq=False)
class PredictedStep:
    """Predictions for N samples at the weights before the update of `step`.

    Attributes:
        values: probabilities [N, C] of classes or [N, K] of yes, or outputs [N, K].
        predicted: classes [N], -1 where an output is NaN or Inf; None for values and for several
            yes or no.
        of_target: probability [N] of the target, NaN where it is unknown; None without targets.
        top: classes [N, 5] of `values`, where only the most probable ones are kept.
        counts: how often a target [C] was predicted as each class [C, C], where one sample has
            several targets; None otherwise.
        right: share [N] of right predictions, where one sample has several targets.
    """

    step: int
    values: Floats
    predicted: Integers | None = None
    of_target: Floats | None = None
    top: Integers | None = None
    counts: Integers | None = None
    right: Floats | None = None

    @property
    def size(self) -> int:
        """Bytes of all arrays."""
        arrays = [getattr(self, field.name) for field in fields(self)]
        return sum(one.nbytes for one in arrays if isinstance(one, np.ndarray))

    @property
    def confidence(self) -> Floats:
        """The largest probability [N] of each sample."""
        found: Floats = self.values[:, 0] if self.top is not None else self.values.max(axis=1)
        if self.values.shape[1] == 1:
            found = np.maximum(self.values[:, 0], 1 - self.values[:, 0])
        return found


def joined(parts: Sequence[PredictedStep]) -> PredictedStep:
    """Predictions of several batches, one after the other; counts are added."""
    if len(parts) == 1:
        return parts[0]

    def together(name: str) -> NDArray[np.generic] | None:
        arrays = [getattr(part, name) for part in parts]
        if arrays[0] is None:
            return None
        return sum(arrays[1:], arrays[0]) if name == "counts" else np.concatenate(arrays)

    names = [field.name for field in fields(PredictedStep)][1:]
    return PredictedStep(parts[0].step, **{name: together(name) for name in names})  # type: ignore[arg-type]


def thinned(found: Sequence[PredictedStep], limit: int) -> tuple[PredictedStep, ...]:
    """At most `limit` steps at about even distances; the first and the last stay."""
    kept = list(found)
    while len(kept) > max(limit, 2):
        gaps = [kept[i + 1].step - kept[i - 1].step for i in range(1, len(kept) - 1)]
        del kept[1 + int(np.argmin(gaps))]
    return tuple(kept)
