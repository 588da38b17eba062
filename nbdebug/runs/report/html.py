"""Small pieces of HTML; every text that goes in is escaped here."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nbdebug.runs.record.json_values import number

MOST_WORDS = 60
LONGEST = 200_000
NUMBERS = ("NaN", "Infinity", "-Infinity")


class Markup(str):
    """HTML that is ready: it is not escaped again."""

    __slots__ = ()


def escaped(value: Any) -> str:
    """A value as HTML."""
    return value if isinstance(value, Markup) else html.escape(words(value, LONGEST))


def words(value: Any, limit: int = MOST_WORDS) -> str:
    """A value in few characters: a number to four digits, of a long text the beginning."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return clip(", ".join(f"{n}: {words(part, limit)}" for n, part in value.items()), limit)
    if isinstance(value, list | tuple):
        return clip(", ".join(words(part, limit) for part in value), limit)
    return clip(str(value), limit)


def clip(text: str, limit: int = MOST_WORDS) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def whole(value: Any) -> str:
    """A count with its thousands apart, "" for what is none."""
    found = number(value)
    return f"{found:,.0f}" if math.isfinite(found) else ""


def figures(value: Any) -> str:
    """A number to four digits, also one that is not finite; "" for none."""
    found = number(value)
    return f"{found:.4g}" if isinstance(value, int | float) or value in NUMBERS else ""


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
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
    """A table, in a box that scrolls where there is too little room; "" without rows.

    Args:
        numeric: the columns that stand to the right.
        name: what it is called for those who hear it.
        classes: of the rows, for their looks.
    """
    if not rows:
        return Markup("")
    sides = [' class="number"' if heading in numeric else "" for heading in head]
    looks = [f' class="{look}"' if look else "" for look in classes or [""] * len(rows)]
    lines = "".join(
        f"<tr{look}>{_cells('td', row, sides)}</tr>" for look, row in zip(looks, rows, strict=True)
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
    """Names and values, in as many columns as there is room for; "" without any."""
    inner = "".join(
        f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>"
        for name, value in values.items()
    )
    return Markup(f'<dl class="pairs">{inner}</dl>' if inner else "")


def folded(summary: str, inner: str, opened: bool = False) -> Markup:
    """What is shown when it is asked for; `inner` is HTML."""
    state = " open" if opened else ""
    return Markup(f"<details{state}><summary>{escaped(summary)}</summary>{inner}</details>")


def code(text: str) -> Markup:
    """Source code; of a very long one the beginning."""
    rest = len(text) - LONGEST
    more = f'<p class="quiet">… and {rest:,} characters more.</p>' if rest > 0 else ""
    return Markup(f"<pre><code>{html.escape(text[:LONGEST])}</code></pre>{more}")


@dataclass(frozen=True)
class Part:
    """A part of a page; `inner` is HTML, and without any it is left out."""

    anchor: str
    title: str
    inner: str

    def __str__(self) -> str:
        head = f"<h2>{escaped(self.title)}</h2>"
        return f'<section id="{self.anchor}">{head}{self.inner}</section>' if self.inner else ""


def section(anchor: str, title: str, *parts: str) -> Part:
    """A part of a page, of pieces of HTML."""
    return Part(anchor, title, "".join(parts))


def contents(parts: Sequence[Part]) -> Markup:
    """Links to the parts there are."""
    links = (f'<a href="#{one.anchor}">{escaped(one.title)}</a>' for one in parts if one.inner)
    return Markup(f'<nav aria-label="Contents">{"".join(links)}</nav>')


def quiet(text: str) -> Markup:
    """A remark."""
    return Markup(f'<p class="quiet">{escaped(text)}</p>')
