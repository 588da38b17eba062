"""The Runs tab: notes, the list of recorded runs, and forms to change them."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import MAX_NOTE_LENGTH
from nbdebug.core.results.run_list import ADD_NOTE, RunList, RunRequest, RunRow, differing
from nbdebug.panels._buttons import button
from nbdebug.panels._forms import row, submit, text_field
from nbdebug.panels._run_table import STATUS_LABELS, comparison_table, run_table, shortened
from nbdebug.panels.base import Panel

SORT_OPTIONS = (
    ("newest", "newest first"),
    ("name", "name"),
    ("loss", "loss, lowest first"),
    ("val_loss", "validation loss, lowest first"),
    ("steps", "steps, most first"),
)
STATUS_OPTIONS = (
    ("", "all"),
    *((name, label) for name, (label, _) in STATUS_LABELS.items()),
)
NOTE_TIP = "Attach this note to the current step; the plots mark the step. Takes effect at once."
FIND_TIP = "Show only runs whose name or tags contain this text. Takes effect at once."
ALL_TIP = "Show all runs again. Takes effect at once."
COMPARE_HINT = "Tick two or more to compare their losses below."
NOT_RECORDED = (
    "This training is not recorded, so there are no runs to list: the Debugger has runs=None, or "
    "the environment variable NBDEBUG_RUNS is off. To record, remove runs=None or name a file: "
    'Debugger(..., runs="nbdebug-runs.db").'
)


class Runs(Panel):
    """This run and the others in its store, with buttons for each."""

    name = "runs"
    tab = "Runs"
    order = 90
    title = "Runs"
    help = "recorded automatically; reloaded while this tab is open"
    height = 120
    wide = True

    def build(self) -> None:
        self._offer(())
        self._state: object = None

    def update(self, snapshot: Snapshot) -> None:
        runs, live = self.context.run_list(), snapshot.status.state != "closed"
        self._offer(runs.rows)
        choices = self.context.choices
        state = runs, live, choices["run_sort"], choices["run_status"], snapshot.notes
        if state == self._state:
            return
        self._state = state
        found = sorted_rows(chosen_rows(runs, choices["run_status"]), choices["run_sort"])
        self._section("0", _note_form(snapshot) if live else "")
        self._section("1", _find_form(runs) if live and len(runs.rows) > 1 else "")
        self._section("2", _status(runs, len(found)))
        self._section("3", run_table(runs, found, live) if found else "")
        compared = runs.compared
        self._section("4", comparison_table(compared, differing(compared)))

    def _offer(self, rows: Sequence[RunRow]) -> None:
        """Offer sort and filter options, if there are several runs."""
        several = len(rows) > 1
        self.context.choices.offer("run_sort", "Sort by", self.tab, SORT_OPTIONS if several else ())
        self.context.choices.offer(
            "run_status", "Show", self.tab, STATUS_OPTIONS if several else ()
        )

    def _section(self, name: str, page: str) -> None:
        self.context.sink.set_section(self.name, name, page)


def _note_form(snapshot: Snapshot) -> str:
    notes = snapshot.notes
    summary = ""
    if notes:
        count = "1 note" if len(notes) == 1 else f"{len(notes):,} notes"
        last = f"{count}; at step {notes[-1].step:,}: {notes[-1].text}"
        summary = html.escape(shortened(last))
    return row(
        text_field("text", "Note", "", 34, "A note on this run", MAX_NOTE_LENGTH),
        submit("Add note", ADD_NOTE, NOTE_TIP, clears=True),
        f'<span class="nbd-quiet" role="status">{summary}</span>',
    )


def _find_form(runs: RunList) -> str:
    every = button("Show all", RunRequest.name, {"act": "find"}, ALL_TIP) if runs.find else ""
    return row(
        text_field("text-find", "Find", runs.find, 24, "Part of a name or a tag"),
        submit("Find", RunRequest.name, FIND_TIP, {"act": "find"}),
        every,
    )


def _status(runs: RunList, found: int) -> str:
    """State of the list of runs, as a sentence."""
    parts = []
    if runs.error:
        more = " Training continues; the store is tried again." if runs.state == "failed" else ""
        parts.append(f"<b>{html.escape(runs.error)}</b>{more}")
    text = {"off": NOT_RECORDED, "opening": "Opening the store of runs…", "failed": ""}.get(
        runs.state
    )
    if text is None:
        text = _counted(runs, found)
    parts.append(html.escape(text))
    lines = "".join(f"<div>{part}</div>" for part in parts if part)
    return f'<div role="status" class="nbd-quiet">{lines}</div>'


def _counted(runs: RunList, found: int) -> str:
    if not runs.rows:
        return f"No runs in {runs.store} yet: press Run to record this one."
    if len(runs.rows) == 1 and runs.rows[0].this:
        return f"No other runs in {runs.store} yet; later ones are listed here."
    count = "1 run" if len(runs.rows) == 1 else f"{len(runs.rows):,} runs"
    shown = "" if found == len(runs.rows) else f", {found:,} of them shown"
    return f"{count} in {runs.store}{shown}. {COMPARE_HINT}"


def chosen_rows(runs: RunList, status: str) -> list[RunRow]:
    """Rows of a status that contain the text of Find."""
    part = runs.find.lower()
    return [
        one
        for one in runs.rows
        if (not status or _kind(one) == status)
        and any(part in text.lower() for text in (one.name, *_tags(one)))
    ]


def sorted_rows(rows: list[RunRow], by: str) -> list[RunRow]:
    """Rows with this run first, then by `by`; rows without that number come last."""

    def place(one: RunRow) -> tuple[bool, float, str]:
        if by == "name":
            return not one.this, 0.0, one.name.lower()
        numbers = {"newest": -one.started, "steps": -math.inf if one.steps is None else one.steps}
        number = numbers.get(by, one.metrics.get(by, math.nan))
        number = -number if by == "steps" else number
        return not one.this, math.inf if math.isnan(number) else number, ""

    return sorted(rows, key=place)


def _kind(one: RunRow) -> str:
    return one.status if one.status in STATUS_LABELS else "running"


def _tags(one: RunRow) -> list[str]:
    return [f"{name}={value}" if value else name for name, value in one.tags.items()]
