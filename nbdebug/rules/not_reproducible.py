"""Detects steps that give other results when they are repeated."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.timeline import Difference, ReplayResult
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class NotReproducible(Rule):
    """Steps that a rewind or a replay repeated gave other results than before.

    Forks and rewinds are then not exact. The model, the loss or the data depend on something
    that nbdebug does not restore: a clock, a random generator of their own, a file, or a
    non-deterministic kernel.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "not_reproducible"
    title = "Not reproducible"
    source = "proof: each loss and gradient norm against the recorded one"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        repeated = snapshot.results.of(ReplayResult)
        if repeated is None or repeated.equal:
            return None
        difference = repeated.difference
        step = repeated.step if difference is None else difference.step
        apart = 0.0 if difference is None else difference.repeated[0] - difference.recorded[0]
        said = str(repeated).rstrip(".")
        remedies = (
            Remedy("Draw random numbers from torch, NumPy or random, in forward or the dataset"),
            Remedy("Call torch.use_deterministic_algorithms(True) if a kernel is the cause"),
        )
        return Symptom(apart, 0.0, min(step, snapshot.status.step), f"{said}.", remedies)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        other = Difference(60, (1.0, 2.0), (1.1, 2.0))
        return (
            example(loss, results=[ReplayResult(50, 100, 50, other)]),
            example(loss, results=[ReplayResult(50, 100, 50)]),
        )
