"""HTML of the last state of a training: numbers, plots, controls and findings, without a script."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from typing import Any

from nbdebug.core.control_spec import ControlState
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Findings
from nbdebug.dashboard.still.plots import metric_names, picture
from nbdebug.plots.figures import caption
from nbdebug.plots.markers import format_value
from nbdebug.runs.redaction.document import redact_document, redact_field

NEEDS = ("loss", "val_loss", "grad_norm")
MAX_FINDINGS, MAX_CONTROLS, MAX_METRICS, MAX_TEXT_LENGTH = 8, 24, 4, 300
MAX_PAGE_LENGTH = 150_000
QUIET = "opacity:.7"
CELL = "text-align:left;vertical-align:top;padding:3px 14px 3px 0"


def still_page(
    snapshot: Snapshot, controls: Sequence[ControlState], title: str, css_class: str = ""
) -> str:
    """Build the page of the last state.

    Passwords, keys and tokens are masked as in reports. The page has no script and loads
    nothing; it is readable where only plain tags are kept, on a light and a dark page.

    Args:
        snapshot: with the series `series_of(history.series)`.
        title: name of the training.
        css_class: of the outermost element.
    """
    parts = [_headline(snapshot, title), _failure(snapshot), _numbers(snapshot), _plots(snapshot)]
    parts += [_controls(snapshot, controls), _findings(snapshot.findings)]
    parts.append(f'<p style="margin:8px 0 0;{QUIET}">{_last_line(snapshot)}</p>')
    style = "max-width:960px;line-height:1.5;overflow-wrap:anywhere"
    page = f'<div class="nbd-still {css_class}" style="{style}">{"".join(parts)}</div>'
    # Only the plots can be that long, of 1,000 changes for example.
    return page if len(page) <= MAX_PAGE_LENGTH else page.replace(_plots(snapshot), "")


def _last_line(snapshot: Snapshot) -> str:
    if snapshot.status.state == "running":
        return (
            "Last state of an nbdebug dashboard. While a cell blocks the kernel, plots and "
            "controls wait for it; without a kernel, run the cell to train."
        )
    return "Last state of an nbdebug dashboard. Run the cell to train."


def series_of(names: Sequence[str]) -> set[str]:
    """Names of the series that the page shows, of all series of a training."""
    metrics = metric_names(names)
    return {*NEEDS, *metrics, *(f"val_{name}" for name in metrics)}


def masked_name(title: str) -> str:
    """Name of a training without secrets."""
    return str(redact_field("name", title)) or "training"


def _headline(snapshot: Snapshot, title: str) -> str:
    status = snapshot.status
    name = _text(masked_name(title))
    state = "stopped" if status.failure is not None else status.state
    where = f"{state} at step {status.step:,}, epoch {status.epoch:.2f}"
    return f'<p style="margin:0"><strong>{name}</strong> &#8212; {where}</p>'


def _failure(snapshot: Snapshot) -> str:
    failure = snapshot.status.failure
    if failure is None:
        return ""
    told = f"{failure.title}: {failure.text}" if failure.text else failure.title
    return f'<p style="margin:4px 0 0;color:#D14343">{_masked(told)}</p>'


def _numbers(snapshot: Snapshot) -> str:
    names = {"loss": "loss", "val_loss": "validation loss"}
    for metric in metric_names(snapshot.latest)[:MAX_METRICS]:
        names |= {metric: metric, f"val_{metric}": f"validation {metric}"}
    names["grad_norm"] = "gradient norm"
    known = [
        f"{html.escape(caption(text.replace('_', ' ')))} "
        f"<strong>{_number(snapshot.latest[name])}</strong>"
        for name, text in names.items()
        if name in snapshot.latest
    ]
    return f'<p style="margin:4px 0 0">{" &#183; ".join(known)}</p>' if known else ""


def _plots(snapshot: Snapshot) -> str:
    address = picture(snapshot)
    if not address:
        return ""
    alt = "Plots of loss and gradient norm over the steps of training"
    style = "width:100%;max-width:960px;height:auto;display:block;margin:6px 0 0"
    return f'<img alt="{alt}" style="{style}" src="{address}">'


def _controls(snapshot: Snapshot, controls: Sequence[ControlState]) -> str:
    """Values in force of the common controls, and of those that were changed."""
    changed = {change.control for change in snapshot.changes if change.status == "applied"}
    shown = [
        f"{_text(state.spec.label)} <strong>{_value(state)}</strong>"
        for state in controls
        if (not state.spec.advanced or state.spec.name in changed)
        and not (state.spec.unavailable or state.spec.idle or state.spec.action)
        and (state.value or state.spec.kind != "samples")
    ]
    rest = f" and {len(shown) - MAX_CONTROLS} more" if len(shown) > MAX_CONTROLS else ""
    listed = " &#183; ".join(shown[:MAX_CONTROLS])
    return f'<p style="margin:6px 0 0">{listed}{rest}</p>' if shown else ""


def _value(state: ControlState) -> str:
    if state.spec.kind == "samples":
        return f"{len(state.value):,}"
    labels = dict(state.spec.choices)
    value = redact_field(state.spec.name, state.value)
    label = labels.get(value, value) if isinstance(value, str) else value
    unit = f" {state.spec.unit}" if state.spec.unit else ""
    return _text(format_value(label) + unit)


def _findings(findings: Findings) -> str:
    """Root causes in a table, the worst first."""
    causes = findings.causes
    if not causes:
        return ""
    rows = "".join(_rows(findings))
    rest = len(causes) - MAX_FINDINGS
    more = f'<p style="margin:0;{QUIET}">and {rest} more</p>' if rest > 0 else ""
    head = "".join(
        f'<th style="{CELL};font-weight:400;{QUIET}">{name}</th>'
        for name in ("finding", "since step", "seen", "what to do")
    )
    table = f'<table style="border-collapse:collapse;margin:6px 0 0"><tr>{head}</tr>{rows}</table>'
    return table + more


def _rows(findings: Findings) -> Iterator[str]:
    for one in findings.causes[:MAX_FINDINGS]:
        remedy = one.remedies[0].text if one.remedies else ""
        title = f"<strong>{_masked(one.title)}</strong>"
        cells = (title, f"{one.since:,}", _masked(one.seen), _masked(remedy))
        yield "<tr>" + "".join(f'<td style="{CELL}">{cell}</td>' for cell in cells) + "</tr>"


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else str(value)


def _masked(text: Any) -> str:
    """A sentence without secrets, as HTML."""
    return _text(redact_document("findings", str(text)))


def _text(text: Any) -> str:
    text = str(text)
    return html.escape(text if len(text) <= MAX_TEXT_LENGTH else f"{text[:MAX_TEXT_LENGTH]}…")
