"""The dashboard: toolbar, controls, messages and plots in one widget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets

from nbdebug.core.commands.base import SET_CONTROLS
from nbdebug.core.commands.queue import CommandSink, Ticket
from nbdebug.core.control_spec import ControlState
from nbdebug.core.error_text import raise_interrupt
from nbdebug.core.history.history import History
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.plugins import discover
from nbdebug.core.results.run_list import NotRecorded, RunListSource
from nbdebug.dashboard.close_widgets import close_tree
from nbdebug.dashboard.control_form import ControlForm
from nbdebug.dashboard.messages import Messages
from nbdebug.dashboard.pump import TICKS_PER_SECOND, Part, Pump
from nbdebug.dashboard.refusals import Refusals
from nbdebug.dashboard.reply_route import leave_to_front_end
from nbdebug.dashboard.send_widgets import send_tree
from nbdebug.dashboard.still.output import StillOutput
from nbdebug.dashboard.toolbar import Toolbar
from nbdebug.dashboard.view.bokeh_view import BokehView, PanelPlacement
from nbdebug.errors import PluginError
from nbdebug.panels.base import Panel, PanelContext
from nbdebug.plots.plot_options import PlotOptions


class Dashboard(ipywidgets.VBox):  # type: ignore[misc]
    """Widget that shows a training while it runs and requests commands.

    Args:
        history: of the training.
        queue: receives the commands.
        controls: returns the controls with their values in force.
        request: requests a command by name, with the fields of its form; raises to refuse.
        title: name of the training.
        rate: updates per second.
        panels: the plots; None for all that are installed.
        diagnose: called at every tick; updates the findings if they are due.
        attend: callbacks by name of a tab, called at every tick while a view shows the tab.
        runs: list of recorded runs; None if this training is not recorded.
        start: tick in a thread; False if the caller calls `tick`.

    Attributes:
        displayed: whether the widget was displayed.
    """

    displayed = False

    def __init__(
        self,
        history: History,
        queue: CommandSink,
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
        self._request, self._title, choices = request, title, PlotOptions()
        failures: list[tuple[str, BaseException]] = []
        runs = runs or NotRecorded()
        context = PanelContext(choices, controls, self._ask, lambda: runs.run_list)
        made = self._make_view(panels, context, failures)
        self.refusals = Refusals(self._show_refusal, self._wake)
        self.toolbar = Toolbar(lambda name, fields: self._ask("", name, fields), title)
        self.messages = Messages(lambda: self.pump.failures)
        self.form = ControlForm(controls, self._set_controls, queue.pending, self._wake)
        self.still = StillOutput(history, controls, title, self.view)
        parts = (
            _as_part(diagnose), _as_part(lambda: self._attend(attend or {})), self.refusals.update,
            self._tell_status, self.toolbar.update, self.messages.update,
            self.form.update, self.still.update,
        )  # fmt: skip
        self.pump = Pump(
            history, queue, self.view, made, choices, parts, rate, lambda: runs.version
        )
        for subject, error in failures:
            self.pump.fail(f"The plot {subject!r} could not be made", error)
        super().__init__(self._rows())
        self._connect()
        self.tick()
        if start:
            self.pump.start()

    def _rows(self) -> tuple[Any, ...]:
        main = ipywidgets.Box([self.form.box, self.view])
        main.add_class("nbd-main")
        return self.toolbar.box, self.messages.box, main

    def _make_view(
        self,
        panels: Sequence[type[Panel]] | None,
        context: PanelContext,
        failures: list[tuple[str, BaseException]],
    ) -> list[Panel]:
        """Make the panels, in the order of the page, and their view; the pump builds them."""
        if panels is None:
            panels = discover("nbdebug.panels", Panel, lambda *failed: failures.append(failed))
        made = _instances(panels, context, failures)
        made.sort(key=lambda panel: (panel.order, panel.name))
        self.view = BokehView(_placements(made), context.choices, self._wake, self._ask)
        context.sink = self.view
        return made

    def _wake(self) -> None:
        self.pump.wake()

    def _connect(self) -> None:
        """Let views ask, and let style sheets know the widget."""
        leave_to_front_end(self)
        self.view.answer = lambda: self.pump.answer(lambda: send_tree(self))
        self.view.push = self.pump.push
        self.add_class("nbd-dashboard")

    def _ask(self, panel: str, command: str, fields: Mapping[str, Any]) -> None:
        self.refusals.watch(panel, lambda: self._request(command, fields))
        self._wake()

    def _show_refusal(self, panel: str, text: str) -> None:
        """Show a refusal in its panel, one of the toolbar under the controls."""
        if panel:
            self.view.set_refusal(panel, text)
        elif text:
            self.form.remark("", text)

    def _set_controls(self, values: Mapping[str, Any]) -> Sequence[Ticket]:
        return self._request(SET_CONTROLS, {"settings": values})

    def _attend(self, by_tab: Mapping[str, Callable[[], None]]) -> None:
        for tab in self.view.visible & by_tab.keys():
            by_tab[tab]()

    def _tell_status(self, snapshot: Snapshot, limit: int) -> int:
        """Let views notify the user of the end of a run; sends no message itself."""
        status, loss = snapshot.status, snapshot.latest.get("loss")
        why = status.state if status.failure is None else status.failure.title
        text = f"{self._title}: {why} at step {status.step:,}"
        text += "" if loss is None else f", loss {loss:.4g}"
        # While training runs the sentence would be another one at every tick.
        self.view.set_status(status.state, "" if status.state == "running" else text)
        return 0

    def tick(self) -> int:
        """Update everything now; return the number of messages sent."""
        return self.pump.tick()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        self.displayed = True
        return super()._repr_mimebundle_(**kwargs)

    def _ipython_display_(self) -> None:
        self.still.show(self._repr_mimebundle_())

    def close(self) -> None:
        """Stop the thread and remove all widgets. May be called twice."""
        self.pump.close()
        self.still.close()
        self._close_widgets()

    def retire(self) -> None:
        """Stop the thread and remove all widgets soon; returns at once, in any thread."""
        self.pump.retire(self._close_widgets)

    def _close_widgets(self) -> None:
        if self.comm is not None:
            close_tree(self)
            super().close()


def _as_part(act: Callable[[], None]) -> Part:
    def part(snapshot: Snapshot, limit: int) -> int:
        act()
        return 0

    return part


def _instances(
    kinds: Sequence[type[Panel]],
    context: PanelContext,
    failures: list[tuple[str, BaseException]],
) -> list[Panel]:
    """Make every panel; one that raises, or that has no name, tab or title, is left out."""
    made = []
    for kind in kinds:
        try:
            panel = kind(context)
            texts = panel.name, panel.tab, panel.title, panel.help
            if not all(isinstance(text, str) for text in texts):
                raise PluginError("name, tab, title and help of a panel must be texts")
            if not isinstance(panel.height, int):
                raise PluginError("height of a panel must be a whole number of pixels")
            made.append(panel)
        except BaseException as error:
            raise_interrupt(error)
            failures.append((kind.__name__, error))
    return made


def _placements(panels: Sequence[Panel]) -> list[PanelPlacement]:
    return [
        PanelPlacement(
            panel.name, panel.tab, panel.title, panel.help, panel.height, bool(panel.wide)
        )
        for panel in panels
    ]
