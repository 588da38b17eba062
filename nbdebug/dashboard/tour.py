"""Short tour of the dashboard, shown by the button Help: each term opens its page of the docs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import anywidget
import ipywidgets

HERE = Path(__file__).parent
# In an installed package, and in a clone.
FOLDERS = (HERE / "pages", HERE.parents[1] / "docs")
RELATIVE_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)([^)]*)\)")
# What links to pages that came with the package begin with; see tour_links.js.
MARK = "#nbd-page-"
TIP = "Show or hide the page of the documentation, which needs no network"
MISSING = "This page did not come with the package: see docs/{} in the repository."


class Stop(NamedTuple):
    """A term of the tour, its explanation, and its page in docs/."""

    term: str
    text: str
    page: str


STOPS = (
    Stop("Run, Step, Reset", "Train until you press Pause, or for a number of steps or epochs. "
         "Reset starts again from the first weights; it asks before, and the old curve stays in "
         "grey.", "dashboard.md"),
    Stop("Controls", "Move a slider, or type into the number above it and press Enter. A new value "
         "takes effect at the next step, and a mark on the plots says when. Undo takes the last "
         "change back.", "controls.md"),
    Stop("Line above the plots", "The first thing that looks sick. Try trains a copy with and "
         "without the remedy; Keep or Discard then decides. Why? opens the tab Findings.",
         "findings.md"),
    Stop("Plots", "Drag to move, draw a box to zoom, and use the buttons at the edge of a plot to "
         "go back or to save a PNG. CSV beside a title saves the numbers that are shown.",
         "probes.md"),
    Stop("Network", "A histogram of each layer's output. A click on a layer opens it over time.",
         "inside.md"),
    Stop("Checklist", "A tab: what to look at before the first long run, in five steps.",
         "checklist.md"),
    Stop("Timeline", "A tab: rewind, fork, breakpoints, replay.", "timeline.md"),
    Stop("Clipping", "A tab: gradient norms before clipping, and the threshold.", "clipping.md"),
    Stop("Runs", "A tab: every training is recorded; compare, rerun, export.", "runs.md"),
    Stop("Keyboard", "Tab moves between controls, arrow keys move a slider or change the tab, "
         "Enter presses a button, Ctrl+Z takes the last change of a control back.", "dashboard.md"),
    Stop("More room", "In JupyterLab, right-click the dashboard and choose Create New View for "
         "Cell Output: it opens in a panel of its own and stays live.", "dashboard.md"),
    Stop("Close the page", "Training goes on in the kernel. Open the notebook again and the plots "
         "are complete.", "sharing.md"),
)  # fmt: skip


class PageLinks(anywidget.AnyWidget):
    """Hears clicks on links between pages, on behalf of the tour around it."""

    _esm = (HERE / "tour_links.js").read_text("utf-8")


class Tour:
    """Terms and their explanations; a click on a term shows its page below them.

    Links in a page lead to other pages that came with the package.

    The widgets are made when the tour is first shown.
    """

    def __init__(self) -> None:
        self.box = ipywidgets.VBox(layout=ipywidgets.Layout(display="none", width="100%"))
        self.box.add_class("nbd-tour")
        self.page: Any = None
        self._open: Stop | None = None

    def show(self, shown: bool) -> None:
        """Show or hide the tour."""
        if shown and self.page is None:
            self.page = ipywidgets.Output()
            self.page.add_class("nbd-tour-page")
            links = PageLinks()
            links.on_msg(lambda _, content, __: self._follow(content))
            self.box.children = (*(self._row(stop) for stop in STOPS), links, self.page)
        self.box.layout.display = "" if shown else "none"

    def _row(self, stop: Stop) -> Any:
        term = ipywidgets.Button(description=stop.term, tooltip=f"{TIP}: {stop.page}")
        term.add_class("nbd-tour-term")
        term.on_click(lambda _: self._toggle(stop))
        return ipywidgets.HBox([term, ipywidgets.HTML(stop.text)])

    def _toggle(self, stop: Stop) -> None:
        """Show the page of a term, or hide it when it is shown already."""
        self._open = None if stop == self._open else stop
        if self._open is None:
            self.page.outputs = ()
            return
        self._write(stop.page)

    def _follow(self, content: Any) -> None:
        """Show the page that a link names."""
        page = str(content.get("page")) if isinstance(content, dict) else ""
        if find_page(page) is not None:
            self._open = None
            self._write(page)

    def _write(self, page: str) -> None:
        text = read_page(page)
        shown = {"text/markdown": text, "text/plain": text}
        self.page.outputs = ({"output_type": "display_data", "data": shown, "metadata": {}},)


def find_page(name: str) -> Path | None:
    """Path of a page of the docs; None where it did not come with the package."""
    if Path(name).name != name or not name.endswith(".md"):
        return None
    return next((path for folder in FOLDERS if (path := folder / name).is_file()), None)


def read_page(name: str) -> str:
    """Markdown of a page of the docs; links to what did not come with the package are text."""
    path = find_page(name)
    if path is None:
        return MISSING.format(name)
    return RELATIVE_LINK.sub(_link_of_tour, path.read_text(encoding="utf-8"))


def _link_of_tour(found: re.Match[str]) -> str:
    page = found[2].partition("#")[0]
    return found[1] if find_page(page) is None else f"[{found[1]}]({MARK}{page})"
