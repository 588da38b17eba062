"""Buttons of HTML sections, which the view turns into commands."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any

from nbdebug.core.commands.running import Stop
from nbdebug.core.records import Progress


def button(
    label: str,
    command: str,
    fields: Mapping[str, Any],
    tooltip: str,
    disabled: bool = False,
    more: Mapping[str, str] | None = None,
) -> str:
    """A button that asks for a command.

    Args:
        command: its name; fields: of its form.
        more: further attributes, as `aria-pressed`.
    """
    said = {"data-command": command, "data-fields": json.dumps(fields), "title": tooltip}
    said |= more or {}
    attributes = " ".join(f'{name}="{html.escape(text)}"' for name, text in said.items())
    # Not the attribute `disabled`: that would take the focus away from the keyboard.
    off = ' aria-disabled="true"' if disabled else ""
    words = html.escape(label)
    return f'<button type="button" class="nbd-offer" {attributes}{off}>{words}</button>'


def under_way_row(progress: Progress, tooltip: str) -> str:
    """Stop, a bar and the title of what is under way."""
    title = html.escape(progress.title)
    return (
        button("Stop", Stop.name, {}, tooltip)
        + f'<progress max="1" value="{progress.share:.2f}" aria-label="{title}"></progress>'
        f"<span>{title}…</span>"
    )
