"""Detects a training that ended while its loss was still falling."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array, Status
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, downsampled


class FewEpochs(Rule):
    """The run has ended, and its loss was high and still falling about as fast as before.

    The model had not learnt what it could: more passes over the data, or a higher learning rate,
    take the loss farther. An accuracy measured now says little about the model.

    False alarms: 0 of 144 healthy trainings, none of which ends with its epochs.
    """

    name = "few_epochs"
    title = "Ended while the loss was falling"
    source = "nbdebug: a third of the fall in the last half of the steps, to 40 % of the first loss"
    falls = True
    needs = ("loss",)
    wants = ("val_loss",)

    MIN_STEPS, MAX_EPOCHS = 40, 20.0
    MIN_REMAINING_LOSS, MIN_FALL, MIN_LATE_SHARE = 0.4, 0.05, 1 / 3
    MIN_STANDARD_ERRORS = 4.0

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        status, loss = snapshot.status, snapshot.series["loss"].mean
        if not status.finished or len(loss) < self.MIN_STEPS or status.epoch > self.MAX_EPOCHS:
            return None
        part = max(5, len(loss) // 20)
        first, middle, now = (
            float(np.median(one)) for one in (loss[:part], _middle(loss, part), loss[-2 * part :])
        )
        late, bound = middle - now, self.MIN_LATE_SHARE * (first - now)
        if not (
            first > 0
            and now > self.MIN_REMAINING_LOSS * first
            and late > max(bound, self.MIN_FALL * first)
            and late > self.MIN_STANDARD_ERRORS * _noise(loss) / np.sqrt(2 * part)
            and not self._validation_rises(snapshot)
        ):
            return None
        seen = f"The run ended after {status.epoch:.3g} epochs at a loss of {now:.4g}, {first:.4g} "
        seen += f"at the start; in the last half of its steps it fell from {middle:.4g}."
        return Symptom(late, bound, status.step, seen, _remedies(status), downsampled(loss))

    def _validation_rises(self, snapshot: Snapshot) -> bool:
        val = snapshot.series.get("val_loss")
        return val is not None and len(val) > 1 and bool(val.mean[-1] > val.mean[:-1].min())

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        slow = np.linspace(2.3, 1.5, 200)
        ended = Status(step=200, epoch=2.0, finished=True)
        return (
            example({"loss": slow}, status=ended),
            example({"loss": falling_loss(2.3, 1.2, 200)}, status=ended),
        )


def _middle(loss: Array, part: int) -> Array:
    """The losses around the middle of the run."""
    half = len(loss) // 2
    return loss[half - part : half + part]


def _noise(loss: Array) -> float:
    """Standard deviation of the loss around its trend in the last half of the steps."""
    late = loss[len(loss) // 2 :]
    return float(np.std(np.diff(late)) / np.sqrt(2))


def _remedies(status: Status) -> tuple[Remedy, ...]:
    more = max(1, round(2 * status.epoch))
    return (Remedy(f"Train on: dbg.run(epochs={more})"), Remedy("Raise the learning rate"))
