"""The Checklist tab: results of checks, buttons to run checks, and buttons for remedies."""

from __future__ import annotations

import html
from collections.abc import Sequence

from nbdebug.core.commands.base import SET_CONTROLS
from nbdebug.core.commands.examining import RunChecks
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Progress
from nbdebug.core.results.checks.check_report import CheckReport
from nbdebug.core.results.checks.check_result import BAD_STATUSES, CHECKLIST_STEPS, CheckResult
from nbdebug.core.results.checks.check_table import step_section
from nbdebug.panels._buttons import button, progress_row
from nbdebug.panels.base import Panel

QUICK_TIP = (
    "Run all quick checks between two steps, as soon as the current step is done. Everything is "
    "restored afterwards: training does not change."
)
SLOW_TIP = (
    "Run {what} between two steps, which takes a few seconds or more. Everything is restored "
    "afterwards: training does not change. Stop cancels at any time."
)
STOP_TIP = "Cancel the running check at once. Training does not change."


class Checklist(Panel):
    """Results under the five steps; the quick checks run when the tab is first opened."""

    name = "checklist"
    tab = "Checklist"
    order = 50
    title = "Five-step checklist"
    help = "checks model, loss and data between two steps; changes nothing"
    height = 320
    wide = True

    def build(self) -> None:
        self._shown: tuple[CheckReport, bool, bool] | None = None
        self._asked = False

    def update(self, snapshot: Snapshot) -> None:
        report, live = snapshot.checks, snapshot.status.state != "closed"
        quick = [result.name for result in report if not result.expensive]
        if any(result.status != "not_run" for result in report):
            self._asked = False
        elif live and not self._asked and quick:
            self._asked = True
            self.context.ask(self.name, RunChecks.name, {"checks": quick})
        busy = checks_progress(snapshot) is not None
        self._section("0", head(snapshot, live))
        if (report, live, busy) == self._shown:
            return
        self._shown = report, live, busy
        present = [
            step for step in CHECKLIST_STEPS if any(result.step == step for result in report)
        ]
        for step in present:
            section = step_section(
                report.results, step, lambda result: self._buttons(result, busy) if live else "",
                head=step == present[0],
            )  # fmt: skip
            self._section(str(step), section)

    def _section(self, name: str, page: str) -> None:
        self.context.sink.set_section(self.name, name, page)

    def _buttons(self, result: CheckResult, busy: bool) -> str:
        made = ""
        if result.expensive:
            label = "Run" if result.status == "not_run" else "Run again"
            tip = f"{result.title}: {SLOW_TIP.format(what='this check')}"
            made = button(label, RunChecks.name, {"checks": [result.name]}, tip, busy)
        remedy = result.proposal
        if remedy is not None and result.status in BAD_STATUSES:
            known = {spec.name: spec.label for spec in self.context.controls}
            word = known.get(remedy.control, remedy.control)
            value = f"{remedy.value:g}" if isinstance(remedy.value, float) else remedy.value
            tip = f"Set {word} to {value}; takes effect at the next step."
            fields = {"settings": {remedy.control: remedy.value}}
            made += button(f"{word}: {value}", SET_CONTROLS, fields, tip)
        return made


def checks_progress(snapshot: Snapshot) -> Progress | None:
    """Progress of the running checks; None if no check is running."""
    progress = snapshot.results.of(Progress)
    return progress if progress is not None and progress.command == RunChecks.name else None


def head(snapshot: Snapshot, live: bool) -> str:
    """Summary, progress of running checks, and the buttons that run several checks."""
    report, progress = snapshot.checks, checks_progress(snapshot)
    tools = _tools(report, progress is not None) if live else ""
    if progress is not None:
        state = progress_row(progress, STOP_TIP)
    else:
        state = f'<span class="nbd-help">{_checked_at(snapshot)}</span>'
    return (
        f'<div role="status">{html.escape(report.summary)}</div>'
        f'<div class="nbd-row">{tools}{state}</div>'
    )


def _checked_at(snapshot: Snapshot) -> str:
    """Step of the latest result, if training has continued since."""
    steps = [result.at for result in snapshot.checks if result.status != "not_run"]
    now = snapshot.status.step
    return f"checked at step {max(steps):,}, now at {now:,}" if steps and max(steps) != now else ""


def _tools(report: CheckReport, busy: bool) -> str:
    slow = [result for result in report if result.expensive]
    waiting = [result for result in slow if result.status == "not_run"] or slow
    number = f"{len(waiting)} slow checks" if len(waiting) > 1 else "the slow check"
    quick = [result for result in report if not result.expensive]
    return _button_for("Run quick checks", quick, QUICK_TIP, busy) + _button_for(
        f"Run {number}", waiting, SLOW_TIP.format(what=number), busy
    )


def _button_for(label: str, results: Sequence[CheckResult], tip: str, busy: bool) -> str:
    names = [result.name for result in results]
    return button(label, RunChecks.name, {"checks": names}, tip, busy) if names else ""
