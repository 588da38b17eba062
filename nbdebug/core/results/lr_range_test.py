"""Result of a learning-rate range test."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
SMOOTHING_WEIGHT = 0.98


@dataclass(frozen=True, eq=False)
class LrRangeTest:
    """Loss against learning rate in an exponential sweep (Smith 2015, arXiv:1506.01186).

    Attributes:
        lr: [N] the tested learning rates, rising.
        loss: [N] loss of each batch, before the update with that rate.
        smoothed: [N] exponential average of the loss, as in fast.ai.
        steps: number of planned rates.
        ended: why the sweep ended, as text.
    """

    lr: Array
    loss: Array
    smoothed: Array
    steps: int
    ended: str

    @property
    def suggestion(self) -> float | None:
        """Learning rate at which the smoothed loss falls steepest, None if the loss never falls.

        As in fast.ai, the slope is taken against the logarithm of the rate, without the
        first tenth of the sweep and the last five rates.
        """
        kept = slice(self.steps // 10, max(len(self.lr) - 5, 0))
        lr, smoothed = self.lr[kept], self.smoothed[kept]
        if len(lr) < 2:
            return None
        slope = np.diff(smoothed) / np.diff(np.log(lr))
        steepest = int(np.argmin(slope))
        return float(lr[steepest]) if slope[steepest] < 0 else None

    def frame(self) -> pd.DataFrame:
        """Return a DataFrame with one row per learning rate: lr, loss, smoothed."""
        import pandas as pd

        return pd.DataFrame({"lr": self.lr, "loss": self.loss, "smoothed": self.smoothed})

    def __repr__(self) -> str:
        lines = [f"LrRangeTest: {len(self.lr)} learning rates of {self.steps}; {self.ended}"]
        return "\n".join([*lines, self._advice()])

    def _repr_html_(self) -> str:
        first, *rest = (html.escape(line) for line in repr(self).split("\n"))
        return f"<p><b>{first}</b><br>{'<br>'.join(rest)}</p>"

    def _advice(self) -> str:
        lr = self.suggestion
        if lr is None:
            return "The loss never falls: try other ends, more steps, or look at the data."
        return f"The loss falls steepest at lr {lr:.3g}. To use this rate: dbg.set(lr={lr:.3g})"


class Smoothing:
    """Bias-corrected exponential average of losses."""

    def __init__(self) -> None:
        self._average, self._count = 0.0, 0

    def add(self, loss: float) -> float:
        """Add a loss and return the average."""
        self._count += 1
        self._average = SMOOTHING_WEIGHT * self._average + (1 - SMOOTHING_WEIGHT) * loss
        return self._average / (1 - SMOOTHING_WEIGHT**self._count)
