"""A self-contained HTML page: style, script, BokehJS and the data of the figures."""

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

# Nothing is fetched; the only scripts are this page's own and BokehJS, which it starts.
SECURITY_POLICY = (
    "default-src 'none'; script-src 'sha256-{script}' 'strict-dynamic'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; base-uri 'none'; "
    "form-action 'none'"
)
PAGE_TEMPLATE = """<!DOCTYPE html>
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
NOSCRIPT = '<noscript><p class="quiet">The plots of this page need JavaScript.</p></noscript>'


def html_page(title: str, body: str, roots: Sequence[UIElement], kind: str) -> str:
    """Build the page.

    Args:
        body: HTML; the boxes of `figure_box` mark where the figures go.
        roots: the figures.
        kind: "report", or "frame" for a page inside another page, whose colours it takes over.
    """
    from nbdebug.plots.ticks import log_ticks_script

    script = f"{log_ticks_script()}\n{_read_beside('report.js')}"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return PAGE_TEMPLATE.format(
        policy=SECURITY_POLICY.format(script=digest),
        title=html.escape(title),
        style=_read_beside("report.css"),
        kind=kind,
        body=body,
        data=_data(roots) if roots else "",
        script=script,
    )


def figure_box(made: figure) -> str:
    """Placeholder of a figure in the body of a page."""
    return f'<div class="plot" data-root="{made.id}" style="height:{made.height}px"></div>'


def _data(roots: Sequence[UIElement]) -> str:
    from bokeh.core.json_encoder import serialize_json
    from bokeh.document import Document

    document = Document()
    for root in roots:
        document.add_root(root)
    # Text of a run may contain "</script>"; JSON allows to escape the "<".
    numbers = serialize_json(document.to_json(deferred=False)).replace("<", "\\u003c")
    return (
        f'{NOSCRIPT}<script type="application/json" id="nbd-document">{numbers}</script>\n'
        f'<script type="text/plain" id="nbd-library">{_library()}</script>'
    )


def _library() -> str:
    """BokehJS of the installed package, compressed, as base64."""
    from bokeh.resources import Resources

    resources = Resources(mode="inline", components=["bokeh"], log_level="error")
    return base64.b64encode(gzip.compress("\n".join(resources.js_raw).encode(), 9)).decode()


def _read_beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
