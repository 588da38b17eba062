"""Detects a schedule that has brought the learning rate to almost 0 too early."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, downsampled


class ScheduleEnded(Rule):
    """The schedule has brought the learning rate to almost 0, and training goes on without it.

    A schedule that counts epochs but is stepped after each batch uses up all its epochs within
    the first one. A schedule that is shorter than the training ends before it.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "schedule_ended"
    title = "The schedule has ended the learning rate"
    source = "PyTorch, How to adjust learning rate; nbdebug: a thousandth, for 30% of the steps"
    needs = ("lr", "loss")

    MAX_SHARE, MAX_FIRST_EPOCH_SHARE = 1e-3, 1e-2
    MIN_STEPS, MIN_FIRST_EPOCH_STEPS = 100, 20
    MIN_STEPS_SHARE = 0.3

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        # Changes close to each other count as one for other rules: here each tells by whom lr fell.
        by_hand = (c.step for c in snapshot.changes if c.status == "applied" and c.control == "lr")
        lr, edited = snapshot.series["lr"], max(snapshot.changed_at, *by_hand, 0)
        lr = lr.part(lr.step >= edited)
        if len(lr) < 2 or not np.isfinite(lr.last).all() or not float(lr.maximum.max()) > 0:
            return None
        step, largest = snapshot.status.step, float(lr.maximum.max())
        first_epoch = 0 < snapshot.latest.get("epoch", 2.0) < 2
        share = self.MAX_FIRST_EPOCH_SHARE if first_epoch else self.MAX_SHARE
        # Three milestones of a tenth leave a thousandth, but for rounding.
        small = lr.last <= share * largest * (1 + 1e-6)
        if not small[-1] or small[0]:
            return None
        since = int(lr.step[len(small) - int(np.argmin(small[::-1]))])
        low = step - since
        least = self.MIN_FIRST_EPOCH_STEPS if first_epoch else self.MIN_STEPS
        if low < max(least, self.MIN_STEPS_SHARE * (step - edited)):
            return None
        value, epoch = float(lr.last[-1]), snapshot.latest.get("epoch")
        when = f"; training is in epoch {epoch:.1f}" if epoch is not None and first_epoch else ""
        seen = f"The schedule has lowered the learning rate from {largest:.3g} to {value:.3g}; "
        seen += f"it has been under {share:.1%} of that since step {since:,}{when}."
        remedies = (
            Remedy("Keep the learning rate constant", {"schedule": "constant", "lr": largest}),
            Remedy(
                "Step a schedule of epochs once per epoch: schedule_every='epoch', or call "
                "scheduler.step() after the loop over the batches"
            ),
        )
        return Symptom(value, share * largest, since, seen, remedies, downsampled(lr.mean))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        gone = np.concatenate([0.1 * 0.1 ** (np.arange(100) // 20), np.full(300, 1e-6)])
        cosine = 0.05 * (1 + np.cos(np.linspace(0, np.pi, 400)))
        return example({**loss, "lr": gone}), example({**loss, "lr": cosine})
