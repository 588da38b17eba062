"""The Runs tab: a note, the runs that are kept, and what to do with them."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import MAX_NOTE_LENGTH
from nbdebug.core.results.run_list import ADD_NOTE, RunList, RunRequest, RunRow, differing
from nbdebug.panels._buttons import button
from nbdebug.panels._forms import row, submit, text_field
from nbdebug.panels._run_table import STATUS, comparison_table, run_table, shortened
from nbdebug.panels.base import Panel

SORTS = (
    ("newest", "newest first"),
    ("name", "name"),
    ("loss", "loss, lowest first"),
    ("val_loss", "validation loss, lowest first"),
    ("steps", "steps, most first"),
)
SHOWN = (("", "all"), *((name, words) for name, (words, _) in STATUS.items()))
NOTE_TIP = "Ties the sentence to the step that training stands at, now; it shows on the plots."
FIND_TIP = "Shows the runs whose name or tags hold this, at once."
ALL_TIP = "Shows all runs again, at once."
CHOOSE = "Tick two or more to compare their losses below."
OFF = (
    "This training is not recorded, so there is nothing to list: it was made with runs=None, or "
    "the environment variable NBDEBUG_RUNS is off. Leave runs out, or name a file, as in "
    'Debugger(..., runs="nbdebug-runs.db").'
)


class Runs(Panel):
    """This run and the others of its store, with what to do with each."""

    name = "runs"
    tab = "Runs"
    order = 90
    title = "Runs"
    help = "recorded without being asked; read anew while this tab is open"
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
        self._section("2", _said(runs, len(found)))
        self._section("3", run_table(runs, found, live) if found else "")
        compared = runs.compared
        self._section("4", comparison_table(compared, differing(compared)))

    def _offer(self, rows: Sequence[RunRow]) -> None:
        """Offer sort and filter options, if there are several runs."""
        several = len(rows) > 1
        self.context.choices.offer("run_sort", "Sort by", self.tab, SORTS if several else ())
        self.context.choices.offer("run_status", "Show", self.tab, SHOWN if several else ())

    def _section(self, name: str, page: str) -> None:
        self.context.sink.set_section(self.name, name, page)


def _note_form(snapshot: Snapshot) -> str:
    notes = snapshot.notes
    said = ""
    if notes:
        count = "1 note" if len(notes) == 1 else f"{len(notes):,} notes"
        last = f"{count}; at step {notes[-1].step:,}: {notes[-1].text}"
        said = html.escape(shortened(last))
    return row(
        text_field("text", "Note", "", 34, "A note on this run", MAX_NOTE_LENGTH),
        submit("Add note", ADD_NOTE, NOTE_TIP, clears=True),
        f'<span class="nbd-quiet" role="status">{said}</span>',
    )


def _find_form(runs: RunList) -> str:
    every = button("Show all", RunRequest.name, {"act": "find"}, ALL_TIP) if runs.find else ""
    return row(
        text_field("text-find", "Find", runs.find, 24, "Part of a name or a tag"),
        submit("Find", RunRequest.name, FIND_TIP, {"act": "find"}),
        every,
    )


def _said(runs: RunList, found: int) -> str:
    """Where things stand, in a sentence."""
    parts = []
    if runs.error:
        more = " Training goes on; it is tried again." if runs.state == "failed" else ""
        parts.append(f"<b>{html.escape(runs.error)}</b>{more}")
    text = {"off": OFF, "opening": "Opening the store of runs…", "failed": ""}.get(runs.state)
    if text is None:
        text = _counted(runs, found)
    parts.append(html.escape(text))
    lines = "".join(f"<div>{part}</div>" for part in parts if part)
    return f'<div role="status" class="nbd-quiet">{lines}</div>'


def _counted(runs: RunList, found: int) -> str:
    if not runs.rows:
        return f"No run is kept in {runs.place} yet: press Run; all is recorded from there on."
    if len(runs.rows) == 1 and runs.rows[0].this:
        return f"No other run is kept in {runs.place} yet: later ones are listed here."
    count = "1 run" if len(runs.rows) == 1 else f"{len(runs.rows):,} runs"
    shown = "" if found == len(runs.rows) else f", {found:,} of them shown"
    return f"{count} in {runs.place}{shown}. {CHOOSE}"


def chosen_rows(runs: RunList, status: str) -> list[RunRow]:
    """The rows that the viewer wants to see."""
    part = runs.find.lower()
    return [
        one
        for one in runs.rows
        if (not status or _kind(one) == status)
        and any(part in text.lower() for text in (one.name, *_tags(one)))
    ]


def sorted_rows(rows: list[RunRow], by: str) -> list[RunRow]:
    """This run first, then the others; what has no such number comes last."""

    def place(one: RunRow) -> tuple[bool, float, str]:
        if by == "name":
            return not one.this, 0.0, one.name.lower()
        numbers = {"newest": -one.started, "steps": -math.inf if one.steps is None else one.steps}
        number = numbers.get(by, one.metrics.get(by, math.nan))
        number = -number if by == "steps" else number
        return not one.this, math.inf if math.isnan(number) else number, ""

    return sorted(rows, key=place)


def _kind(one: RunRow) -> str:
    return one.status if one.status in STATUS else "running"


def _tags(one: RunRow) -> list[str]:
    return [f"{name}={value}" if value else name for name, value in one.tags.items()]
