"""Detects an average of the weights that is still the initial ones."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Status
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.series import Series
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, downsampled


class SlowAverage(Rule):
    """A running average of the weights is still mostly the initial ones, and it is what counts.

    Said at the end of a run; before, where the training loss has fallen and the validation loss
    stands where it began, which is then the loss of the average.

    An average with a decay of 0.9999 is over about 10,000 steps. In a run of a few hundred steps it
    hardly moves from the weights that it began with, and validating it shows a model that has
    learnt nothing, however good the trained one is.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "slow_average"
    title = "The average of the weights is too slow"
    source = "Polyak & Juditsky (1992); measured: its way to the weights; nbdebug: half of it left"
    wants = ("average_rate/*", "average_left/*", "loss", "val_loss")

    MIN_STEPS, MIN_MOVES, MIN_LEFT, SHARE_OF_RUN = 100, 4, 0.5, 10
    # While it trains: share left, changes of the losses as shares, validations.
    LEFT_NOW, STANDS, FELL, MIN_VALIDATIONS = 0.8, 0.05, 0.3, 3

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        status = snapshot.status
        stands = self._stands(snapshot)
        if status.step < self.MIN_STEPS or not (status.finished or stands):
            return None
        least = self.MIN_LEFT if status.finished else self.LEFT_NOW
        for name, rates in snapshot.series.items():
            group, _, copy = name.partition("/")
            left = snapshot.series.get(f"average_left/{copy}")
            if group == "average_rate" and left is not None:
                symptom = self._of(copy, rates, left, status, least)
                if symptom is not None:
                    return symptom
        return None

    def _stands(self, snapshot: Snapshot) -> bool:
        """True if the validation loss stands where it began, and the training loss has fallen."""
        losses, validated = snapshot.series.get("loss"), snapshot.series.get("val_loss")
        if losses is None or validated is None:
            return False
        held = validated.mean[np.isfinite(validated.mean)]
        own = losses.mean[np.isfinite(losses.mean)]
        if len(held) < self.MIN_VALIDATIONS or len(own) < self.MIN_VALIDATIONS or own[0] <= 0:
            return False
        stands = float(np.ptp(held)) <= self.STANDS * abs(float(held[0]))
        tenth = max(len(own) // 10, 1)
        return stands and float(own[-tenth:].mean()) < (1 - self.FELL) * float(own[0])

    def _of(
        self, copy: str, rates: Series, left: Series, status: Status, least: float
    ) -> Symptom | None:
        moves = rates.mean[np.isfinite(rates.mean) & (rates.mean > 0)]
        if len(moves) < self.MIN_MOVES or not np.isfinite(left.last[-1]):
            return None
        known = rates.mean[np.isfinite(rates.mean)]
        # Some averages are updated every few steps.
        rate, each = float(np.median(moves)), float(known.mean())
        since = status.step - int(left.step[-1])
        rest = float(left.last[-1]) * float(1 - min(each, 1.0)) ** since
        if rest <= least or rate >= 1 or each <= 0:
            return None
        better = max(1 - self.SHARE_OF_RUN / status.step, 0.5)
        seen = f"{copy} follows the weights with a decay of about {1 - rate:.6g}, an average over "
        seen += f"{1 / each:,.0f} steps. After {status.step:,} steps {rest:.0%} of it is still "
        seen += "what it began with."
        remedies = (
            Remedy(f"Average over a tenth of the run: a decay of about {better:.3g}"),
            Remedy("Let the decay grow: min(decay, (1 + n) / (10 + n)) in update n"),
        )
        return Symptom(rest, least, 0, seen, remedies, downsampled(left.mean))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        def made(decay: float) -> Snapshot:
            left = decay ** np.arange(0, 440, 10)
            series = {"average_rate/ema": np.full(44, 1 - decay), "average_left/ema": left}
            ended = Status(step=440, epoch=4.0, finished=True)
            return example({"loss": falling_loss(2.3, 0.5, 440), **series}, status=ended)

        return made(0.9999), made(0.99)
