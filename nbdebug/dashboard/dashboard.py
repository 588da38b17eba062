"""The dashboard: header, controls, messages and plots in one widget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets
from bokeh.models import ColumnDataSource
from bokeh.models.ui import UIElement

from nbdebug.core.commands.queue import CommandQueue
from nbdebug.core.control_spec import ControlState
from nbdebug.core.history.history import History
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.plugins import discover
from nbdebug.dashboard.close_widgets import close_tree
from nbdebug.dashboard.control_form import ControlForm
from nbdebug.dashboard.messages import Messages
from nbdebug.dashboard.pump import TICKS_PER_SECOND, Part, Pump, switched_off
from nbdebug.dashboard.toolbar import Toolbar
from nbdebug.dashboard.view.bokeh_view import BokehView, Place
from nbdebug.panels.base import Panel, PanelContext
from nbdebug.plots.figures import plain_figure
from nbdebug.plots.plot_options import PlotOptions


class Dashboard(ipywidgets.VBox):  # type: ignore[misc]
    """Shows a training while it runs and passes on what the viewer wants.

    Args:
        history: the numbers of the training.
        queue: takes commands.
        controls: gives the controls as they stand.
        request: asks for a new value of a control; may refuse by raising.
        title: what is trained.
        rate: updates per second.
        panels: the plots; all that are installed when None.
        diagnose: called at every tick; brings findings up to date when that is due.
        attend: by name of a tab, called at every tick at which somebody sees that tab.
        start: tick in a thread; False leaves it to the caller to call `tick`.
    """

    def __init__(
        self,
        history: History,
        queue: CommandQueue,
        controls: Callable[[], Sequence[ControlState]],
        request: Callable[[str, Any], None],
        *,
        title: str = "",
        rate: float = TICKS_PER_SECOND,
        panels: Sequence[type[Panel]] | None = None,
        diagnose: Callable[[], None] = lambda: None,
        attend: Mapping[str, Callable[[], None]] | None = None,
        start: bool = True,
    ) -> None:
        failures: list[tuple[str, Exception]] = []
        choices = PlotOptions()
        context = PanelContext(choices, controls, self._ask)
        if panels is None:
            panels = discover("nbdebug.panels", Panel, lambda *failed: failures.append(failed))
        made = [panel(context) for panel in panels]
        built, places, notes = _build(made, failures)
        self.view = BokehView(places, choices, self._wake, self._ask)
        context.sink = self.view
        for name, text in notes.items():
            self.view.set_note(name, text)
        self.header = Toolbar(queue, title)
        self.messages = Messages(lambda: self.pump.failures)
        self.board = ControlForm(controls, request, queue.pending, self._wake)
        looks = (_part(diagnose), _part(lambda: self._attend(attend or {})))
        parts = (*looks, self.header.update, self.messages.update, self.board.update)
        self.pump = Pump(history, queue, self.view, built, choices, parts, rate)
        for subject, error in failures:
            self.pump.fail(f"The plot {subject!r} could not be made", error)
        rows = [self.header.box, self.board.box, self.messages.box, self.view]
        super().__init__(rows, layout=ipywidgets.Layout(width="100%", overflow="hidden"))
        self.tick()
        if start:
            self.pump.start()

    def _wake(self) -> None:
        self.pump.wake()

    def _ask(self, control: str, value: Any) -> None:
        self.board.ask(control, value)

    def _attend(self, by_tab: Mapping[str, Callable[[], None]]) -> None:
        for tab in self.view.visible & by_tab.keys():
            by_tab[tab]()

    def tick(self) -> int:
        """Bring everything up to date now; returns how many messages that took."""
        return self.pump.tick()

    def close(self) -> None:
        """End the thread and remove all widgets. May be called twice."""
        self.pump.close()
        if self.comm is not None:
            close_tree(self)
            super().close()


def _part(act: Callable[[], None]) -> Part:
    def look(snapshot: Snapshot, limit: int) -> int:
        act()
        return 0

    return look


def _build(
    panels: Sequence[Panel], failures: list[tuple[str, Exception]]
) -> tuple[list[Panel], list[Place], dict[str, str]]:
    """Build every panel; one that fails leaves an empty plot with the reason."""
    built, places, notes = [], [], {}
    for panel in sorted(panels, key=lambda panel: (panel.order, panel.name)):
        try:
            root: UIElement | None = panel.build()
            built.append(panel)
        except Exception as error:
            failures.append((panel.name, error))
            notes[panel.name] = switched_off(error)
            root = plain_figure(panel.name, panel.height)
            root.scatter("x", "y", source=ColumnDataSource({"x": [], "y": []}))
        places.append(
            Place(panel.name, panel.tab, panel.title, panel.help, panel.height, panel.wide, root)
        )
    return built, places, notes
