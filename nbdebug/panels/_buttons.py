"""Buttons of HTML sections; the view turns a click into a command."""

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
    """HTML of a button that requests a command.

    Args:
        command: its name; fields: of its form.
        more: further HTML attributes, such as `aria-pressed`.
    """
    attributes = {"data-command": command, "data-fields": json.dumps(fields), "title": tooltip}
    attributes |= more or {}
    written = " ".join(f'{name}="{html.escape(text)}"' for name, text in attributes.items())
    # Not the attribute `disabled`, which would take the keyboard focus away.
    off = ' aria-disabled="true"' if disabled else ""
    text = html.escape(label)
    return f'<button type="button" class="nbd-offer" {written}{off}>{text}</button>'


def tab_button(label: str, tab: str, tooltip: str) -> str:
    """HTML of a button that shows a tab."""
    tip, name = html.escape(tooltip), html.escape(tab)
    return (
        f'<button type="button" class="nbd-offer nbd-link" data-tab="{name}" title="{tip}">'
        f"{html.escape(label)}</button>"
    )


def choice_button(
    label: str,
    option: str,
    value: str,
    tab: str,
    tooltip: str,
    also: Mapping[str, str] | None = None,
) -> str:
    """HTML of a button that chooses a value of an option and shows the tab of that option.

    Args:
        also: values of further options.
    """
    attributes = {"data-choose": option, "data-value": value, "data-tab": tab, "title": tooltip}
    attributes |= {} if also is None else {"data-also": json.dumps(also)}
    written = " ".join(f'{name}="{html.escape(text)}"' for name, text in attributes.items())
    return f'<button type="button" class="nbd-offer" {written}>{html.escape(label)}</button>'


def progress_row(progress: Progress, tooltip: str) -> str:
    """Stop button, progress bar and title of a running command."""
    title = html.escape(progress.title)
    return (
        button("Stop", Stop.name, {}, tooltip)
        + f'<progress max="1" value="{progress.share:.2f}" aria-label="{title}"></progress>'
        f'<span class="nbd-verdict" title="{title}">{title}…</span>'
    )
