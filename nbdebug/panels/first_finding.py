"""The most important finding, in one line, with its remedy."""

from __future__ import annotations

import html

from nbdebug.core.commands.timeline import Rewind, UndoAndRewind
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Progress
from nbdebug.core.results.checks.check_table import STATUS_COLOURS
from nbdebug.core.results.findings import Finding
from nbdebug.core.results.undo import UndoableChange, UndoResult
from nbdebug.panels._buttons import button, tab_button
from nbdebug.panels._remedies import (
    known_values,
    remedy_buttons,
    trial_progress,
    trial_result,
    usable,
    values_text,
)
from nbdebug.panels.base import OVERVIEW, Panel
from nbdebug.rules._loss_rise import WINDOW, rose

COLOURS = {"error": STATUS_COLOURS["fail"], "warning": STATUS_COLOURS["warning"]}
# A finding that begins later is not taken for an effect of the change.
MAX_STEPS_AFTER = 300
# A rule dates what it sees to the beginning of the window that it judges.
MAX_WINDOW_STEPS = 100
BACK_TIP = "Rewind training to before the change and pause; the later steps become a grey branch"
UNDO_TIP = "Rewind to the step before the last change, without it"
MORE_TIP = "Show all findings with their evidence, causes and remedies"


class FirstFinding(Panel):
    """First root cause among the findings; a quiet line while nothing looks sick."""

    name = "first_finding"
    tab = OVERVIEW
    order = 1
    title = ""
    height = 30
    wide = True
    needs = ("loss",)

    def build(self) -> None:
        return None

    def update(self, snapshot: Snapshot) -> None:
        causes = snapshot.findings.causes
        page = _way_back(snapshot)
        if not page:
            page = self._line(causes[0], len(causes) - 1, snapshot) if causes else _quiet(snapshot)
        self.context.sink.set_section(self.name, "0", f'<div class="nbd-first">{page}</div>')

    def _line(self, finding: Finding, more: int, snapshot: Snapshot) -> str:
        tools = self._tools(finding, snapshot) if snapshot.status.state != "closed" else ""
        count = f" (and {more} more)" if more else ""
        return (
            f'<span class="nbd-said" role="status" title="{html.escape(finding.seen)}">'
            f'<b style="color:{COLOURS[finding.severity]}">{html.escape(finding.title)}</b> '
            f"{html.escape(finding.seen)}</span>{tools}"
            f"{tab_button(f'Why?{count}', 'Findings', MORE_TIP)}"
        )

    def _tools(self, finding: Finding, snapshot: Snapshot) -> str:
        working = trial_progress(snapshot)
        if working:
            return working
        result = trial_result(finding, snapshot)
        if result:
            return result
        back = _undo(finding, snapshot)
        known = known_values(self.context)
        labels = {spec.name: spec.label for spec in self.context.controls}
        remedy = next((one for one in finding.remedies if usable(one, known)), None)
        if remedy is None:
            return back
        busy = Progress in snapshot.results
        what = values_text(remedy, labels)
        return back + remedy_buttons(finding, remedy, snapshot, busy, what)


def _undo(finding: Finding, snapshot: Snapshot) -> str:
    """Button that takes back the change after which the finding began, "" without one."""
    change = snapshot.results.of(UndoableChange)
    if change is None or not _follows(finding, change.step, snapshot):
        return ""
    return button("Undo and go back", UndoAndRewind.name, {}, f"{UNDO_TIP}: {change}")


def _follows(finding: Finding, step: int, snapshot: Snapshot) -> bool:
    """Tell if a finding may be the effect of a change at `step`."""
    if step <= finding.since <= step + MAX_STEPS_AFTER:
        return True
    if finding.fired <= step:
        return False
    if step - MAX_WINDOW_STEPS <= finding.since < step:
        return True
    loss = snapshot.series.get("loss")
    if loss is None or not len(loss):
        return False
    return rose(loss, step, max(MAX_STEPS_AFTER, WINDOW * int(loss.count.max())))


def _way_back(snapshot: Snapshot) -> str:
    """Offer to go back to before a change that did harm and was just taken back; "" without."""
    undone, step = snapshot.results.of(UndoResult), snapshot.status.step
    if undone is None or undone.rewind_to is None or undone.rewound:
        return ""
    if not undone.step <= step <= undone.step + MAX_STEPS_AFTER:
        return ""
    text = f"Taken back: {undone.change}. The loss has risen since then."
    offer = f"Go back to step {undone.rewind_to:,}"
    return (
        f'<span class="nbd-said" role="status">{html.escape(text)}</span>'
        f"{button(offer, Rewind.name, {'step': str(undone.rewind_to)}, BACK_TIP)}"
    )


def _quiet(snapshot: Snapshot) -> str:
    working = trial_progress(snapshot)
    if working:
        return working
    seen = bool(snapshot.latest)
    text = snapshot.findings.summary if seen else "Press Run to train; findings appear here."
    return f'<span class="nbd-said nbd-quiet" role="status">{html.escape(text)}</span>'
