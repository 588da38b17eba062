"""Message line of the dashboard: failures first, then notices."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

import ipywidgets

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Notice

MAX_SHOWN_MESSAGES = 20
SEVERITY_COLOURS = {
    "error": "var(--jp-error-color1,#c62828)",
    "warning": "var(--jp-warn-color0,#b26a00)",
    "info": "var(--jp-ui-font-color2,#666)",
}


class Messages:
    """One line, empty without a message; a click unfolds all messages.

    Args:
        more: returns notices that History does not hold, such as failed panels.
    """

    def __init__(self, more: Callable[[], Sequence[Notice]] = tuple) -> None:
        self._more = more
        self.box = ipywidgets.HTML()
        self.box.add_class("nbd-messages")

    def update(self, snapshot: Snapshot, limit: int) -> int:
        """Rewrite the line if its text changed and `limit` allows a message."""
        failure = snapshot.status.failure
        # Findings have a line of their own.
        said = [notice for notice in snapshot.notices if notice.kind != "finding"]
        notices = [*reversed(self._more()), *reversed(said)]
        text = message_lines(failure, notices)
        if not limit or self.box.value == text:
            return 0
        self.box.value = text
        return 1


def message_lines(failure: Notice | None, notices: Sequence[Notice]) -> str:
    """HTML of all messages, the latest first, folded to one line; "" without a message."""
    lines = [] if failure is None else [failure]
    lines += [notice for notice in notices if notice != failure][: MAX_SHOWN_MESSAGES - len(lines)]
    if not lines:
        return ""
    first, rest = lines[0], lines[1:]
    count = f" (and {len(rest)} more)" if rest else ""
    body = _text(first) + "".join(f"<hr><div>{_head(one)}</div>{_text(one)}" for one in rest)
    return (
        # No width of its own: a long line is cut off instead of widening the dashboard.
        '<details role="status" style="line-height:1.5;width:0;min-width:100%">'
        '<summary style="cursor:pointer;white-space:nowrap;overflow:hidden;text-overflow:ellipsis">'
        f"{_head(first)} {html.escape(first.text)}{count}</summary>"
        f'<div style="max-height:360px;overflow:auto;padding:4px 16px">{body}</div></details>'
    )


def _head(notice: Notice) -> str:
    title = html.escape(notice.title.rstrip("."))
    return (
        f'<b style="color:{SEVERITY_COLOURS[notice.severity]}">{title}</b> '
        f'<span style="opacity:.7">(step {notice.step:,})</span>.'
    )


def _text(notice: Notice) -> str:
    text = f'<div style="overflow-wrap:anywhere">{html.escape(notice.text)}</div>'
    if not notice.traceback:
        return text
    return (
        f'{text}<pre style="overflow:auto;font-size:12px;line-height:1.4;padding:8px;'
        'background:var(--jp-layout-color2,#eee);color:inherit">'
        f"{html.escape(notice.traceback)}</pre>"
    )
