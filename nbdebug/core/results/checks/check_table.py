"""Results of the checklist as HTML, one table per step."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

from nbdebug.core.results.checks.check_result import (
    BAD_STATUSES,
    CHECKLIST_STEPS,
    STATUS_LABELS,
    STATUS_SIGNS,
    CheckResult,
)

STATUS_COLOURS = {
    "fail": "var(--jp-error-color1,#d32f2f)",
    "warning": "var(--jp-warn-color1,#b35c00)",
    "pass": "var(--jp-success-color1,#388e3c)",
    "not_applicable": "inherit",
    "not_run": "inherit",
}
COLUMN_WIDTHS = (("", 3), ("Check", 19), ("Seen", 42), ("Expected", 21), ("Seconds", 15))
CELL_STYLE = "vertical-align:top;white-space:normal;text-align:"
COLUMN_ALIGNMENTS = ("left", "left", "left", "left", "right")
Action = Callable[[CheckResult], str]


def no_buttons(_result: CheckResult) -> str:
    """Return no buttons, for pages without a kernel."""
    return ""


def page(report: Sequence[CheckResult], summary: str) -> str:
    """Render the whole report."""
    present = [step for step in CHECKLIST_STEPS if any(result.step == step for result in report)]
    parts = "".join(step_section(report, step, head=step == present[0]) for step in present)
    return f'<div class="nbdebug-checks"><p><b>{html.escape(summary)}</b></p>{parts}</div>'


def step_section(
    report: Sequence[CheckResult], step: int, action: Action = no_buttons, head: bool = True
) -> str:
    """Render the results of one step.

    Consequences are collapsed under their cause, and checks that do not apply under one line.

    Args:
        action: returns the buttons of a row, as HTML.
        head: whether to show the column names.
    """
    results = [result for result in report if result.step == step]
    shown = [r for r in results if r.status != "not_applicable" and not r.because]
    rest = [r for r in results if r.status == "not_applicable"]
    parts = [f'<div role="heading" aria-level="3"><b>{step}. {CHECKLIST_STEPS[step]}</b></div>']
    if shown or head:
        parts.append(_table([_row(r, _consequences(report, r), action(r)) for r in shown], head))
    parts += [
        f'<div style="opacity:.75">{html.escape(f"{r.title}: follows from {r.because}")}</div>'
        for r in results
        if r.because
    ]
    if rest:
        inner = _table([_row(r, (), action(r)) for r in rest], False)
        words = f"{len(rest)} not applicable"
        parts.append(f'<details data-key="rest-{step}"><summary>{words}</summary>{inner}</details>')
    return f'<section style="margin-bottom:10px">{"".join(parts)}</section>'


def _consequences(report: Sequence[CheckResult], cause: CheckResult) -> tuple[CheckResult, ...]:
    return tuple(result for result in report if result.cause == cause.name)


def _table(rows: Sequence[str], head: bool) -> str:
    columns = "".join(f'<col style="width:{width}%">' for _, width in COLUMN_WIDTHS)
    names = _cells("th", [word for word, _ in COLUMN_WIDTHS], ' scope="col"')
    return (
        '<table style="width:100%;table-layout:fixed;margin:2px 0">'
        f"<colgroup>{columns}</colgroup>{f'<thead><tr>{names}</tr></thead>' if head else ''}"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _row(result: CheckResult, follow: Sequence[CheckResult], buttons: str) -> str:
    status = result.status
    sign = (
        f'<span title="{STATUS_LABELS[status]}" aria-label="{STATUS_LABELS[status]}" role="img" '
        f'style="font-weight:700;color:{STATUS_COLOURS[status]}">{STATUS_SIGNS[status]}</span>'
    )
    known = "" if status == "not_run" else f"{result.seconds:.2f}"
    cells = (
        sign,
        html.escape(result.title),
        _seen(result, follow),
        html.escape(result.expected),
        f'<span style="font-variant-numeric:tabular-nums">{known}</span> {buttons}',
    )
    return f"<tr>{_cells('td', cells)}</tr>"


def _cells(tag: str, texts: Sequence[str], attributes: str = "") -> str:
    return "".join(
        f'<{tag}{attributes} style="{CELL_STYLE}{side}">{text}</{tag}>'
        for text, side in zip(texts, COLUMN_ALIGNMENTS, strict=True)
    )


def _seen(result: CheckResult, follow: Sequence[CheckResult]) -> str:
    text = html.escape(result.seen)
    if result.status in BAD_STATUSES and result.remedy:
        text += f"<br><b>To do:</b> {html.escape(result.remedy)}"
    if follow:
        items = "".join(
            f"<li>{STATUS_SIGNS[r.status]} {html.escape(r.title)}: {html.escape(r.seen)}</li>"
            for r in follow
        )
        text += (
            f'<details data-key="follow-{html.escape(result.name)}"><summary>{len(follow)} more '
            f"that this explains</summary><ul>{items}</ul></details>"
        )
    why, source = html.escape(result.why), html.escape(result.source)
    return text + (
        f'<details data-key="why-{html.escape(result.name)}"><summary>Why it matters</summary>'
        f"{why}<br>Source: {source}</details>"
        if result.status in BAD_STATUSES
        else ""
    )
