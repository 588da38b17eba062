"""Steps that do not give the same when they are run again."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.timeline import Difference, ReplayResult
from nbdebug.rules._examples import example, falling
from nbdebug.rules.base import Rule


class NotReproducible(Rule):
    """Steps that were run again, by a rewind or a replay, gave other numbers than before.

    Forks and rewinds cannot be trusted to the bit then. The model, the loss or the data ask
    something that is no part of the training: a clock, a generator of its own, a file, or a
    kernel that adds in any order.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "not_reproducible"
    title = "Not reproducible"
    source = "proof: each loss and gradient norm against the recorded one"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        repeated = snapshot.repeated
        if repeated is None or repeated.equal:
            return None
        difference = repeated.difference
        step = repeated.step if difference is None else difference.step
        apart = 0.0 if difference is None else difference.repeated[0] - difference.recorded[0]
        said = str(repeated).rstrip(".")
        remedies = (
            Remedy("Take random numbers from torch, NumPy or random, in forward or the dataset"),
            Remedy("torch.use_deterministic_algorithms(True), where a kernel does it"),
        )
        return Symptom(apart, 0.0, min(step, snapshot.status.step), f"{said}.", remedies)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling(2.3, 0.5)}
        other = Difference(60, (1.0, 2.0), (1.1, 2.0))
        return (
            example(loss, repeated=ReplayResult(50, 100, 50, other)),
            example(loss, repeated=ReplayResult(50, 100, 50)),
        )
