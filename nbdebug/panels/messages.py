"""The line for what the user must see: failures first, then notices."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

import ipywidgets

from nbdebug.core.records import Notice
from nbdebug.core.snapshot import Snapshot

SHOWN = 20
COLOURS = {
    "error": "var(--jp-error-color1,#c62828)",
    "warning": "var(--jp-warn-color0,#b26a00)",
    "info": "var(--jp-ui-font-color2,#666)",
}
QUIET = '<div style="color:var(--jp-ui-font-color2,#666)">No messages.</div>'


class Messages:
    """One line of constant height; a click unfolds the rest.

    Args:
        more: notices that History does not hold, such as panels switched off.
    """

    def __init__(self, more: Callable[[], Sequence[Notice]] = tuple) -> None:
        self._more = more
        self.box = ipywidgets.HTML(
            QUIET, layout=ipywidgets.Layout(min_height="30px", width="100%", margin="2px 0")
        )

    def update(self, snapshot: Snapshot, limit: int) -> int:
        """Rewrite the line when there is something new and a message is left for it."""
        failure = snapshot.status.failure
        notices = [*reversed(self._more()), *reversed(snapshot.notices)]
        text = message_lines(failure, notices)
        if not limit or self.box.value == text:
            return 0
        self.box.value = text
        return 1


def message_lines(failure: Notice | None, notices: Sequence[Notice]) -> str:
    """HTML of all messages, the newest first, each folded to one line."""
    lines = [] if failure is None else [_line(failure)]
    lines += [_line(notice) for notice in notices if notice != failure][: SHOWN - len(lines)]
    if not lines:
        return QUIET
    first, rest = lines[0], lines[1:]
    if not rest:
        return f'<div role="status">{first}</div>'
    label = f"{len(rest)} earlier message{'s' if len(rest) > 1 else ''}"
    return (
        f'<div role="status">{first}</div><details><summary style="cursor:pointer">{label}'
        f'</summary><div style="max-height:180px;overflow:auto">{"".join(rest)}</div></details>'
    )


def _line(notice: Notice) -> str:
    title = html.escape(notice.title.rstrip("."))
    text = html.escape(notice.text)
    where = f"step {notice.step:,}"
    head = f'<b style="color:{COLOURS[notice.severity]}">{title}</b>'
    words = f'{head} <span style="opacity:.7">({where})</span>. {text}'
    if not notice.traceback:
        return f'<div style="line-height:1.5">{words}</div>'
    return (
        '<details style="line-height:1.5"><summary style="cursor:pointer">'
        f"{words}</summary>"
        '<pre style="max-height:320px;overflow:auto;font-size:12px;line-height:1.4;'
        'padding:8px;background:var(--jp-layout-color2,#eee);color:inherit">'
        f"{html.escape(notice.traceback)}</pre></details>"
    )
