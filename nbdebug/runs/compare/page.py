"""A comparison as HTML: figures in a frame, and tables."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nbdebug.runs.compare.data import ComparisonData
from nbdebug.runs.report.html import escaped, format_value, shorten
from nbdebug.runs.report.page import figure_box, html_page

if TYPE_CHECKING:
    import pandas as pd

    from nbdebug.runs.compare.plots import RunStyle

MAX_COLUMNS, MAX_ROWS = 12, 50
MAX_NAME_LENGTH = 40
CELL_STYLE = "text-align:left;vertical-align:top;white-space:nowrap;padding:2px 12px 2px 0"


def comparison_page(comparison: ComparisonData) -> str:
    """Build curves, parallel coordinates, and tables of the differences.

    The figures are in a self-contained frame, which also works without a kernel, after a
    notebook is opened again.
    """
    from nbdebug.runs.compare.plots import run_styles

    styles = run_styles(len(comparison))
    parts = [
        _frame(comparison, styles),
        _table(_results(comparison), styles, comparison),
        _differences(comparison, styles),
        _changes(comparison),
    ]
    return f'<div class="nbdebug-comparison">{"".join(parts)}</div>'


def _frame(comparison: ComparisonData, styles: Sequence[RunStyle]) -> str:
    from bokeh.models import DataRange1d

    from nbdebug.runs.compare.parallel_coordinates import parallel_figure
    from nbdebug.runs.compare.plots import curves_figure

    shared = DataRange1d(range_padding=0.02)
    drawn = [
        (
            curves_figure(comparison, "loss", "loss", shared),
            "Loss",
            "smoothed as in the dashboard; ◆ a control was changed",
        ),
        (curves_figure(comparison, "val_loss", "validation loss", shared), "Validation loss", ""),
        (
            parallel_figure(comparison),
            "Hyperparameters and results",
            "point at a dot to see its value",
        ),
    ]
    there = [(made, title, said) for made, title, said in drawn if made is not None]
    if not there:
        return ""
    single = sum(made.name != "parallel" for made, _, _ in there) == 1
    boxes = "".join(
        f'<figure class="{"whole" if single or made.name == "parallel" else "half"}"><figcaption>'
        f"{title}<span>{said}</span></figcaption>{figure_box(made)}</figure>"
        for made, title, said in there
    )
    body = f'{_names(comparison, styles)}<div class="plots">{boxes}</div>'
    page = html_page("Comparison of runs", body, [made for made, _, _ in there], "frame")
    height = 60 + sum(int(made.height or 0) + 40 for made, _, _ in there)
    return (
        f'<iframe srcdoc="{html.escape(page)}" title="Curves of the compared runs" '
        f'style="width:100%;height:{height}px;border:0;display:block" loading="lazy"></iframe>'
    )


def _names(comparison: ComparisonData, styles: Sequence[RunStyle]) -> str:
    """Buttons of the runs with their line style; each hides its run in all figures."""
    buttons = "".join(
        f'<button type="button" aria-pressed="true" data-run="{style.name}" '
        f'title="{escaped(label)}">'
        f'<svg width="22" height="8" aria-hidden="true"><line x1="0" x2="22" y1="4" y2="4" '
        f'stroke="{style.colour}" stroke-width="3" '
        f'stroke-dasharray="{" ".join(map(str, style.dash))}"/></svg>'
        f"<span>{escaped(label)}</span></button>"
        for style, label in zip(styles, comparison.labels, strict=True)
    )
    return f'<div class="runs" role="group" aria-label="Runs">{buttons}</div>'


def _results(comparison: ComparisonData) -> pd.DataFrame:
    frame = comparison.table
    return frame.assign(id=[run.id[:8] for run in comparison.runs])


def _table(frame: pd.DataFrame, styles: Sequence[RunStyle], comparison: ComparisonData) -> str:
    """Table of the runs, one row each, with the colours of their lines."""
    rows = [
        [_run_label(style, label), *(_cell(value) for value in row)]
        for style, label, row in zip(styles, comparison.labels, frame.values.tolist(), strict=True)
    ]
    rest = len(rows) - MAX_ROWS
    more = f"<p>and {rest} more runs: see <code>.table</code>.</p>" if rest > 0 else ""
    return _plain_table(["run", *map(str, frame.columns)], rows[:MAX_ROWS]) + more


def _differences(comparison: ComparisonData, styles: Sequence[RunStyle]) -> str:
    """Differences in hyperparameters, environment and data, one column per run."""
    titles = (
        ("parameters", "hyperparameters", "Different hyperparameters"),
        ("environment", "environment", "Different environment, code and model"),
        ("data", "data", "Different data"),
    )
    parts, same = [], []
    for attribute, name, title in titles:
        frame = getattr(comparison, attribute)
        if frame.empty:
            same.append(name)
        else:
            inner = _differing(frame, styles, comparison.labels)
            parts.append(_folded(title, inner, opened=attribute == "parameters"))
    if same and len(comparison) > 1:
        parts.append(f"<p>The same in all runs: {', '.join(same)}.</p>")
    return "".join(parts)


def _differing(frame: pd.DataFrame, styles: Sequence[RunStyle], labels: Sequence[str]) -> str:
    shown = min(len(labels), MAX_COLUMNS)
    head = [_run_label(style, label) for style, label in zip(styles, labels, strict=True)][:shown]
    rows = [
        [escaped(name), *(_cell(value) for value in row[:shown])]
        for name, row in zip(frame.index, frame.values.tolist(), strict=True)
    ]
    rest = len(labels) - shown
    more = f"<p>and {rest} more runs: see the attributes of the comparison.</p>" if rest else ""
    return _plain_table(["", *head], rows, ready=True) + more


def _changes(comparison: ComparisonData) -> str:
    frame = comparison.changes
    if frame.empty:
        return ""
    kept = ["run", "step", "control", "old", "new", "who", "why", "status"]
    rows = [[_cell(value) for value in row] for row in frame[kept].values.tolist()[:MAX_ROWS]]
    rest = len(frame) - len(rows)
    more = f"<p>and {rest} more: see <code>.changes</code>.</p>" if rest else ""
    return _folded("Changes of controls", _plain_table(kept, rows) + more)


def _plain_table(head: Sequence[str], rows: Sequence[Sequence[str]], ready: bool = False) -> str:
    """A table; the cells are HTML.

    Args:
        ready: True if the headings are HTML too.
    """
    names = head if ready else [escaped(name) for name in head]
    first = "".join(f'<th style="{CELL_STYLE}">{name}</th>' for name in names)
    lines = "".join(
        "<tr>" + "".join(f'<td style="{CELL_STYLE}">{cell}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    return (
        f'<div style="overflow-x:auto;margin:6px 0"><table><thead><tr>{first}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _cell(value: Any) -> str:
    missing = isinstance(value, float) and math.isnan(value)
    return "" if missing else escaped(format_value(value))


def _run_label(style: RunStyle, label: str) -> str:
    """Name of a run with the colour of its lines."""
    dot = f'<span style="color:{style.colour}" aria-hidden="true">●</span>'
    return f"{dot} {escaped(shorten(label, MAX_NAME_LENGTH))}"


def _folded(title: str, inner: str, opened: bool = False) -> str:
    state = " open" if opened else ""
    return f"<details{state}><summary><b>{title}</b></summary>{inner}</details>"
