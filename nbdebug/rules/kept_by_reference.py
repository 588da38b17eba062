"""Detects kept weights that are the model's own."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.checks.check_report import CheckReport
from nbdebug.core.results.checks.check_result import CheckResult
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class KeptByReference(Rule):
    """Weights under a name such as best or old are the model's own, not a copy.

    They change with each update, so that loading them later does nothing. Weights that are written
    to a file at that moment are none the worse.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "kept_by_reference"
    title = "Kept weights are no copy"
    source = "the check kept_weights"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        for one in snapshot.checks:
            if one.name == "kept_weights" and one.status == "warning":
                return Symptom(1.0, 0.0, one.at, f"{one.seen}.", (Remedy(one.remedy),))
        return None

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        warned, passed = (
            CheckReport.of([
                CheckResult(
                    "kept_weights", "Weights that are kept", 5, status, "best: the model's own",
                    "copies", "Copy them", "", "", 0.0,
                )
            ])
            for status in ("warning", "pass")
        )  # fmt: skip
        return example(loss, [warned]), example(loss, [passed])
