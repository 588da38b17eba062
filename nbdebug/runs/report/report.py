"""The report of a run: one self-contained HTML page."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.runs.record.json_values import to_float
from nbdebug.runs.record.run_record import RunRecord
from nbdebug.runs.report import sections, setup_sections
from nbdebug.runs.report.html import (
    Markup,
    Section,
    contents,
    escaped,
    format_count,
    format_duration,
    format_number,
    format_value,
    remark,
    section,
)
from nbdebug.runs.report.inside import inside
from nbdebug.runs.report.page import figure_box, html_page

if TYPE_CHECKING:
    from nbdebug.runs.report.plots import ReportFigure

STATUS_TEXTS = {
    "running": "still running",
    "finished": "closed normally",
    "failed": "ended by an error",
    "interrupted": "the kernel died",
}
STATUS_CLASSES = {"failed": "bad", "interrupted": "odd", "finished": "good"}


def report_page(run: RunRecord, looks: Snapshot | None = None) -> str:
    """Build a page with plots, findings, changes, notes, checks and the setup of a run.

    The page opens without a network; plots can be zoomed and show values under the pointer.

    Args:
        looks: the training itself while there is one, with what was looked at inside the network.
    """
    # Imported here: listing and exporting runs must not import Bokeh.
    from nbdebug.runs.report.plots import report_figures

    drawn = report_figures(run)
    parts = [
        _plots(drawn),
        sections.findings(run),
        sections.changes(run),
        sections.notes(run),
        sections.checklist(run),
        inside(run, Snapshot() if looks is None else looks),
        setup_sections.hyperparameters(run),
        setup_sections.model(run),
        setup_sections.data(run),
        setup_sections.environment(run),
        setup_sections.source(run),
    ]
    main = "".join(map(str, parts))
    body = f"<header>{_head(run)}{contents(parts)}</header><main>{main}</main>"
    return html_page(run.name or "run", body, [one.figure for one in drawn], "report")


def _head(run: RunRecord) -> str:
    key = escaped(run.id)
    when = f"{run.started:%Y-%m-%d %H:%M:%S}" if run.bundle["run"].get("started") else ""
    facts = "".join(
        f"<div><b{tone}>{escaped(value)}</b><span>{escaped(name)}</span></div>"
        for name, value, tone in _facts(run)
        if value
    )
    said = f'<p class="quiet">nbdebug run {key}{", started " if when else ""}{when}</p>'
    return f'<h1>{escaped(run.name)}</h1>{said}{_failure(run)}<div class="facts">{facts}</div>'


def _failure(run: RunRecord) -> str:
    failure = run.bundle["run"].get("failure")
    return f'<p class="bad">{escaped(failure)}</p>' if failure else ""


def _facts(run: RunRecord) -> Iterator[tuple[str, str, str]]:
    """Label, value and CSS class of the key facts."""
    about, status = run.bundle["run"], run.status
    tone = f' class="{STATUS_CLASSES[status]}"' if status in STATUS_CLASSES else ""
    yield f"status: {STATUS_TEXTS.get(status, 'unknown')}", status, tone
    yield "time, pauses included", format_duration(run.seconds), ""
    yield "steps", f"{run.steps:,}", ""
    yield "epochs", format_value(to_float(about.get("epoch"))) if "epoch" in about else "", ""
    yield "samples", format_count(about.get("samples")), ""
    yield from _values(run, "loss", "loss")
    yield from _values(run, "val_loss", "validation loss")
    for name in about.get("metrics") or ():
        yield f"last {name}", _last(run, str(name)), ""
        yield f"last validation {name}", _last(run, f"val_{name}"), ""
    model = run.bundle["model"]
    count = f"model, {format_count(model.get('parameters'))} parameters"
    yield count, format_value(model.get("class")), ""


def _values(run: RunRecord, key: str, name: str) -> Iterator[tuple[str, str, str]]:
    series = run.bundle.series.get(key)
    yield f"last {name}", _last(run, key), ""
    if series is None or not len(series):
        return
    known = [
        (low, step)
        for low, step in zip(series.minimum.tolist(), series.step.tolist(), strict=True)
        if math.isfinite(low)
    ]
    if known:
        low, step = min(known)
        yield f"lowest {name}, step {step:,}", format_number(low), ""


def _last(run: RunRecord, key: str) -> str:
    series: Any = run.bundle.series.get(key)
    return "" if series is None or not len(series) else format_number(float(series.last[-1]))


def _plots(drawn: list[ReportFigure]) -> Section:
    if not drawn:
        return section("plots", "Plots", remark("No step was recorded: there is nothing to draw."))
    inner = "".join(
        f'<figure class="{"whole" if one.whole else "half"}"><figcaption>{escaped(one.title)}'
        f"<span>{escaped(one.help)}</span></figcaption>{figure_box(one.figure)}</figure>"
        for one in drawn
    )
    return section("plots", "Plots", f'<div class="plots">{inner}</div>', _plots_help())


def _plots_help() -> Markup:
    return remark(
        "All plots are over steps. Dashed line: a control was changed; dotted line: a note. "
        "Smoothed: symmetric exponential average of the points from one change to the next, as in "
        "the dashboard. Drag to zoom; more tools appear beside a plot under the pointer. Click a "
        "legend entry to hide its line."
    )
