"""An anywidget view of one Bokeh document: kernel to browser, one message a tick."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import anywidget
import bokeh
import traitlets
from bokeh.model import Model
from bokeh.models.ui import UIElement
from bokeh.resources import Resources

from nbdebug.dashboard.view.html_state import HtmlState
from nbdebug.dashboard.view.mirror import BUDGET, Mirror, Packet
from nbdebug.dashboard.view.tab_roots import PanelRoot, TabRoots
from nbdebug.panels.base import OVERVIEW, Ask
from nbdebug.plots.columns import Values
from nbdebug.plots.plot_actions import PlotActions
from nbdebug.plots.plot_options import PlotOptions
from nbdebug.plots.ticks import log_ticks_script

MAX_VIEWS = 8
# Joined into one module, which is what anywidget loads.
ESM_FILES = (
    "still.js", "link.js", "control_keys.js", "take_along.js", "legends.js", "painting.js",
    "panel_box.js", "option_slider.js", "view_frame.js", "view_theme.js", "figures.js",
    "bokeh_view.js",
)  # fmt: skip
CSS_FILES = ("host_theme.css", "bokeh_view.css")


@dataclass(frozen=True, slots=True)
class PanelPlacement:
    """Position of a panel and the text around it, known before it is built."""

    name: str
    tab: str
    title: str
    help: str
    height: int
    wide: bool


def _beside(name: str) -> Path:
    return Path(__file__).with_name(name)


class BokehView(anywidget.AnyWidget):
    """Shows one Bokeh document in any number of views, each always up to date.

    `set_data`, `set_prop` and `set_note` only record; `flush` sends the difference. The figures
    of a tab join the document when `add_tab` is called. A view that opens, or misses a message,
    sends `hello` and gets everything. Views send back only
    actions of the viewer: tab shown, option chosen, button pressed. A view that gets no answer
    sends `pull` a few times a second, and is answered in the handler of the message.

    Args:
        placements: one for each panel, in the order of the page.
        choices: the drop-downs above the plots.
        wake: called on any thread when a view requests something.
        ask: called on any thread with panel, command and fields when a button is pressed.

    Attributes:
        answer: called when a view pulls; flushes. push: called when a view needs not pull any more.
        still: HTML of the last state, shown by a view that no kernel answers; still_class: CSS
            class of the output with the same, hidden while there is a view.
    """

    _esm = "\n".join([log_ticks_script(), *(_beside(n).read_text("utf-8") for n in ESM_FILES)])
    # The text: anywidget would keep every view alive to tell it of changes of the file.
    _css = "\n".join(_beside(name).read_text("utf-8") for name in CSS_FILES)
    bokeh_version = traitlets.Unicode(bokeh.__version__).tag(sync=True)
    still = traitlets.Unicode().tag(sync=True)
    still_class = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        placements: Sequence[PanelPlacement],
        choices: PlotOptions,
        wake: Callable[[], None] = lambda: None,
        ask: Ask = lambda panel, command, fields: None,
    ) -> None:
        self._roots = TabRoots()
        self._mirror = Mirror(self._roots.__contains__)
        self._choices = choices
        self._choices_sent = -1
        self._wake, self._ask = wake, ask
        self.answer: Callable[[], None] = lambda: None
        self.push: Callable[[], None] = lambda: None
        self._html_state = HtmlState()
        first = [placement for placement in placements if placement.tab == OVERVIEW]
        self._overview = [asdict(placement) for placement in first]
        self._tabs = _tabs([placement for placement in placements if placement.tab != OVERVIEW])
        self._first_tab = self._tabs[0]["name"] if self._tabs else ""
        self._sequence = 0
        self._lock = threading.Lock()
        self._shown: dict[str, str] = {}
        self._hellos: dict[str, bool] = {}
        super().__init__()
        self.on_msg(self._on_message)

    # Called by the pump.

    def encode(self, panel: str, height: int, root: UIElement | None) -> PanelRoot:
        """Encode what a panel has built; see `TabRoots.encode`."""
        return self._roots.encode(panel, height, root)

    def add_tab(self, tab: str, panels: Sequence[PanelRoot]) -> None:
        """Record the figures of a tab, once; the next flush sends them."""
        self._roots.add(tab, panels)

    def set_data(self, source: Model, columns: Values) -> None:
        """Record all columns of a source; see `Mirror.set_data`."""
        self._mirror.set_data(source.id, columns)

    def set_prop(self, model: Model, attribute: str, value: Any) -> None:
        """Record a property: JSON values, dicts with any keys, models of the document."""
        self._mirror.set_prop(model.id, attribute, _encode(value))

    def set_note(self, panel: str, text: str) -> None:
        """Record the text over a panel, "" for none."""
        self._html_state.set("notes", panel, text)

    def set_alternative(self, panel: str, text: str) -> None:
        """Record what a plot shows, for who cannot see it."""
        self._html_state.set("alternatives", panel, text)

    def set_actions(self, panel: str, actions: PlotActions) -> None:
        """Record the sentence and the buttons under a panel."""
        self._html_state.set("actions", panel, actions.describe())

    def set_section(self, panel: str, section: str, page: str) -> None:
        """Record HTML of a panel without a plot; sections are shown in the order of their names.

        A button with `data-command` and `data-fields` (JSON) requests that command; a `details`
        with `data-key` stays open when its section changes.
        """
        self._html_state.set("sections", f"{panel}/{section}", page)

    def set_hidden(self, panel: str, hidden: bool) -> None:
        """Record if a panel is left out, as one that has nothing to show for this model."""
        self._html_state.set("hidden", panel, hidden)

    def set_refusal(self, panel: str, text: str) -> None:
        """Record the reason why a command of a panel was refused, "" for none."""
        self._html_state.set("refusals", panel, text)

    def set_status(self, state: str, text: str) -> None:
        """Record the state of training, and a sentence about it for a notification."""
        self._html_state.set("status", "now", {"state": state, "text": text})

    @property
    def visible(self) -> frozenset[str]:
        """Tabs that are shown in any view, with OVERVIEW, which every view shows."""
        with self._lock:
            return frozenset(self._shown.values()) | ({OVERVIEW} if self._shown else set())

    @property
    def seen(self) -> bool:
        """True if any view shows this widget."""
        return bool(self._shown)

    @property
    def waiting(self) -> bool:
        """True if a view has requested a snapshot."""
        return bool(self._hellos)

    def flush(self, budget: int = BUDGET) -> int:
        """Send changes since the last flush in at most one message; none without changes.

        Each view that sent `hello` also gets a snapshot.

        Returns:
            Number of messages sent to all views.
        """
        with self._lock:
            hellos, self._hellos = self._hellos, {}
            listeners = len(self._shown) - len(self._shown.keys() & hellos.keys())
        sent = 0
        if listeners:
            sent = self._send_tick(budget)
        elif hellos:
            self._mirror.promote()
            self._choices_sent = self._choices.version
            self._html_state.changes()
            self._roots.unsent()
        for view, library in hellos.items():
            self._send_snapshot(view, library)
        return sent

    def _send_tick(self, budget: int) -> int:
        extra: dict[str, Any] = {}
        version = self._choices.version
        if version != self._choices_sent:
            extra["choices"] = self._choices.describe()
            self._choices_sent = version
        # The other half is for the plots.
        extra |= self._html_state.changes(budget // 2)
        packet = self._mirror.tick(budget - len(str(extra)))
        # Figures come once, whole, and before their data.
        if built := self._roots.unsent():
            extra["built"] = built
        if not packet and not extra:
            return 0
        self._sequence += 1
        self.send({"kind": "tick", **self._content(packet), **extra}, [packet.buffer()])
        return 1

    def _send_snapshot(self, view: str, library: bool) -> None:
        if library:
            library_of = {"kind": "library", "view": view, "version": bokeh.__version__}
            self.send(library_of, [_library()])
        packet = self._mirror.everything()
        content = {
            "kind": "snapshot",
            "view": view,
            "version": bokeh.__version__,
            "overview": self._overview,
            "tabs": self._tabs,
            "built": self._roots.everything(),
            "choices": self._choices.describe(),
            **self._html_state.everything(),
            **self._content(packet),
        }
        self.send(content, [packet.buffer()])

    def probe(self) -> None:
        """Send a message from the thread of the pump, to see if it arrives at a view that pulls."""
        self.send({"kind": "probe"})

    def _content(self, packet: Packet) -> dict[str, Any]:
        return {"sequence": self._sequence, "sources": packet.sources, "props": packet.props}

    # Called on any thread: only stores requests, except for a pull.

    def _on_message(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        kind, view = content.get("kind"), str(content.get("view"))
        hello = kind == "hello" or (kind == "pull" and bool(content.get("hello")))
        with self._lock:
            if hello:
                self._hellos[view] = bool(content.get("library"))
            if hello or kind == "show":
                self._shown.pop(view, None)
                self._shown[view] = str(content.get("tab") or self._first_tab)
                while len(self._shown) > MAX_VIEWS:
                    self._shown.pop(next(iter(self._shown)))
            if kind == "bye":
                self._shown.pop(view, None)
                self._hellos.pop(view, None)
        if kind == "pull":
            self.answer()
            self.send({"kind": "pulled", "view": view})
            return
        if kind == "push":
            self.push()
        if kind == "choose":
            self._choices.pick(str(content.get("name")), str(content.get("value")))
        if kind == "ask" and isinstance(content.get("fields"), dict):
            panel, command = str(content.get("panel", "")), str(content.get("command"))
            self._ask(panel, command, content["fields"])
        self._wake()


def _tabs(placements: Sequence[PanelPlacement]) -> list[dict[str, Any]]:
    tabs: dict[str, list[dict[str, Any]]] = {}
    for placement in placements:
        tabs.setdefault(placement.tab, []).append(asdict(placement))
    return [{"name": name, "panels": panels} for name, panels in tabs.items()]


def _library() -> bytes:
    """BokehJS of the installed package, compressed."""
    resources = Resources(mode="inline", components=["bokeh"], log_level="error")
    return gzip.compress("\n".join(resources.js_raw).encode(), 6)


def _encode(value: Any) -> Any:
    if isinstance(value, Model):
        return {"model": value.id}
    if isinstance(value, dict):
        return {"map": [list(pair) for pair in value.items()]}
    return value
