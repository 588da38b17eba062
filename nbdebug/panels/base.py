"""The contract of a panel: build once, update in place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, ClassVar, Protocol, cast

import numpy as np
from bokeh.model import Model
from bokeh.models.ui import UIElement
from numpy.typing import NDArray

from nbdebug.core.control_spec import ControlSpec, ControlState
from nbdebug.core.history.snapshot import Axis, Snapshot
from nbdebug.core.records import Array, ControlChange
from nbdebug.core.results.run_list import RunList
from nbdebug.core.series import Series
from nbdebug.plots.columns import Values
from nbdebug.plots.markers import Markers, axis_position, marker_columns, note_columns
from nbdebug.plots.plot_actions import PlotActions
from nbdebug.plots.plot_options import PlotOptions
from nbdebug.plots.time_axis import PADDING, TimeAxis

MAX_POINTS = 1000
# Panels of this tab stand above the tabs, in the first view.
OVERVIEW = "Overview"
Ask = Callable[[str, str, Mapping[str, Any]], None]
AXIS_OPTIONS = (("step", "steps"), ("samples", "samples"), ("epoch", "epochs"))
MAX_READ_OUT = 12
# The part of a training that "last ..." shows: the first of these that holds some points.
WINDOW_STEPS, MIN_WINDOW_POINTS = (500, 1000, 2000), 60
# A branch that a rewind left is seen as far as this share of the live curve.
BRANCH_SHARE = 0.25


class PlotSink(Protocol):
    """Receiver of everything that panels show; only records, the next flush sends."""

    def set_data(self, source: Model, columns: Values) -> None: ...

    def set_prop(self, model: Model, attribute: str, value: Any) -> None: ...

    def set_note(self, panel: str, text: str) -> None: ...

    def set_alternative(self, panel: str, text: str) -> None: ...

    def set_actions(self, panel: str, actions: PlotActions) -> None: ...

    def set_section(self, panel: str, section: str, page: str) -> None: ...

    def set_hidden(self, panel: str, hidden: bool) -> None: ...


class PanelContext:
    """Shared by all panels of a dashboard: the sink, the plot options, the time axis.

    Args:
        states: returns the controls with their values in force; plots use their labels.
        ask: requests a command; gets the name of the panel, of the command, and its fields.
        run_list: returns the runs recorded in the same store.
    """

    def __init__(
        self,
        choices: PlotOptions,
        states: Callable[[], Sequence[ControlState]] = tuple,
        ask: Ask = lambda panel, command, fields: None,
        run_list: Callable[[], RunList] = RunList,
    ) -> None:
        self.choices, self._states, self.ask = choices, states, ask
        self.run_list = run_list
        self.controls = [state.spec for state in states()]
        self._labels = {spec.name: spec.label for spec in self.controls}
        choices.offer("axis", "Time in", OVERVIEW, AXIS_OPTIONS, panel="grad_norm")
        self.offer_window(Snapshot())
        self.time = TimeAxis()
        self.time_range, self.markers = self.time.range, self.time.markers
        self.sink: PlotSink = NoSink()
        self._marked: tuple[int, str, int] | None = None

    @property
    def axis(self) -> Axis:
        """Unit of the time axis."""
        return cast(Axis, self.choices["axis"])

    @property
    def specs(self) -> dict[str, ControlSpec]:
        """The controls by name."""
        return {spec.name: spec for spec in self.controls}

    def offer_window(self, snapshot: Snapshot) -> None:
        """Let the viewer choose between all steps and the last ones."""
        steps = window_steps(snapshot.series.get("samples"))
        options = (("all", "all"), ("last", f"last {steps:,}"))
        self.choices.offer("window", "Steps shown", OVERVIEW, options, panel="loss")

    def window(self, snapshot: Snapshot) -> tuple[float, float]:
        """First and last position of the steps to show, on the time axis."""
        track = snapshot.series.get("samples")
        if track is None or not len(track):
            return 0.0, 1.0
        first, last = int(track.step[0]), max(snapshot.status.step - 1, int(track.step[-1]))
        until = last
        if self.choices["window"] == "last":
            first = max(first, last - window_steps(track) + 1)
        else:
            gone = max((branch.until for branch in snapshot.branches), default=0)
            until = min(max(gone, last), last + int(BRANCH_SHARE * (last - first)))
        low, high = snapshot.position(np.array([first, last]), self.axis)
        if until > last and last > first:
            high += (high - low) * (until - last) / (last - first)
        return float(low), float(max(high, low + 1 if high <= low else high))

    def show_window(self, snapshot: Snapshot, low: float, high: float) -> None:
        """Let the time axis, and the y axis of the figure that follows it, show the window.

        Args:
            low, high: ends of the y axis.
        """
        there = bool(len(snapshot.series.get("samples", ())))
        x = list(self.window(snapshot)) if there else []
        self.sink.set_data(self.time.shown, {"x": x, "y": [low, high] if there else []})
        # A range that the viewer zoomed follows again when its padding changes.
        chosen = [*dict(AXIS_OPTIONS)].index(self.axis) + 3 * (self.choices["window"] == "last")
        self.sink.set_prop(self.time_range, "range_padding", PADDING + chosen * 1e-6)

    def change_positions(self, snapshot: Snapshot) -> list[tuple[float, ControlChange]]:
        """Position on the time axis of every applied change, the oldest first."""
        applied = [change for change in snapshot.changes if change.status == "applied"]
        return [(float(axis_position(change, self.axis)), change) for change in applied]

    def in_force(self, control: str) -> Any:
        """The value of a control now, None when there is no such control."""
        return self.values_in_force().get(control)

    def values_in_force(self) -> dict[str, Any]:
        """The values of all controls now."""
        return {state.spec.name: state.value for state in self._states()}

    def mark(self, snapshot: Snapshot) -> None:
        """Update the marks of control changes and notes, once per snapshot."""
        # A tab that is built later adds axes.
        state = (snapshot.version, self.axis, len(self.time.axes))
        if state != self._marked:
            self._marked = state
            self._fill(self.markers, snapshot, self.axis)
            unit = self.axis
            self.sink.set_prop(self.time.ticker, "min_interval", 0 if unit == "epoch" else 1)
            for axis in self.time.axes:
                self.sink.set_prop(axis, "axis_label", unit)

    def mark_in_steps(self, markers: Markers, snapshot: Snapshot) -> None:
        """Update the markers of a plot whose axis always counts steps."""
        self._fill(markers, snapshot, "step")

    def _fill(self, markers: Markers, snapshot: Snapshot, axis: Axis) -> None:
        self.sink.set_data(markers.changes, marker_columns(snapshot, axis, self._labels))
        self.sink.set_data(markers.notes, note_columns(snapshot, axis))


class NoSink:
    """Sink that discards everything; used until a view is there."""

    def set_data(self, source: Model, columns: Values) -> None:
        """Discard."""

    def set_prop(self, model: Model, attribute: str, value: Any) -> None:
        """Discard."""

    def set_note(self, panel: str, text: str) -> None:
        """Discard."""

    def set_alternative(self, panel: str, text: str) -> None:
        """Discard."""

    def set_actions(self, panel: str, actions: PlotActions) -> None:
        """Discard."""

    def set_section(self, panel: str, section: str, page: str) -> None:
        """Discard."""

    def set_hidden(self, panel: str, hidden: bool) -> None:
        """Discard."""


class Panel(ABC):
    """One plot of the dashboard, or sections of HTML.

    Attributes:
        name: unique; also the name of its figure.
        tab: name of its tab, or OVERVIEW; order: position among all panels.
        title, help: text above the plot.
        height: of the plot in pixels; wide: use the whole row.
        needs: series that `update` reads in full, as names or shell patterns; the last value
            of every series is always in `Snapshot.latest`.
        watches: on-demand probes to run while the tab is visible.
    """

    name: ClassVar[str]
    tab: ClassVar[str]
    order: ClassVar[int] = 100
    title: ClassVar[str]
    help: ClassVar[str] = ""
    height: int = 260
    wide: ClassVar[bool] = False
    needs: tuple[str, ...] = ()
    watches: tuple[str, ...] = ()

    def __init__(self, context: PanelContext) -> None:
        self.context = context

    @abstractmethod
    def build(self) -> UIElement | None:
        """Build the figure and its sources; called once, before the first update.

        The panels of a tab are built when it is first shown. What figures share, such as
        `context.time`, may be on screen by then: only `context.sink` changes it.

        Returns:
            The root of the plot; None for a panel that shows sections of HTML instead.
        """

    @abstractmethod
    def update(self, snapshot: Snapshot) -> None:
        """Pass the latest values to `context.sink`."""

    def note(self, text: str) -> None:
        """Show a text over the plot; "" removes the text."""
        self.context.sink.set_note(self.name, text)

    def say_measured(self, snapshot: Snapshot, group: str) -> None:
        """Say under the plot at which step `group/<member>` was measured last."""
        name = next((n for n in snapshot.latest if n.startswith(f"{group}/")), "")
        if (name,) != self.needs:
            # Of one member the steps are known; the next snapshot holds them.
            self.needs = (name,)
            self.context.choices.ask_again()
        series = snapshot.series.get(name)
        text = measured_at(int(series.step[-1])) if series is not None and len(series) else ""
        self.context.sink.set_actions(self.name, PlotActions(text))

    def describe(self, **curves: Array | float) -> None:
        """Say the newest values to who cannot see the plot.

        Args:
            curves: values of each curve, or its newest value, by the name that is read out.
        """
        texts = [f"{n.replace('_', ' ')} {v:.4g}" for n, c in curves.items() for v in _newest(c)]
        more = len(texts) - MAX_READ_OUT
        texts[MAX_READ_OUT:] = [f"and {more} more"] if more > 0 else []
        latest = f" newest: {', '.join(texts)}." if texts else " no values yet."
        self.context.sink.set_alternative(self.name, f"{self.title},{latest}")

    def points(self, snapshot: Snapshot, name: str, limit: int = MAX_POINTS) -> Series | None:
        """Series thinned to at most 1,000 points; None if the series was never measured."""
        series = snapshot.series.get(name)
        return series.thin(limit) if series is not None and len(series) else None

    def place(self, snapshot: Snapshot, steps: NDArray[np.int64]) -> Array:
        """Positions of steps [B] on the time axis."""
        return snapshot.position(steps, self.context.axis)


def window_steps(track: Series | None) -> int:
    """Number of steps that "last ..." shows: 500, more where a point holds several steps.

    Args:
        track: a series that is measured at every step.
    """
    held = int(track.count.max()) if track is not None and len(track) else 1
    sizes = (steps * 10**power for power in count() for steps in WINDOW_STEPS)
    fitting: int = next(size for size in sizes if size >= MIN_WINDOW_POINTS * held)
    return fitting


def measured_at(step: int) -> str:
    """Sentence that names the step of a measurement."""
    return f"Measured at step {step:,}."


def _newest(curve: Array | float) -> list[float]:
    """The newest finite value, if there is one."""
    values = np.atleast_1d(np.asarray(curve, dtype=np.float64))
    return [float(value) for value in values[np.isfinite(values)][-1:]]
