"""A comparison as HTML: its figures in a frame, and tables that also show without them."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nbdebug.runs.compare.data import ComparisonData
from nbdebug.runs.report.html import clip, escaped, words
from nbdebug.runs.report.page import place, shell

if TYPE_CHECKING:
    import pandas as pd

    from nbdebug.runs.compare.plots import Look

MOST_COLUMNS, MOST_ROWS = 12, 50
NAME = 40
CELL = "text-align:left;vertical-align:top;white-space:nowrap;padding:2px 12px 2px 0"


def comparison_page(comparison: ComparisonData) -> str:
    """Curves, parallel coordinates, and tables of what differs.

    The figures lie in a frame of their own, which holds everything they need: it shows when
    a notebook is opened again, without a kernel.
    """
    from nbdebug.runs.compare.plots import looks

    styles = looks(len(comparison))
    parts = [
        _frame(comparison, styles),
        _table(_results(comparison), styles, comparison),
        _differences(comparison, styles),
        _changes(comparison),
    ]
    return f'<div class="nbdebug-comparison">{"".join(parts)}</div>'


def _frame(comparison: ComparisonData, styles: Sequence[Look]) -> str:
    from bokeh.models import DataRange1d

    from nbdebug.runs.compare.parallel_coordinates import parallel
    from nbdebug.runs.compare.plots import curves

    shared = DataRange1d(range_padding=0.02)
    drawn = [
        (curves(comparison, "loss", "loss", shared), "Loss", "smoothed; ◆ a control was changed"),
        (curves(comparison, "val_loss", "validation loss", shared), "Validation loss", ""),
        (parallel(comparison), "Hyperparameters and results", "point at a dot for its value"),
    ]
    there = [(made, title, said) for made, title, said in drawn if made is not None]
    if not there:
        return ""
    single = sum(made.name != "parallel" for made, _, _ in there) == 1
    boxes = "".join(
        f'<figure class="{"whole" if single or made.name == "parallel" else "half"}"><figcaption>'
        f"{title}<span>{said}</span></figcaption>{place(made)}</figure>"
        for made, title, said in there
    )
    body = f'{_names(comparison, styles)}<div class="plots">{boxes}</div>'
    page = shell("Comparison of runs", body, [made for made, _, _ in there], "frame")
    height = 60 + sum(int(made.height or 0) + 40 for made, _, _ in there)
    return (
        f'<iframe srcdoc="{html.escape(page)}" title="Curves of the compared runs" '
        f'style="width:100%;height:{height}px;border:0;display:block" loading="lazy"></iframe>'
    )


def _names(comparison: ComparisonData, styles: Sequence[Look]) -> str:
    """A button for each run, with its line; it hides the run in all figures."""
    buttons = "".join(
        f'<button type="button" aria-pressed="true" data-run="{look.name}" '
        f'title="{escaped(label)}">'
        f'<svg width="22" height="8" aria-hidden="true"><line x1="0" x2="22" y1="4" y2="4" '
        f'stroke="{look.colour}" stroke-width="3" '
        f'stroke-dasharray="{" ".join(map(str, look.dash))}"/></svg>'
        f"<span>{escaped(label)}</span></button>"
        for look, label in zip(styles, comparison.labels, strict=True)
    )
    return f'<div class="runs" role="group" aria-label="Runs">{buttons}</div>'


def _results(comparison: ComparisonData) -> pd.DataFrame:
    frame = comparison.table
    return frame.assign(id=[run.id[:8] for run in comparison.runs])


def _table(frame: pd.DataFrame, styles: Sequence[Look], comparison: ComparisonData) -> str:
    """Runs, a row each, with the colour of their lines."""
    rows = [
        [_dot(look, label), *(_cell(value) for value in row)]
        for look, label, row in zip(styles, comparison.labels, frame.values.tolist(), strict=True)
    ]
    rest = len(rows) - MOST_ROWS
    more = f"<p>and {rest} runs more: see <code>.table</code>.</p>" if rest > 0 else ""
    return _plain_table(["run", *map(str, frame.columns)], rows[:MOST_ROWS]) + more


def _differences(comparison: ComparisonData, styles: Sequence[Look]) -> str:
    """What differs in hyperparameters, environment and data, a column a run."""
    titles = (
        ("parameters", "hyperparameters", "Hyperparameters that differ"),
        ("environment", "environment", "Environment, code and model that differ"),
        ("data", "data", "Data that differ"),
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


def _differing(frame: pd.DataFrame, styles: Sequence[Look], labels: Sequence[str]) -> str:
    shown = min(len(labels), MOST_COLUMNS)
    head = [_dot(look, label) for look, label in zip(styles, labels, strict=True)][:shown]
    rows = [
        [escaped(name), *(_cell(value) for value in row[:shown])]
        for name, row in zip(frame.index, frame.values.tolist(), strict=True)
    ]
    rest = len(labels) - shown
    more = f"<p>and {rest} runs more: see the attributes of the comparison.</p>" if rest else ""
    return _plain_table(["", *head], rows, ready=True) + more


def _changes(comparison: ComparisonData) -> str:
    frame = comparison.changes
    if frame.empty:
        return ""
    kept = ["run", "step", "control", "old", "new", "who", "why", "status"]
    rows = [[_cell(value) for value in row] for row in frame[kept].values.tolist()[:MOST_ROWS]]
    rest = len(frame) - len(rows)
    more = f"<p>and {rest} more: see <code>.changes</code>.</p>" if rest else ""
    return _folded("Changes of controls", _plain_table(kept, rows) + more)


def _plain_table(head: Sequence[str], rows: Sequence[Sequence[str]], ready: bool = False) -> str:
    """A table of cells that are HTML.

    Args:
        ready: the headings are HTML too.
    """
    names = head if ready else [escaped(name) for name in head]
    first = "".join(f'<th style="{CELL}">{name}</th>' for name in names)
    lines = "".join(
        "<tr>" + "".join(f'<td style="{CELL}">{cell}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    return (
        f'<div style="overflow-x:auto;margin:6px 0"><table><thead><tr>{first}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _cell(value: Any) -> str:
    missing = isinstance(value, float) and math.isnan(value)
    return "" if missing else escaped(words(value))


def _dot(look: Look, label: str) -> str:
    """The name of a run with the colour of its lines."""
    dot = f'<span style="color:{look.colour}" aria-hidden="true">●</span>'
    return f"{dot} {escaped(clip(label, NAME))}"


def _folded(title: str, inner: str, opened: bool = False) -> str:
    state = " open" if opened else ""
    return f"<details{state}><summary><b>{title}</b></summary>{inner}</details>"
