"""Detects a training that goes on in spite of a failed check."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.checks.check_report import CheckReport
from nbdebug.core.results.checks.check_result import CheckResult
from nbdebug.core.results.findings import Symptom
from nbdebug.rules._asked_checks import symptom_of
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule

# What they show follows from something else, which rules name better.
SYMPTOMS = frozenset({
    "initial_loss", "prior_bias", "constant_activations", "zero_gradient", "unchanged_parameters",
    "gradient_ratio", "dead_units", "saturated_units", "overfit", "one_epoch", "baselines",
    "shapes",
})  # fmt: skip


class FailedCheck(Rule):
    """A check of the setup failed, and training goes on with the same setup.

    What a check proves before training stays true while the setup is the same, and explains what
    follows from it. Fix the setup, make a new Debugger, and run the checklist again.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "failed_check"
    title = "A check of the setup failed"
    severity = "error"
    source = "the checklist: dbg.check()"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        failed = _failed(snapshot.checks)
        if not failed or not snapshot.status.step:
            return None
        return symptom_of(failed, "Failed too")

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        failed, passed = (
            CheckReport.of([
                CheckResult(
                    "shuffling", "Shuffling", 4, status, "not shuffled", "shuffled",
                    "Shuffle the data", "", "", 0.0, 0, False,
                )
            ])
            for status in ("fail", "pass")
        )  # fmt: skip
        return example(loss, [failed]), example(loss, [passed])


def _failed(checks: CheckReport) -> list[CheckResult]:
    """Causes that failed, and those that warned of what another check proves."""
    proven = {one.cause for one in checks if one.status == "fail" and one.name not in SYMPTOMS}
    return [
        one
        for one in checks.causes
        if not one.raised and one.name not in SYMPTOMS
        if one.status == "fail" or one.name in proven
    ]
