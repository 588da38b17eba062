"""Predictions as text and as HTML."""

from __future__ import annotations

import html
from collections.abc import Callable

from nbdebug.core.results.inside.predicted_step import PredictedStep
from nbdebug.core.results.inside.prediction_frames import mean_score, worst
from nbdebug.core.results.inside.recorded_predictions import RecordedPredictions
from nbdebug.core.results.worst_samples import CELL_STYLE

MAX_LISTED = 6
MAX_VALUES = 3
# Of the pictures of one table; a message holds 50 kB in all.
MAX_PICTURE_BYTES = 18_000
Rows = list[tuple[str, ...]]


def title(found: RecordedPredictions) -> str:
    """Title: kind, samples, and the latest recorded step."""
    if found.latest is None:
        return f"No predictions: {found.why or 'nothing was recorded'}"
    kinds = {
        "classes": f"{found.classes:,} classes", "binary": "yes or no", "regression": "values"
    }  # fmt: skip
    count, origin = found.samples.count, found.samples.origin
    samples = "1 sample" if count == 1 else f"{count:,} samples"
    origin = {"given": "that were given", "a training step": "of a training step"}.get(
        origin, f"of {origin}"
    )
    steps = "1 step" if len(found.history) == 1 else f"{len(found.history):,} steps"
    return f"Predictions ({kinds.get(found.kind, '')}) for {samples} {origin}, at {steps}"


def sentence(found: RecordedPredictions, one: PredictedStep) -> str:
    """Step and success of one step."""
    return f"step {one.step:,}: {mean_score(found, one)}"


def headings(found: RecordedPredictions) -> tuple[str, ...]:
    """Columns of the table of the worst samples."""
    if found.kind == "regression":
        return "sample", "target", "predicted", "error", "inputs"
    if found.samples.targets is not None and found.samples.targets.ndim > 1:
        return "sample", "right", "of target", "inputs"
    return "sample", "target", "predicted", "confidence", "of target", "inputs"


def cells(found: RecordedPredictions, one: PredictedStep, position: int) -> tuple[str, ...]:
    """Cells of a sample, in the columns of `headings`."""
    samples, targets = found.samples, found.samples.targets
    assert targets is not None  # without targets no sample is wrong
    name, row = f"{samples.name(position)}", inputs(found, position)
    if found.kind == "regression":
        apart = abs(one.values[position] - targets[position]).mean()
        pair = _short(targets[position]), _short(one.values[position])
        return name, *pair, f"{apart:.4g}", row
    chance = "" if one.of_target is None else f"{one.of_target[position]:.1%}"
    if targets.ndim > 1 or one.predicted is None:
        share = "" if one.right is None else f"{one.right[position]:.1%}"
        return name, share, chance, row
    guess = int(one.predicted[position])
    said = ("NaN", "") if guess < 0 else (f"{guess}", f"{one.confidence[position]:.1%}")
    return name, f"{int(targets[position])}", *said, chance, row


def inputs(found: RecordedPredictions, position: int) -> str:
    """The first inputs of a sample as text."""
    rows = found.samples.rows
    return ", ".join(f"{value:.3g}" for value in rows[position]) if rows else ""


def as_text(found: RecordedPredictions) -> str:
    """Title, notes and the worst samples."""
    lines = [title(found), *found.notes]
    one = found.latest
    if one is not None:
        lines.append(f"At {sentence(found, one)}")
        listed = worst(found, one, MAX_LISTED)
        lines += [" | ".join(headings(found))] if listed else []
        lines += [" | ".join(cells(found, one, position)) for position in listed]
    return "\n".join(lines)


def as_html(found: RecordedPredictions) -> str:
    """Title, notes, and a table of the worst samples."""
    parts = [f"<div><b>{html.escape(title(found))}</b></div>"]
    parts += [f"<div>{html.escape(note)}</div>" for note in found.notes]
    one = found.latest
    if one is not None:
        parts.append(f"<div>{html.escape(f'At {sentence(found, one)}')}</div>")
        parts.append(error_table(found, one))
    return "".join(parts)


def error_table(
    found: RecordedPredictions,
    one: PredictedStep,
    top: int = MAX_LISTED,
    tools: Callable[[int], str] | None = None,
) -> str:
    """Table of the worst samples with their pictures, "" if none is wrong.

    Args:
        tools: makes the HTML of the name of a sample, None for its text.
    """
    listed, room = worst(found, one, top), MAX_PICTURE_BYTES
    if not listed:
        return ""
    names = (f'<th style="{CELL_STYLE};white-space:nowrap">{name}</th>' for name in headings(found))
    head = "".join(names)
    body = ""
    for position in listed:
        row = [html.escape(cell) for cell in cells(found, one, position)]
        picture = found.samples.picture(position)
        room -= len(picture)
        if picture and room > 0:
            said = f"inputs of sample {found.samples.name(position)}"
            row[-1] = (
                f'<img src="{picture}" width="40" alt="{said}" style="image-rendering:pixelated">'
            )
        row[0] = row[0] if tools is None else tools(position)
        body += "<tr>" + "".join(f'<td style="{CELL_STYLE}">{cell}</td>' for cell in row) + "</tr>"
    return (
        f'<div style="overflow-x:auto"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
        "</table></div>"
    )


def _short(values: object) -> str:
    """Some values [K] as text."""
    found = [f"{float(value):.4g}" for value in values]  # type: ignore[attr-defined]
    more = ", ..." if len(found) > MAX_VALUES else ""
    return ", ".join(found[:MAX_VALUES]) + more
