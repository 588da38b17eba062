"""Runs as tables of HTML, with the tools of one run in a row below it."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from nbdebug.core.results.run_list import MAX_TEXT_LENGTH, RunList, RunRequest, RunRow
from nbdebug.panels._buttons import button
from nbdebug.panels._forms import row, submit, text_field
from nbdebug.plots.theme import COLOURS

MOST = 50
STATUS = {
    "running": ("running", "It goes on, here or in another kernel."),
    "finished": ("finished", "Its Debugger was closed, or its kernel ended as it should."),
    "failed": ("failed", "It ended at an error or a value that is not finite."),
    "interrupted": ("interrupted", "Its kernel died; it is kept up to the last second before."),
}
TIPS = {
    "compare": "Draws its loss with those of the other ticked runs below; press again to leave it "
    "out. Takes effect at once.",
    "open": "Shows or hides rename, tag and delete of this run.",
    "rename": "Gives the run this name in the store, at once.",
    "tag": "Ties a tag to the run, as baseline or data=v2, at once. Tags can be found.",
    "untag": "Takes this tag away, at once.",
    "ask": "Asks once more before the run is deleted with its files.",
    "delete": "Removes the run and its files from the store, at once. This cannot be undone.",
    "keep": "Leaves the run where it is.",
    "live": "A run that goes on cannot be deleted.",
    "unstored": "It is not in the store yet, only in its journal; try again in some seconds.",
}
Write = Callable[[RunRow], str]


def _columns(rows: Sequence[RunRow]) -> Iterator[tuple[str, str, bool, Write]]:
    """Heading, tooltip, whether it holds numbers, and what stands in a cell."""
    yield "name", "", False, _name
    yield "status", "", False, _status
    yield "started", "date and time of the first step, here", False, _started
    yield "steps", "optimizer updates", True, lambda one: _whole(one.steps)
    yield "time", "from the first step until it ended, or until now", True, _time
    yield "loss", "of the last step", True, lambda one: _metric(one, "loss")
    yield "val. loss", "validation loss, the last one", True, lambda one: _metric(one, "val_loss")
    accuracy = "accuracy"
    if any("val_accuracy" in one.metrics for one in rows):
        accuracy = "val_accuracy"
    said = {"accuracy": "of the last step", "val_accuracy": "on the validation data, the last one"}
    yield (
        accuracy.replace("val_accuracy", "val. acc."),
        said[accuracy],
        True,
        lambda o: _metric(o, accuracy),
    )
    yield "lr", "learning rate at the start", True, lambda one: _setting(one, "lr")
    yield "batch", "batch size at the start", True, lambda one: _setting(one, "batch_size")


def run_table(runs: RunList, rows: Sequence[RunRow], live: bool) -> str:
    """Runs, one row each, at most 50; columns that are empty for all are left out.

    Args:
        live: whether anything can be asked for.
    """
    rows, rest = rows[:MOST], len(rows) - MOST
    cells = {}
    for heading, tip, numbers, write in _columns(rows):
        written = [write(one) for one in rows]
        if any(written):
            cells[heading] = tip, numbers, written
    head = "".join(_cell("th", heading, tip, n) for heading, (tip, n, _) in cells.items())
    body = ""
    for place, one in enumerate(rows):
        inside = "".join(_cell("td", w[place], "", n) for _, n, w in cells.values())
        tools = f"<td>{_buttons(runs, one)}</td>" if live else ""
        body += f"<tr>{tools}{inside}</tr>"
        if live and one.id == runs.opened:
            body += f'<tr class="nbd-tools-of"><td colspan="{len(cells) + 1}">'
            body += f"{_tools(runs, one)}</td></tr>"
    more = f'<div class="nbd-quiet">and {rest:,} more: nbdebug.runs() has all of them.</div>'
    return (
        '<table class="nbd-runs" aria-label="List of runs"><thead>'
        f"<tr>{'<th>compare</th>' if live else ''}{head}</tr></thead><tbody>{body}</tbody></table>"
        f"{more if rest > 0 else ''}"
    )


def _buttons(runs: RunList, one: RunRow) -> str:
    pressed = one.id in runs.chosen
    state = {"aria-pressed": _word(pressed), "aria-label": f"Compare {one.name}"}
    if pressed:
        # In the colour of its line in the plot.
        state["style"] = f"background:{COLOURS[runs.chosen.index(one.id)]}"
    tick = _ask("✓" if pressed else "", "compare", one, more=state)
    opened = {
        "aria-expanded": _word(one.id == runs.opened),
        "aria-label": f"More {one.name}",
    }
    return f'<span class="nbd-pair">{tick}{_ask("More", "open", one, more=opened)}</span>'


def _tools(runs: RunList, one: RunRow) -> str:
    """Rename, tag and delete, of one run."""
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
        _ask(f"{_tag(name, value)} ✕", "untag", one, name) for name, value in one.tags.items()
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
        # Where Delete was, and with its focus: a double click deletes nothing.
        yield _ask("Keep", "ask", one, tip="keep")
        yield _ask("Delete for good?", "delete", one)
    else:
        yield _ask("Delete", "ask", one)


def _ask(
    label: str, act: str, one: RunRow, text: str = "", tip: str = "",
    more: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    value = {"act": act, "run": one.id} | ({"text": text} if text else {})
    said = TIPS[tip or act]
    return button(label, RunRequest.name, value, said, more=more)


def comparison_table(rows: Sequence[RunRow], values: Mapping[str, Sequence[str]]) -> str:
    """The hyperparameters that differ, a column a run; "" for fewer than two runs."""
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
        '<div class="nbd-title">What differs at the start</div>'
        '<table class="nbd-runs" aria-label="Hyperparameters that differ">'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def labels(rows: Sequence[RunRow]) -> list[str]:
    """What to call runs beside each other: names, with the start where they are alike."""
    names = [one.name for one in rows]
    said = [
        name if names.count(name) == 1 else f"{name}, {_started(one)}"
        for name, one in zip(names, rows, strict=True)
    ]
    return [
        shortened(name, 48) + (" (this run)" if one.this else "")
        for name, one in zip(said, rows, strict=True)
    ]


def shortened(text: str, most: int = 80) -> str:
    """Text with a dash of three points where it is too long."""
    return text if len(text) <= most else text[: most - 1] + "…"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
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
    """The name, and the tags, which help to tell runs apart."""
    this = ' <span class="nbd-quiet">(this run)</span>' if one.this else ""
    name = html.escape(one.name) or '<span class="nbd-quiet">(no name)</span>'
    tags = "".join(
        f' <span class="nbd-tag">{html.escape(shortened(_tag(name, value), 40))}</span>'
        for name, value in one.tags.items()
    )
    return f'<div class="nbd-name">{name}{this}{tags}</div>'


def _status(one: RunRow) -> str:
    words, tip = STATUS.get(one.status, (one.status, ""))
    return f'<span title="{html.escape(tip)}">{html.escape(words)}</span>'


def _started(one: RunRow) -> str:
    """Date and time here; the year only where it is another one."""
    when = datetime.fromtimestamp(one.started)
    return f"{when:%m-%d %H:%M}" if when.year == datetime.now().year else f"{when:%Y-%m-%d %H:%M}"


def _time(one: RunRow) -> str:
    return "" if one.seconds is None else duration(one.seconds)


def _whole(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _metric(one: RunRow, name: str) -> str:
    value = one.metrics.get(name)
    return "" if value is None else (f"{value:.4g}" if math.isfinite(value) else str(value))


def _setting(one: RunRow, name: str) -> str:
    return html.escape(shortened(one.parameters.get(name, ""), 16))


def _tag(name: str, value: str) -> str:
    return f"{name}={value}" if value else name


def _word(flag: bool) -> str:
    return str(flag).lower()
