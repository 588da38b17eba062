"""HTML tables of runs; the tools of one run open in a row below the run."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from nbdebug.core.results.run_list import MAX_TEXT_LENGTH, RunList, RunRequest, RunRow
from nbdebug.panels._buttons import button
from nbdebug.panels._forms import row, submit, text_field
from nbdebug.plots.theme import COLOURS

MAX_LISTED_RUNS = 50
STATUS_LABELS = {
    "running": ("running", "Still training, here or in another kernel."),
    "finished": ("finished", "The Debugger was closed, or the kernel was shut down normally."),
    "failed": ("failed", "Ended with an error, or with a NaN or Inf."),
    "interrupted": (
        "interrupted",
        "The kernel died; the run is recorded up to about a second before.",
    ),
    "damaged": ("damaged", "A part of its record cannot be read; other runs are not affected."),
}
TIPS = {
    "compare": "Draw the loss of this run below, with those of the other ticked runs; press again "
    "to remove the run from the plot. Takes effect at once.",
    "open": "Show or hide rename, tag and delete for this run.",
    "rename": "Rename this run in the store. Takes effect at once.",
    "tag": "Add a tag such as baseline or data=v2 to this run; Find also searches tags. Takes "
    "effect at once.",
    "untag": "Remove this tag from the run. Takes effect at once.",
    "ask": "Delete this run and its files; needs a second click to confirm.",
    "delete": "Delete this run and its files from the store. Takes effect at once and cannot be "
    "undone.",
    "page": "Show these runs. Takes effect at once.",
    "keep": "Keep this run and its files.",
    "live": "A run that is still training cannot be deleted.",
    "unstored": "This run is not in the store yet, only in its journal; try again in a few "
    "seconds.",
}
CellWriter = Callable[[RunRow], str]


def _columns(rows: Sequence[RunRow]) -> Iterator[tuple[str, str, bool, CellWriter]]:
    """Heading, tooltip, True for numbers, and cell writer of each column."""
    yield "name", "", False, _name
    yield "status", "", False, _status
    yield "started", "local date and time of the first step", False, _started
    yield "steps", "optimizer updates", True, lambda one: _integer(one.steps)
    yield "time", "from the first step to the end of the run, or to now", True, _time
    yield "loss", "of the last step", True, lambda one: _metric(one, "loss")
    yield "val. loss", "last validation loss", True, lambda one: _metric(one, "val_loss")
    accuracy = "accuracy"
    if any("val_accuracy" in one.metrics for one in rows):
        accuracy = "val_accuracy"
    tooltips = {"accuracy": "of the last step", "val_accuracy": "last one on the validation data"}
    yield (
        accuracy.replace("val_accuracy", "val. acc."),
        tooltips[accuracy],
        True,
        lambda o: _metric(o, accuracy),
    )
    yield "lr", "learning rate at the start", True, lambda one: _setting(one, "lr")
    yield "batch", "batch size at the start", True, lambda one: _setting(one, "batch_size")


def run_table(runs: RunList, rows: Sequence[RunRow], live: bool) -> str:
    """Table of one page of runs, one row each; columns that are empty for all are omitted.

    Args:
        live: with buttons; False once the Debugger is closed.
    """
    total, first = len(rows), _first_listed(runs, len(rows))
    rows = rows[first : first + MAX_LISTED_RUNS]
    cells = {}
    for heading, tip, numbers, write in _columns(rows):
        written = [write(one) for one in rows]
        if any(written):
            cells[heading] = tip, numbers, written
    head = "".join(_cell("th", heading, tip, n) for heading, (tip, n, _) in cells.items())
    body = ""
    for place, one in enumerate(rows):
        inside = "".join(_cell("td", w[place], "", n) for _, n, w in cells.values())
        tools = f"<td>{_row_buttons(runs, one)}</td>" if live else ""
        body += f"<tr>{tools}{inside}</tr>"
        if live and one.id == runs.opened:
            body += f'<tr class="nbd-tools-of"><td colspan="{len(cells) + 1}">'
            body += f"{_tool_forms(runs, one)}</td></tr>"
    return (
        '<table class="nbd-runs" aria-label="List of runs"><thead>'
        f"<tr>{'<th>compare</th>' if live else ''}{head}</tr></thead><tbody>{body}</tbody></table>"
        f"{_pager(first, total, live) if total > MAX_LISTED_RUNS else ''}"
    )


def _first_listed(runs: RunList, total: int) -> int:
    """Place of the first run of the page; of the last page there is for a higher number."""
    return MAX_LISTED_RUNS * max(0, min(runs.page, (total - 1) // MAX_LISTED_RUNS))


def _pager(first: int, total: int, live: bool) -> str:
    """Sentence on what is listed, and buttons for the pages before and after."""
    page, end = first // MAX_LISTED_RUNS, min(first + MAX_LISTED_RUNS, total)
    rest = total - end
    more = f"; and {rest:,} more: nbdebug.runs() lists all of them." if rest else "."
    text = f'<span class="nbd-quiet">{first + 1:,} to {end:,} of {total:,}{more}</span>'
    if not live:
        return row(text)
    buttons = [
        _page_button(label, number)
        for label, number, there in (
            ("First", 0, page > 1),
            (f"Previous {MAX_LISTED_RUNS}", page - 1, page > 0),
            (f"Next {min(MAX_LISTED_RUNS, rest)}", page + 1, rest > 0),
            ("Last", (total - 1) // MAX_LISTED_RUNS, rest > MAX_LISTED_RUNS),
        )
        if there
    ]
    return row(*buttons, text)


def _page_button(label: str, page: int) -> str:
    return button(label, RunRequest.name, {"act": "page", "text": str(page)}, TIPS["page"])


def _row_buttons(runs: RunList, one: RunRow) -> str:
    pressed = one.id in runs.chosen
    state = {"aria-pressed": _aria_bool(pressed), "aria-label": f"Compare {one.name}"}
    if pressed:
        # In the colour of its line in the plot.
        state["style"] = f"background:{COLOURS[runs.chosen.index(one.id)]}"
    tick = _request_button("✓" if pressed else "", "compare", one, more=state)
    opened = {
        "aria-expanded": _aria_bool(one.id == runs.opened),
        "aria-label": f"More {one.name}",
    }
    return (
        f'<span class="nbd-pair">{tick}{_request_button("More", "open", one, more=opened)}</span>'
    )


def _tool_forms(runs: RunList, one: RunRow) -> str:
    """Forms that rename, tag and delete a run."""
    if not one.stored:
        return row(f"<span>{TIPS['unstored']}</span>")
    fixed = {"run": one.id}
    rename = row(
        text_field(
            f"text-name-{one.id}", "Name", one.name, 24, "New name of the run", MAX_TEXT_LENGTH
        ),
        submit("Rename", RunRequest.name, TIPS["rename"], {"act": "rename", **fixed}),
    )
    known = "".join(
        _request_button(f"{_tag(name, value)} ✕", "untag", one, name)
        for name, value in one.tags.items()
    )
    tag = row(
        text_field(
            f"text-tag-{one.id}", "Tag", "", 16, "Tag, as name or name=value", 2 * MAX_TEXT_LENGTH
        ),
        submit("Add tag", RunRequest.name, TIPS["tag"], {"act": "tag", **fixed}, clears=True),
        known,
    )
    return f'<div class="nbd-rows">{rename}{tag}{row(*_deletion(runs, one))}</div>'


def _deletion(runs: RunList, one: RunRow) -> Iterator[str]:
    if one.live:
        yield button("Delete", RunRequest.name, {}, TIPS["live"], disabled=True)
    elif one.id == runs.asked:
        # Keep takes the place and the focus of Delete: a double click deletes nothing.
        yield _request_button("Keep", "ask", one, tip="keep")
        yield _request_button("Delete for good?", "delete", one)
    else:
        yield _request_button("Delete", "ask", one)


def _request_button(
    label: str, act: str, one: RunRow, text: str = "", tip: str = "",
    more: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    value = {"act": act, "run": one.id} | ({"text": text} if text else {})
    return button(label, RunRequest.name, value, TIPS[tip or act], more=more)


def comparison_table(rows: Sequence[RunRow], values: Mapping[str, Sequence[str]]) -> str:
    """Table of the hyperparameters that differ, one column per run; "" for fewer than two."""
    if len(rows) < 2:
        return ""
    if not values:
        return '<div class="nbd-quiet">All hyperparameters of these runs are the same.</div>'
    head = "".join(
        f'<th><span class="nbd-dot" style="background:{colour}"></span> {html.escape(name)}</th>'
        for colour, name in zip(COLOURS, labels(rows), strict=False)
    )
    body = "".join(
        f"<tr><td>{html.escape(name)}</td>"
        + "".join(f"<td>{html.escape(shortened(value))}</td>" for value in found)
        + "</tr>"
        for name, found in values.items()
    )
    return (
        '<div class="nbd-title">Hyperparameters that differ at the start</div>'
        '<table class="nbd-runs" aria-label="Hyperparameters that differ">'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def labels(rows: Sequence[RunRow]) -> list[str]:
    """Names of runs for a legend; runs of equal name get their start time too."""
    names = [one.name for one in rows]
    unique = [
        name if names.count(name) == 1 else f"{name}, {_started(one)}"
        for name, one in zip(names, rows, strict=True)
    ]
    return [
        shortened(name, 48) + (" (this run)" if one.this else "")
        for name, one in zip(unique, rows, strict=True)
    ]


def shortened(text: str, limit: int = 80) -> str:
    """Text, cut off with an ellipsis after `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def duration(seconds: float) -> str:
    """Duration as text, such as `3 min 20 s`."""
    if 0 <= seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = max(round(seconds), 0)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if minutes == 0:
        return f"{whole} s"
    if hours == 0:
        return f"{minutes} min {whole % 60} s"
    return f"{hours} h {minutes % 60} min" if days == 0 else f"{days} d {hours % 24} h"


def _cell(kind: str, text: str, tip: str, numbers: bool) -> str:
    title = f' title="{html.escape(tip)}"' if tip else ""
    return f"<{kind}{' class=nbd-number' if numbers else ''}{title}>{text}</{kind}>"


def _name(one: RunRow) -> str:
    """Name and tags of a run."""
    this = ' <span class="nbd-quiet">(this run)</span>' if one.this else ""
    name = html.escape(one.name) or '<span class="nbd-quiet">(no name)</span>'
    tags = "".join(
        f' <span class="nbd-tag">{html.escape(shortened(_tag(name, value), 40))}</span>'
        for name, value in one.tags.items()
    )
    return f'<div class="nbd-name">{name}{this}{tags}</div>'


def _status(one: RunRow) -> str:
    label, tip = STATUS_LABELS.get(one.status, (one.status, ""))
    return f'<span title="{html.escape(tip)}">{html.escape(label)}</span>'


def _started(one: RunRow) -> str:
    """Local date and time, the year only for another year than this; "" if it is not known."""
    if not one.started:
        return ""
    when = datetime.fromtimestamp(one.started)
    return f"{when:%m-%d %H:%M}" if when.year == datetime.now().year else f"{when:%Y-%m-%d %H:%M}"


def _time(one: RunRow) -> str:
    return "" if one.seconds is None else duration(one.seconds)


def _integer(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _metric(one: RunRow, name: str) -> str:
    value = one.metrics.get(name)
    return "" if value is None else (f"{value:.4g}" if math.isfinite(value) else str(value))


def _setting(one: RunRow, name: str) -> str:
    return html.escape(shortened(one.parameters.get(name, ""), 16))


def _tag(name: str, value: str) -> str:
    return f"{name}={value}" if value else name


def _aria_bool(flag: bool) -> str:
    return str(flag).lower()
