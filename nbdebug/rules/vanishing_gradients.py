"""Detects gradients that shrink from the last layer to the first."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example
from nbdebug.rules._remedies import REINITIALISE
from nbdebug.rules.base import Rule, owners, remaining_loss, weight_series


class VanishingGradients(Rule):
    """The first layers get almost no gradient, and the loss has hardly decreased.

    Each saturating layer (sigmoid, tanh) and each layer with small weights reduces the gradient
    in the backward pass.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "vanishing_gradients"
    title = "Vanishing gradients"
    source = "AutoTrainer (ratio 1e-3 and norm 1e-4), gated by the loss"
    needs = ("grad_norm/*", "loss")

    MIN_GRADIENT_RATIO = 1e-3
    MIN_GRADIENT_NORM = 1e-4
    PATIENCE = 5
    MIN_REMAINING_LOSS = 0.5

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        layers = weight_series(snapshot, "grad_norm", self.PATIENCE)
        if len(layers) < 3 or remaining_loss(snapshot) < self.MIN_REMAINING_LOSS:
            return None
        first, last = layers[0].maximum, layers[-1].minimum
        ratio = float(np.median(first / np.maximum(last, 1e-30)))
        # A missing gradient is another fault.
        if (
            first.max() > self.MIN_GRADIENT_NORM
            or ratio > self.MIN_GRADIENT_RATIO
            or not first.min() > 0
        ):
            return None
        seen = (
            f"The gradient norm of the first layer is {np.median(first):.2g}, {ratio:.2g} times "
            f"that of the last layer (below {self.MIN_GRADIENT_RATIO:g})."
        )
        remedies = (
            Remedy(
                "Use ReLU with He initialisation",
                {"activation": "relu", "reinit": "he"},
            ),
            REINITIALISE,
            Remedy("Add normalisation or residual connections between the layers"),
        )
        since = int(layers[0].step[0])
        return Symptom(
            ratio, self.MIN_GRADIENT_RATIO, since, seen, remedies, tuple(map(float, first)),
            layers=owners([layers[0].name]),
        )  # fmt: skip

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        flat = {"loss": np.full(100, 2.3)}
        norms = {f"grad_norm/{i}.weight": np.full(9, 10.0 ** (2 * i - 9)) for i in range(5)}
        even = {name: np.full(9, 0.1) for name in norms}
        return example({**flat, **norms}), example({**flat, **even})
