"""Detects a new optimizer for each update."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.metric_names import RenewedOptimizer
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class OptimizerMadeAnew(Rule):
    """The loop makes a new optimizer for each update, which forgets what the last one gathered.

    Momentum and the averages of Adam grow over many steps. With a new optimizer each update is a
    first one: Adam then moves every weight by the whole learning rate, whatever its gradient, and
    momentum does nothing.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "renewed_optimizer"
    title = "Each update has a new optimizer"
    source = "PyTorch, torch.optim; proof: other objects made the updates, or none counts beyond 1"
    wants = ("optimizer_age",)

    PATIENCE, MIN_STEPS = 3, 20

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(RenewedOptimizer)
        if found is None:
            return self._measured(snapshot)
        seen = f"{found.count} different {found.kind} made the first updates of the weights; each "
        seen += f"begins without {', '.join(found.lost)}."
        remedy = Remedy(f"Make {found.kind} once, before the loop, and give that to nbd.watch")
        return Symptom(float(found.count), 1.0, 0, seen, (remedy,))

    def _measured(self, snapshot: Snapshot) -> Symptom | None:
        """State that is cleared, or loaded again, of the same optimizer."""
        ages = snapshot.series.get("optimizer_age")
        if ages is None or len(ages) < self.PATIENCE or snapshot.status.step < self.MIN_STEPS:
            return None
        last = ages.part(np.arange(len(ages)) >= len(ages) - self.PATIENCE)
        if last.step[0] < snapshot.changed_at or (last.maximum > 1).any():
            return None
        grown = np.flatnonzero(ages.maximum > 1)
        since = int(ages.step[grown[-1] + 1 if len(grown) else 0])
        seen = f"The optimizer has counted one update since step {since:,}, at every measured step."
        remedy = Remedy(
            "Make the optimizer once, before the loop, and leave its state as it is: no "
            "state.clear() and no load_state_dict() within the step"
        )
        return Symptom(1.0, 1.0, since, seen, (remedy,))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        found = RenewedOptimizer(20, "Adam", 10, ("exp_avg", "exp_avg_sq"))
        return example(loss, [found]), example(loss)
