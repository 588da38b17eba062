"""Forms of HTML sections: a row of fields and the button that sends them."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from nbdebug.panels._buttons import button


def row(*parts: str) -> str:
    """What stands in one line as far as there is room; the fields of one form."""
    return f'<div class="nbd-row">{"".join(parts)}</div>'


def text_field(name: str, label: str, value: str, size: int, tip: str, most: int = 0) -> str:
    """A field for text.

    Args:
        name: what it is sent as, and what its text is kept by when its section is rewritten.
        size, most: characters that are seen and that are taken, 0 for any number.
    """
    said = html.escape(tip)
    limit = f' maxlength="{most}"' if most else ""
    return (
        f'<label>{html.escape(label)} <input type="text" data-field="{html.escape(name)}" '
        f'size="{size}"{limit} value="{html.escape(value)}" title="{said}" aria-label="{said}">'
        "</label>"
    )


def submit(
    label: str, command: str, tip: str, fixed: Mapping[str, Any] | None = None, clears: bool = False
) -> str:
    """A button that sends the fields of its row.

    Args:
        fixed: what it sends besides.
        clears: whether the fields are empty afterwards.
    """
    kind = "data-form data-clears" if clears else "data-form"
    return button(label, command, fixed or {}, tip).replace("<button ", f"<button {kind} ", 1)
