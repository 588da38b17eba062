"""Small pieces of HTML; every text that goes in is escaped here."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nbdebug.runs.record.json_values import NONFINITE_NAMES, to_float

MAX_VALUE_LENGTH = 60
MAX_TEXT_LENGTH = 200_000


class Markup(str):
    """HTML text that is not escaped again."""

    __slots__ = ()


def escaped(value: Any) -> str:
    """A value as escaped HTML."""
    return value if isinstance(value, Markup) else html.escape(format_value(value, MAX_TEXT_LENGTH))


def format_value(value: Any, limit: int = MAX_VALUE_LENGTH) -> str:
    """A value as short text: numbers to four digits, long texts truncated."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return shorten(
            ", ".join(f"{n}: {format_value(part, limit)}" for n, part in value.items()), limit
        )
    if isinstance(value, list | tuple):
        return shorten(", ".join(format_value(part, limit) for part in value), limit)
    return shorten(str(value), limit)


def shorten(text: str, limit: int = MAX_VALUE_LENGTH) -> str:
    """A text truncated to at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def format_count(value: Any) -> str:
    """A count with thousands separators, "" for anything else."""
    found = to_float(value)
    return f"{found:,.0f}" if math.isfinite(found) else ""


def format_number(value: Any) -> str:
    """A number to four digits, NaN and Inf included; "" for anything else."""
    found = to_float(value)
    return f"{found:.4g}" if isinstance(value, int | float) or value in NONFINITE_NAMES else ""


def format_duration(seconds: float) -> str:
    """Seconds as text such as "1 min 30 s"; "" for NaN, Inf and negative values."""
    if not math.isfinite(seconds) or seconds < 0:
        return ""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def table(
    head: Sequence[str], rows: Sequence[Sequence[Any]], numeric: Sequence[str] = (),
    name: str = "", classes: Sequence[str] = (),
) -> Markup:  # fmt: skip
    """A table in a box that scrolls if it is too wide; "" without rows.

    Args:
        numeric: headings of right-aligned columns.
        name: label for screen readers.
        classes: CSS class of each row.
    """
    if not rows:
        return Markup("")
    sides = [' class="number"' if heading in numeric else "" for heading in head]
    row_classes = [
        f' class="{row_class}"' if row_class else "" for row_class in classes or [""] * len(rows)
    ]
    lines = "".join(
        f"<tr{row_class}>{_cells('td', row, sides)}</tr>"
        for row_class, row in zip(row_classes, rows, strict=True)
    )
    label = f' aria-label="{html.escape(name)}"' if name else ""
    names = _cells("th", head, [f'{side} scope="col"' for side in sides])
    return Markup(
        f'<div class="wide"><table{label}><thead><tr>{names}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _cells(tag: str, values: Sequence[Any], attributes: Sequence[str]) -> str:
    return "".join(
        f"<{tag}{more}>{escaped(value)}</{tag}>"
        for value, more in zip(values, attributes, strict=True)
    )


def pairs(values: Mapping[str, Any]) -> Markup:
    """A description list of names and values; "" without any."""
    inner = "".join(
        f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>"
        for name, value in values.items()
    )
    return Markup(f'<dl class="pairs">{inner}</dl>' if inner else "")


def details(summary: str, inner: str, opened: bool = False) -> Markup:
    """A collapsible element; `inner` is HTML."""
    state = " open" if opened else ""
    return Markup(f"<details{state}><summary>{escaped(summary)}</summary>{inner}</details>")


def code(text: str) -> Markup:
    """Source code, truncated to 200,000 characters."""
    rest = len(text) - MAX_TEXT_LENGTH
    more = f'<p class="quiet">… and {rest:,} characters more.</p>' if rest > 0 else ""
    return Markup(f"<pre><code>{html.escape(text[:MAX_TEXT_LENGTH])}</code></pre>{more}")


@dataclass(frozen=True)
class Section:
    """A section of a page; `inner` is HTML, and an empty section is not shown."""

    anchor: str
    title: str
    inner: str

    def __str__(self) -> str:
        head = f"<h2>{escaped(self.title)}</h2>"
        return f'<section id="{self.anchor}">{head}{self.inner}</section>' if self.inner else ""


def section(anchor: str, title: str, *parts: str) -> Section:
    """A section of a page from pieces of HTML."""
    return Section(anchor, title, "".join(parts))


def contents(parts: Sequence[Section]) -> Markup:
    """Links to the sections that are not empty."""
    links = (f'<a href="#{one.anchor}">{escaped(one.title)}</a>' for one in parts if one.inner)
    return Markup(f'<nav aria-label="Contents">{"".join(links)}</nav>')


def remark(text: str) -> Markup:
    """A paragraph in the style of a remark."""
    return Markup(f'<p class="quiet">{escaped(text)}</p>')
