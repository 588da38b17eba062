"""Detects a loss whose data term is no lower than that of a constant output."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._asked_checks import WHY_NO_PROGRESS
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, downsampled

REMEDIES = (
    Remedy("Weigh the other terms of the loss less at first, and raise their weights slowly (for a "
           "variational autoencoder: warm up the KL term)"),
    Remedy("Reduce all terms in the same way: a sum beside a mean outweighs it"),
)  # fmt: skip


class ConstantDataTerm(Rule):
    """The loss has several terms, and the one that reads the data falls no further than a constant.

    The outputs ignore the inputs, since another term decides the updates: a KL term that is summed
    beside a mean error (posterior collapse), a penalty or an auxiliary loss of a larger scale.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "constant_data_term"
    title = "The data term is no better than a constant output"
    source = (
        "Bowman et al. (2016), Generating sentences from a continuous space: posterior collapse"
    )
    asks = WHY_NO_PROGRESS
    needs = ("data_term", "constant_data_term")

    MIN_SHARE = 0.95
    MIN_STEPS, MIN_EPOCHS, MIN_POINTS = 300, 3.0, 12

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        terms, constants = snapshot.series["data_term"], snapshot.series["constant_data_term"]
        epoch = snapshot.latest.get("epoch", self.MIN_EPOCHS)
        late = snapshot.status.step >= self.MIN_STEPS and epoch >= self.MIN_EPOCHS
        # Both are measured on the same batches, which may differ much from each other.
        steps, at, beside = np.intersect1d(terms.step, constants.step, return_indices=True)
        if not late or len(steps) < self.MIN_POINTS:
            return None
        half = len(steps) // 2
        term, constant = terms.mean[at][half:], constants.mean[beside][half:]
        known = np.isfinite(term) & (constant > 0)
        if not known.all():
            return None
        shares = term / constant
        # The best of several short intervals: a model that learns late is healthy.
        lowest = min(float(np.median(part)) for part in np.array_split(shares, 4))
        if lowest <= self.MIN_SHARE:
            return None
        seen = f"Median {np.median(term):.4g} over the last half of the steps; a constant output "
        seen += f"gives {np.median(constant):.4g}."
        value = float(np.median(shares))
        return Symptom(value, self.MIN_SHARE, int(steps[half]), seen, REMEDIES, downsampled(shares))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        constant = {"loss": np.full(400, 3.0), "constant_data_term": np.full(400, 0.4)}
        noise = np.random.default_rng(0).normal(0.4, 0.005, 400)
        return example({**constant, "data_term": noise}), example(
            {**constant, "data_term": falling_loss(0.4, 0.2, 400)}
        )
