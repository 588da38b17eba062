"""Building of the panels of a tab when the tab is shown for the first time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bokeh.models import ColumnDataSource
from bokeh.models.ui import UIElement

from nbdebug.core.error_text import describe_error, raise_interrupt
from nbdebug.dashboard.view.bokeh_view import BokehView
from nbdebug.dashboard.view.tab_roots import PanelRoot
from nbdebug.errors import PluginError
from nbdebug.panels.base import OVERVIEW, Panel
from nbdebug.plots.figures import plain_figure

MAX_ERROR_LENGTH = 300


class TabBuilder:
    """Builds every panel once, with the others of its tab, and hands the figures to the view.

    Args:
        panels: in the order of the page.
        fail: called with a panel that raised and its error; the panel becomes an empty plot with
            the reason.
    """

    def __init__(
        self,
        panels: Sequence[Panel],
        view: BokehView,
        fail: Callable[[Panel, BaseException], None],
    ) -> None:
        self._view, self._fail = view, fail
        self._waiting: dict[str, list[Panel]] = {}
        for panel in panels:
            self._waiting.setdefault(panel.tab, []).append(panel)
        self._built: dict[str, list[PanelRoot]] = {tab: [] for tab in self._waiting}

    def build(self, visible: frozenset[str]) -> None:
        """Build the panels of the tabs that were not built yet."""
        # Panels of the overview offer options that those of tabs read.
        for tab in sorted(self._waiting.keys() & visible, key=lambda tab: (tab != OVERVIEW, tab)):
            waiting, built = self._waiting[tab], self._built[tab]
            # An interrupt leaves what was built, and the next call goes on from there.
            while waiting:
                built.append(self._build_panel(waiting[0]))
                del waiting[0]
            self._view.add_tab(tab, built)
            del self._waiting[tab]

    def _build_panel(self, panel: Panel) -> PanelRoot:
        try:
            root = panel.build()
            if not isinstance(root, UIElement | None):
                raise PluginError("build of a panel must return the root of its plot, or None")
            return self._view.encode(panel.name, panel.height, root)
        except BaseException as error:
            raise_interrupt(error)
            self._fail(panel, error)
            self._view.set_note(panel.name, switched_off(error))
            empty = plain_figure(panel.name, panel.height)
            empty.scatter("x", "y", source=ColumnDataSource({"x": [], "y": []}))
            return self._view.encode(panel.name, panel.height, empty)


def switched_off(error: BaseException) -> str:
    """Text over a plot that failed."""
    return f"This plot was switched off; training continues. {brief_error(error)}"


def brief_error(error: BaseException) -> str:
    """Error in at most 300 characters."""
    text = describe_error(error)
    return text if len(text) <= MAX_ERROR_LENGTH else text[:MAX_ERROR_LENGTH] + "..."
