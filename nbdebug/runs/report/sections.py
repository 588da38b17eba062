"""What happened in a run, as parts of its report: findings, changes, notes, checks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nbdebug.core.html.sparkline import sparkline
from nbdebug.core.results.check_report import CheckReport
from nbdebug.core.results.check_result import CHECKLIST_STEPS, STATUS_SIGNS, CheckResult
from nbdebug.core.results.check_table import page
from nbdebug.runs.record.json_values import number, to_json_value
from nbdebug.runs.record.run_record import RunRecord
from nbdebug.runs.report.html import (
    Part,
    escaped,
    quiet,
    section,
    table,
    whole,
    words,
)

CHANGES = ("step", "epoch", "control", "old", "new", "by", "why", "status")
GRAVE = ("error", "warning")


def findings(run: RunRecord) -> Part:
    """What looked sick: since when, why, and what to do."""
    found = run.bundle["findings"]
    if not found:
        return section("findings", "Findings", quiet("No rule found anything sick."))
    causes = [one for one in found if not one.get("because")]
    names = {one.get("title") for one in causes}
    # What follows from something that was gone before still stands for itself.
    causes += [one for one in found if one.get("because") and one["because"] not in names]
    causes.sort(key=lambda one: one.get("severity") != "error")
    return section("findings", "Findings", *(_finding(one, found) for one in causes))


def _finding(one: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> str:
    severity = one.get("severity") if one.get("severity") in GRAVE else GRAVE[-1]
    title = words(one.get("title"), 200)
    until = f"until step {whole(one['until'])}" if one.get("until") is not None else "until the end"
    when = f"since step {whole(one.get('since'))}, {until}"
    evidence = [number(value) for value in one.get("evidence") or ()]
    drawn = sparkline(evidence, f"evidence of: {title}")
    follow = [f for f in found if f.get("because") and f["because"] == one.get("title")]
    listed = "".join(
        f"<li>{escaped(f.get('title'))}: {escaped(f.get('seen'))}</li>" for f in follow
    )
    because = f" It follows from: {one['because']}." if one.get("because") else ""
    return (
        f'<article class="finding {severity}"><h3><span class="{_tone(severity)}">{severity}</span>'
        f' {escaped(title)} <span class="quiet">{escaped(when)}</span></h3>'
        f'<div class="seen">{drawn}<span>{escaped(one.get("seen"))}{escaped(because)}</span></div>'
        f"<p>{escaped(one.get('why'))}</p>{_remedies(one.get('remedies') or ())}"
        + (f"<p>It explains:</p><ul>{listed}</ul>" if listed else "")
        + (str(quiet(f"Source: {one['source']}")) if one.get("source") else "")
        + "</article>"
    )


def _tone(severity: str | None) -> str:
    return "bad" if severity == "error" else "odd"


def _remedies(remedies: Sequence[Mapping[str, Any]]) -> str:
    items = ""
    for remedy in remedies:
        settings = remedy.get("settings") or {}
        how = ", ".join(f"{name}={words(value)}" for name, value in settings.items())
        items += f"<li>{escaped(remedy.get('text'))}{escaped(f' ({how})' if how else '')}</li>"
    return f"<p>What to do:</p><ul>{items}</ul>" if items else ""


def changes(run: RunRecord) -> Part:
    """Every change of a control; what was taken back is struck out."""
    rows = run.bundle["changes"]
    if not rows:
        return section("changes", "Changes of controls", quiet("No control was changed."))
    made = [
        (whole(row.get("step")), words(row.get("epoch")), row.get("control"),
         words(row.get("old"), 200), words(row.get("new"), 200), row.get("who"), row.get("why"),
         _status(row))
        for row in rows
    ]  # fmt: skip
    undone = ["undone" if row.get("status") == "undone" else "" for row in rows]
    title = "Changes of controls"
    return section("changes", title, table(CHANGES, made, ("step", "epoch"), title, undone))


def _status(row: Mapping[str, Any]) -> str:
    status, note = str(row.get("status") or ""), row.get("note")
    return f"{status}: {note}" if note else status


def notes(run: RunRecord) -> Part:
    """What the user wrote down."""
    items = "".join(
        f"<li><b>step {escaped(whole(note.get('step')))}</b>{escaped(note.get('text'))}</li>"
        for note in run.bundle["notes"]
    )
    return section("notes", "Notes", f'<ol class="notes">{items}</ol>' if items else "")


def checklist(run: RunRecord) -> Part:
    """The results of the checks, step by step."""
    results = [
        one for row in to_json_value(run.bundle["checks"]) if (one := _result(row)) is not None
    ]
    if not results:
        return section("checklist", "Checklist", quiet("No check was run."))
    # The record holds the titles of causes.
    names = {result.title: result.name for result in results}
    results = [replace(result, cause=names.get(result.because, "")) for result in results]
    report = CheckReport(tuple(sorted(results, key=lambda result: result.step)))
    missing = [
        title for step, title in CHECKLIST_STEPS.items() if all(r.step != step for r in results)
    ]
    rest = quiet(f"Not checked: {', '.join(missing)}.") if missing else ""
    return section("checklist", "Checklist", page(report.results, report.summary), rest)


def _result(row: Mapping[str, Any]) -> CheckResult | None:
    """A result as the checklist knows it, None of what it does not know (another version's)."""
    if row.get("status") not in STATUS_SIGNS or row.get("step") not in CHECKLIST_STEPS:
        return None
    names = ("title", "seen", "expected", "remedy", "why", "source", "because")
    texts: Mapping[str, Any] = {name: str(row.get(name) or "") for name in names}
    return CheckResult(
        # Its name goes into an attribute of HTML.
        name=re.sub(r"\W", "_", str(row.get("name"))),
        step=row["step"], status=row["status"], seconds=number(row.get("seconds")),
        **texts,
    )  # fmt: skip
