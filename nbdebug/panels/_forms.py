"""Forms of HTML sections: a row of fields and the button that sends them."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from nbdebug.panels._buttons import button


def row(*parts: str) -> str:
    """HTML of one line, which wraps if too long; holds the fields of one form."""
    return f'<div class="nbd-row">{"".join(parts)}</div>'


def text_field(name: str, label: str, value: str, size: int, tip: str, max_length: int = 0) -> str:
    """HTML of a text field with a label.

    Args:
        name: key of the text in the command; a rewrite of the section keeps the text by it.
        size: visible characters; max_length: most characters, 0 for any number.
    """
    tooltip = html.escape(tip)
    limit = f' maxlength="{max_length}"' if max_length else ""
    return (
        f'<label>{html.escape(label)} <input type="text" data-field="{html.escape(name)}" '
        f'size="{size}"{limit} value="{html.escape(value)}" title="{tooltip}" '
        f'aria-label="{tooltip}">'
        "</label>"
    )


def submit(
    label: str, command: str, tip: str, fixed: Mapping[str, Any] | None = None, clears: bool = False
) -> str:
    """HTML of a button that sends the fields of its row.

    Args:
        fixed: values that the button sends besides.
        clears: empty the fields after a click.
    """
    marker = "data-form data-clears" if clears else "data-form"
    return button(label, command, fixed or {}, tip).replace("<button ", f"<button {marker} ", 1)
