"""A page of HTML that holds everything it shows: style, script, BokehJS and the numbers."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bokeh.models.ui import UIElement
    from bokeh.plotting import figure

# Nothing is fetched, and no script runs but ours and what ours starts (BokehJS).
POLICY = (
    "default-src 'none'; script-src 'sha256-{script}' 'strict-dynamic'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; base-uri 'none'; "
    "form-action 'none'"
)
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body class="{kind}">
{body}
{data}
<script>{script}</script>
</body>
</html>
"""
WITHOUT = '<noscript><p class="quiet">The plots of this page need JavaScript.</p></noscript>'


def shell(title: str, body: str, roots: Sequence[UIElement], kind: str) -> str:
    """The whole page.

    Args:
        body: HTML; a figure goes where `place` stands for it.
        roots: the figures.
        kind: "report", or "frame" for what lies in another page and takes over its colours.
    """
    script = _beside("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return PAGE.format(
        policy=POLICY.format(script=digest), title=html.escape(title), style=_beside("report.css"),
        kind=kind, body=body, data=_data(roots) if roots else "", script=script,
    )  # fmt: skip


def place(made: figure) -> str:
    """Where a figure goes."""
    return f'<div class="plot" data-root="{made.id}" style="height:{made.height}px"></div>'


def _data(roots: Sequence[UIElement]) -> str:
    from bokeh.core.json_encoder import serialize_json
    from bokeh.document import Document

    document = Document()
    for root in roots:
        document.add_root(root)
    # The text of a run may hold "</script>"; in JSON the sign before it may be written so.
    numbers = serialize_json(document.to_json(deferred=False)).replace("<", "\\u003c")
    return (
        f'{WITHOUT}<script type="application/json" id="nbd-document">{numbers}</script>\n'
        f'<script type="text/plain" id="nbd-library">{_library()}</script>'
    )


def _library() -> str:
    """BokehJS as it came with the installed package, compressed, as text."""
    from bokeh.resources import Resources

    resources = Resources(mode="inline", components=["bokeh"], log_level="error")
    return base64.b64encode(gzip.compress("\n".join(resources.js_raw).encode(), 9)).decode()


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
