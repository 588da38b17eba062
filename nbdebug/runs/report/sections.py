"""Sections of a report on the course of a run: findings, changes, notes, checks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nbdebug.core.html.sparkline import sparkline
from nbdebug.core.results.checks.check_report import CheckReport
from nbdebug.core.results.checks.check_result import CHECKLIST_STEPS, STATUS_SIGNS, CheckResult
from nbdebug.core.results.checks.check_table import page
from nbdebug.runs.record.json_values import to_float, to_json_value
from nbdebug.runs.record.run_record import RunRecord
from nbdebug.runs.report.html import (
    Section,
    escaped,
    format_count,
    format_value,
    remark,
    section,
    table,
)

CHANGE_HEADINGS = ("step", "epoch", "control", "old", "new", "by", "why", "status")
SEVERITIES = ("error", "warning")


def findings(run: RunRecord) -> Section:
    """Findings with start, end, reason and remedies."""
    found = run.bundle["findings"]
    if not found:
        # Records of older versions do not tell.
        judged = run.bundle["run"].get("judged", True)
        words = "No rule reported a problem." if judged else "Not judged: no rule was evaluated."
        return section("findings", "Findings", remark(words))
    causes = [one for one in found if not one.get("because")]
    names = {one.get("title") for one in causes}
    # A consequence whose cause is not listed is shown by itself.
    causes += [one for one in found if one.get("because") and one["because"] not in names]
    causes.sort(key=lambda one: one.get("severity") != "error")
    return section("findings", "Findings", *(_finding(one, found) for one in causes))


def _finding(one: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> str:
    severity = one.get("severity") if one.get("severity") in SEVERITIES else SEVERITIES[-1]
    tone = "bad" if severity == "error" else "odd"
    title = format_value(one.get("title"), 200)
    until = (
        f"until step {format_count(one['until'])}"
        if one.get("until") is not None
        else "until the end"
    )
    when = f"since step {format_count(one.get('since'))}, {until}"
    evidence = [to_float(value) for value in one.get("evidence") or ()]
    drawn = sparkline(evidence, f"evidence of: {title}")
    follow = [f for f in found if f.get("because") and f["because"] == one.get("title")]
    listed = "".join(
        f"<li>{escaped(f.get('title'))}: {escaped(f.get('seen'))}</li>" for f in follow
    )
    because = f" Consequence of: {one['because']}." if one.get("because") else ""
    return (
        f'<article class="finding {severity}"><h3><span class="{tone}">{severity}</span>'
        f' {escaped(title)} <span class="quiet">{escaped(when)}</span></h3>'
        f'<div class="seen">{drawn}<span>{escaped(one.get("seen"))}{escaped(because)}</span></div>'
        f"<p>{escaped(one.get('why'))}</p>{_remedies(one.get('remedies') or ())}"
        + (f"<p>Consequences:</p><ul>{listed}</ul>" if listed else "")
        + (str(remark(f"Source: {one['source']}")) if one.get("source") else "")
        + "</article>"
    )


def _remedies(remedies: Sequence[Mapping[str, Any]]) -> str:
    items = ""
    for remedy in remedies:
        settings = remedy.get("settings") or {}
        how = ", ".join(f"{name}={format_value(value)}" for name, value in settings.items())
        items += f"<li>{escaped(remedy.get('text'))}{escaped(f' ({how})' if how else '')}</li>"
    return f"<p>What to do:</p><ul>{items}</ul>" if items else ""


def changes(run: RunRecord) -> Section:
    """Changes of controls; undone ones are struck out."""
    rows = run.bundle["changes"]
    if not rows:
        return section("changes", "Changes of controls", remark("No control was changed."))
    made = [
        (format_count(row.get("step")), format_value(row.get("epoch")), row.get("control"),
         format_value(row.get("old"), 200), format_value(row.get("new"), 200),
         row.get("who"), row.get("why"), _status(row))
        for row in rows
    ]  # fmt: skip
    undone = ["undone" if row.get("status") == "undone" else "" for row in rows]
    title = "Changes of controls"
    return section("changes", title, table(CHANGE_HEADINGS, made, ("step", "epoch"), title, undone))


def _status(row: Mapping[str, Any]) -> str:
    status, note = str(row.get("status") or ""), row.get("note")
    return f"{status}: {note}" if note else status


def notes(run: RunRecord) -> Section:
    """Notes of the user."""
    items = "".join(
        f"<li><b>step {escaped(format_count(note.get('step')))}</b>{escaped(note.get('text'))}</li>"
        for note in run.bundle["notes"]
    )
    return section("notes", "Notes", f'<ol class="notes">{items}</ol>' if items else "")


def checklist(run: RunRecord) -> Section:
    """Results of the checks, by step of the checklist."""
    results = [
        one for row in to_json_value(run.bundle["checks"]) if (one := _result(row)) is not None
    ]
    if not results:
        return section("checklist", "Checklist", remark("No check was run."))
    # The record holds the titles of causes.
    names = {result.title: result.name for result in results}
    results = [replace(result, cause=names.get(result.because, "")) for result in results]
    report = CheckReport(tuple(sorted(results, key=lambda result: result.step)))
    missing = [
        title for step, title in CHECKLIST_STEPS.items() if all(r.step != step for r in results)
    ]
    rest = remark(f"Not checked: {', '.join(missing)}.") if missing else ""
    return section("checklist", "Checklist", page(report.results, report.summary), rest)


def _result(row: Mapping[str, Any]) -> CheckResult | None:
    """A check result from a document; None if another version wrote it with an unknown status."""
    if row.get("status") not in STATUS_SIGNS or row.get("step") not in CHECKLIST_STEPS:
        return None
    names = ("title", "seen", "expected", "remedy", "why", "source", "because")
    texts: Mapping[str, Any] = {name: str(row.get(name) or "") for name in names}
    return CheckResult(
        # The name goes into an HTML attribute.
        name=re.sub(r"\W", "_", str(row.get("name"))),
        step=row["step"], status=row["status"], seconds=to_float(row.get("seconds")),
        **texts,
    )  # fmt: skip
