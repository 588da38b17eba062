"""The dashboard: toolbar, controls, messages and plots in one widget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets
from bokeh.models import ColumnDataSource
from bokeh.models.ui import UIElement

from nbdebug.core.commands.base import SET_CONTROLS
from nbdebug.core.commands.queue import CommandQueue, Ticket
from nbdebug.core.control_spec import ControlState
from nbdebug.core.history.history import History
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.plugins import discover
from nbdebug.core.results.run_list import NotRecorded, RunListSource
from nbdebug.dashboard.close_widgets import close_tree
from nbdebug.dashboard.control_form import ControlForm
from nbdebug.dashboard.messages import Messages
from nbdebug.dashboard.pump import TICKS_PER_SECOND, Part, Pump, switched_off
from nbdebug.dashboard.refusals import Refusals
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
        request: asks for a command by name, with the fields of its form; may refuse by raising.
        title: name of the training.
        rate: updates per second.
        panels: the plots; all that are installed when None.
        diagnose: called at every tick; brings findings up to date when that is due.
        attend: by name of a tab, called at every tick at which somebody sees that tab.
        runs: the list of runs beside this one; None where nothing is recorded.
        start: tick in a thread; False leaves it to the caller to call `tick`.
    """

    def __init__(
        self,
        history: History,
        queue: CommandQueue,
        controls: Callable[[], Sequence[ControlState]],
        request: Callable[[str, Mapping[str, Any]], Sequence[Ticket]],
        *,
        title: str = "",
        rate: float = TICKS_PER_SECOND,
        panels: Sequence[type[Panel]] | None = None,
        diagnose: Callable[[], None] = lambda: None,
        attend: Mapping[str, Callable[[], None]] | None = None,
        runs: RunListSource | None = None,
        start: bool = True,
    ) -> None:
        self._request, choices = request, PlotOptions()
        failures: list[tuple[str, Exception]] = []
        runs = runs or NotRecorded()
        context = PanelContext(choices, controls, self._ask, lambda: runs.run_list)
        if panels is None:
            panels = discover("nbdebug.panels", Panel, lambda *failed: failures.append(failed))
        built = self._build_view([panel(context) for panel in panels], context, failures)
        self.refusals = Refusals(self._show_refusal, self._wake)
        self.toolbar = Toolbar(lambda name, fields: self._ask("", name, fields), title)
        self.messages = Messages(lambda: self.pump.failures)
        self.form = ControlForm(controls, self._set_controls, queue.pending, self._wake)
        parts = (
            _part(diagnose), _part(lambda: self._attend(attend or {})), self.refusals.update,
            self.toolbar.update, self.messages.update, self.form.update,
        )  # fmt: skip
        self.pump = Pump(
            history, queue, self.view, built, choices, parts, rate, lambda: runs.version
        )
        for subject, error in failures:
            self.pump.fail(f"The plot {subject!r} could not be made", error)
        rows = (self.toolbar.box, self.form.box, self.messages.box, self.view)
        super().__init__(rows, layout=ipywidgets.Layout(width="100%", overflow="hidden"))
        self.tick()
        if start:
            self.pump.start()

    def _build_view(
        self,
        panels: Sequence[Panel],
        context: PanelContext,
        failures: list[tuple[str, Exception]],
    ) -> list[Panel]:
        """Build the panels and the view that shows them; returns those that could be built."""
        built, places, notes = _build(panels, failures)
        self.view = BokehView(places, context.choices, self._wake, self._ask)
        context.sink = self.view
        for name, text in notes.items():
            self.view.set_note(name, text)
        return built

    def _wake(self) -> None:
        self.pump.wake()

    def _ask(self, panel: str, command: str, fields: Mapping[str, Any]) -> None:
        self.refusals.watch(panel, lambda: self._request(command, fields))
        self._wake()

    def _show_refusal(self, panel: str, text: str) -> None:
        """Show it in the panel; those of the toolbar under the controls."""
        if panel:
            self.view.set_refusal(panel, text)
        elif text:
            self.form.remark("", text)

    def _set_controls(self, values: Mapping[str, Any]) -> Sequence[Ticket]:
        return self._request(SET_CONTROLS, {"settings": values})

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
