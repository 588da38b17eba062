"""Gradients that fade on the way back to the first layer."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example
from nbdebug.rules._remedies import REDRAW
from nbdebug.rules.base import Rule, progress, weights


class VanishingGradients(Rule):
    """The first layers get almost no gradient, and the loss has hardly fallen.

    Each saturating layer (sigmoid, tanh) and each small weight makes it smaller on its way back.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "vanishing_gradients"
    title = "Vanishing gradients"
    source = "AutoTrainer (ratio 1e-3 and norm 1e-4), gated by the loss"
    needs = ("grad_norm/*", "loss")

    RATIO = 1e-3
    NORM = 1e-4
    LAST = 5
    FALLEN = 0.5

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        layers = weights(snapshot, "grad_norm", self.LAST)
        if len(layers) < 3 or progress(snapshot) < self.FALLEN:
            return None
        first, last = layers[0].maximum, layers[-1].minimum
        ratio = float(np.median(first / np.maximum(last, 1e-30)))
        # No gradient at all is another matter.
        if first.max() > self.NORM or ratio > self.RATIO or not first.min() > 0:
            return None
        seen = (
            f"The gradient of the first layer is {np.median(first):.2g}, {ratio:.2g} of that of "
            f"the last one (under {self.RATIO:g})."
        )
        remedies = (
            Remedy(
                "ReLU in place of functions that saturate, with weights drawn for it",
                {"activation": "relu", "reinit": "he"},
            ),
            REDRAW,
            Remedy("Normalisation or residual connections between the layers"),
        )
        since = int(layers[0].step[0])
        return Symptom(ratio, self.RATIO, since, seen, remedies, tuple(map(float, first)))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        flat = {"loss": np.full(100, 2.3)}
        norms = {f"grad_norm/{i}.weight": np.full(9, 10.0 ** (2 * i - 9)) for i in range(5)}
        even = {name: np.full(9, 0.1) for name in norms}
        return example({**flat, **norms}), example({**flat, **even})
