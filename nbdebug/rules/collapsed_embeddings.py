"""Detects embeddings that become the same for all samples."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.series import Series
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class CollapsedEmbeddings(Rule):
    """The loss compares embeddings with each other, and falls since all become the same.

    Where similar samples are pulled together and nothing keeps the others apart, one embedding for
    all is the optimum: the loss looks excellent, and the embeddings tell nothing. So it is without
    negatives, without a stopped gradient beside a predictor, or without a term for the variance.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "collapsed_embeddings"
    title = "All embeddings become the same"
    source = "Chen & He (2021), SimSiam, figure 2; Bardes et al. (2022), VICReg"
    wants = ("embedding_angle", "embedding_spread")

    MAX_ANGLE, MAX_ANGLE_RATIO = 0.25, 0.5
    MAX_SPREAD, MAX_SPREAD_RATIO = 0.05, 0.2
    PATIENCE = 2

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        angle = snapshot.series.get("embedding_angle")
        found = self._of(angle, self.MAX_ANGLE, self.MAX_ANGLE_RATIO, "directions")
        if found is not None:
            return found
        spread = snapshot.series.get("embedding_spread")
        return self._of(spread, self.MAX_SPREAD, self.MAX_SPREAD_RATIO, "values")

    def _of(self, series: Series | None, most: float, ratio: float, words: str) -> Symptom | None:
        if series is None or len(series) <= self.PATIENCE:
            return None
        first, last = float(series.mean[0]), float(series.maximum[-self.PATIENCE :].max())
        threshold = min(most, ratio * first)
        if not last <= threshold:
            return None
        value = float(series.last[-1])
        seen = f"The spread of the {words} of embeddings over a batch fell from {first:.2g} to "
        seen += f"{value:.2g}: all samples get almost the same."
        remedies = (
            Remedy("Stop the gradient through one of two views, z.detach(), beside a predictor"),
            Remedy("Push other samples away: negatives, or a term for the variance of each output"),
        )
        above = np.flatnonzero(series.mean > threshold)
        since = int(series.step[above[-1] + 1 if len(above) else 0])
        evidence = tuple(map(float, series.mean[-64:]))
        return Symptom(value, threshold, since, seen, remedies, evidence)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(0.0, -1.0)}
        return (
            example({**loss, "embedding_angle": [0.6, 0.3, 0.15, 0.1]}),
            example({**loss, "embedding_angle": [0.6, 0.7, 0.8, 0.8]}),
        )
