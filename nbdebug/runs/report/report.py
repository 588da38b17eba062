"""The report of a run: one page of HTML that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nbdebug.runs.record.json_values import number
from nbdebug.runs.record.run_record import RunRecord
from nbdebug.runs.report import sections, setup_sections
from nbdebug.runs.report.html import (
    Markup,
    Part,
    contents,
    duration,
    escaped,
    figures,
    quiet,
    section,
    whole,
    words,
)
from nbdebug.runs.report.page import place, shell

if TYPE_CHECKING:
    from nbdebug.runs.report.plots import Drawing

STATES = {
    "running": "goes on",
    "finished": "its Debugger was closed",
    "failed": "ended at an error",
    "interrupted": "its kernel died",
}
TONES = {"failed": "bad", "interrupted": "odd", "finished": "good"}


def report_page(run: RunRecord) -> str:
    """A page with plots, changes, findings, checks, notes and what the run was made with.

    It opens without a network; its plots can be zoomed and hovered.
    """
    # Only now: whoever lists runs does without Bokeh.
    from nbdebug.runs.report.plots import drawings

    drawn = drawings(run)
    parts = [
        _plots(drawn),
        sections.findings(run),
        sections.changes(run),
        sections.notes(run),
        sections.checklist(run),
        setup_sections.hyperparameters(run),
        setup_sections.model(run),
        setup_sections.data(run),
        setup_sections.environment(run),
        setup_sections.source(run),
    ]
    main = "".join(map(str, parts))
    body = f"<header>{_head(run)}{contents(parts)}</header><main>{main}</main>"
    return shell(run.name or "run", body, [one.figure for one in drawn], "report")


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
    """Name, value and look of what one wants to know first."""
    about, status = run.bundle["run"], run.status
    tone = f' class="{TONES[status]}"' if status in TONES else ""
    yield f"status: {STATES.get(status, 'unknown')}", status, tone
    yield "time, pauses included", duration(run.seconds), ""
    yield "steps", f"{run.steps:,}", ""
    yield "epochs", words(number(about.get("epoch"))) if "epoch" in about else "", ""
    yield "samples", whole(about.get("samples")), ""
    yield from _values(run, "loss", "loss")
    yield from _values(run, "val_loss", "validation loss")
    for name in about.get("metrics") or ():
        yield f"last {name}", _last(run, str(name)), ""
        yield f"last validation {name}", _last(run, f"val_{name}"), ""
    model = run.bundle["model"]
    count = f"model, {whole(model.get('parameters'))} parameters"
    yield count, words(model.get("class")), ""


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
        yield f"lowest {name}, step {step:,}", figures(low), ""


def _last(run: RunRecord, key: str) -> str:
    series: Any = run.bundle.series.get(key)
    return "" if series is None or not len(series) else figures(float(series.last[-1]))


def _plots(drawn: list[Drawing]) -> Part:
    if not drawn:
        return section("plots", "Plots", quiet("No step was made: there is nothing to draw."))
    inner = "".join(
        f'<figure class="{"whole" if one.whole else "half"}"><figcaption>{escaped(one.title)}'
        f"<span>{escaped(one.help)}</span></figcaption>{place(one.figure)}</figure>"
        for one in drawn
    )
    return section("plots", "Plots", f'<div class="plots">{inner}</div>', _legend())


def _legend() -> Markup:
    return quiet(
        "All over steps. Dashed: a control was changed; dotted: a note. Drag to zoom, the tools "
        "appear beside a plot under the pointer; a click on a name in a legend hides it."
    )
