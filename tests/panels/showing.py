"""A sink that remembers what a panel shows, and histories to show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from nbdebug.core.control_spec import ControlSpec, ControlState
from nbdebug.core.history.history import History
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import ControlChange, Reading, Status, StepRecord
from nbdebug.core.results.metric_names import MetricNames
from nbdebug.panels.base import NoSink, Panel, PanelContext
from nbdebug.plots.columns import MAX_ROWS
from nbdebug.plots.plot_options import PlotOptions

SPECS = (
    ControlSpec("lr", "Learning rate", "float", ""),
    ControlSpec("batch_size", "Batch size", "int", ""),
    ControlSpec("clip_mode", "Clipping", "choice", "",
                choices=(("off", "Off"), ("norm", "Global norm"), ("value", "Value"))),
    ControlSpec("clip_threshold", "Clip threshold", "float", ""),
    ControlSpec("layer_order", "Layer order", "choice", "",
                choices=(("as_built", "As built"), ("norm_dropout", "BatchNorm, then Dropout"))),
    ControlSpec("optimizer", "Optimizer", "choice", "", choices=(("adam", "Adam"),)),
    ControlSpec("reinit", "Draw again", "choice", "", action=True),
)  # fmt: skip
IN_FORCE = {"lr": 0.01, "batch_size": 64, "clip_mode": "off", "clip_threshold": 1.0,
            "layer_order": "as_built", "optimizer": "adam", "reinit": ""}  # fmt: skip


class Shown(NoSink):
    """Everything that a panel showed last."""

    def __init__(self) -> None:
        self.data: dict[str, dict[str, Any]] = {}
        self.props: dict[tuple[str, str], Any] = {}
        self.notes: dict[str, str] = {}
        self.actions: dict[str, Any] = {}
        self.read_out: dict[str, str] = {}

    def set_data(self, source: Any, columns: Any) -> None:
        assert all(len(values) <= MAX_ROWS for values in columns.values())
        self.data[source.id] = dict(columns)

    def set_prop(self, model: Any, attribute: str, value: Any) -> None:
        self.props[model.id, attribute] = value

    def set_note(self, panel: str, text: str) -> None:
        self.notes[panel] = text

    def set_actions(self, panel: str, actions: Any) -> None:
        self.actions[panel] = actions

    def set_alternative(self, panel: str, text: str) -> None:
        self.read_out[panel] = text

    def of(self, source: Any) -> dict[str, Any]:
        """Columns of a source."""
        return self.data[source.id]

    def prop(self, model: Any, attribute: str) -> Any:
        """A property of a model."""
        return self.props[model.id, attribute]


def context_with(shown: Shown, **in_force: Any) -> PanelContext:
    """A context whose controls have these values in force."""
    values = IN_FORCE | in_force
    context = PanelContext(
        PlotOptions(), lambda: [ControlState(spec, values[spec.name]) for spec in SPECS]
    )
    context.sink = shown
    return context


def change(step: int, control: str, old: Any, new: Any, **more: Any) -> ControlChange:
    """An applied change of a control."""
    return ControlChange(
        step, 64 * step, step / 10, control, old, new, "api", "",
        **{"status": "applied"} | more,
    )  # fmt: skip


def history(
    state: str = "paused",
    start: int = 0,
    changes: Iterable[ControlChange] = (),
    metrics: tuple[str, ...] = ("accuracy",),
    **series: Iterable[float],
) -> History:
    """A history with one value a step of each series; NaN where there is none.

    Args:
        start: the first step.
    """
    made = History()
    made.set_result(MetricNames(metrics))
    columns = {name.replace("__", "/"): np.array(values, float) for name, values in series.items()}
    length = max(len(values) for values in columns.values())
    columns |= {"samples": 64.0 * np.arange(1, length + 1), "epoch": np.arange(length) / 10}
    for row in range(length):
        readings = tuple(
            Reading((name,), values[row : row + 1])
            for name, values in columns.items()
            if row < len(values) and not np.isnan(values[row])
        )
        made.append(StepRecord(start + row, readings))
    for one in changes:
        made.add_change(one)
    made.set_status(Status(state, start + length, 64 * length, length / 10))  # type: ignore[arg-type]
    return made


def draw(panel: Panel, source: History) -> Snapshot:
    """Update a built panel as the pump does, once more if it asks for it."""
    while True:
        version = panel.context.choices.version
        snapshot = source.snapshot(panel.needs)
        panel.update(snapshot)
        if panel.context.choices.version == version:
            return snapshot


def members(group: str, values: Mapping[str, float]) -> dict[str, list[float]]:
    """Series of one value for each member, as keywords of `history`."""
    return {f"{group}__{name}": [value] for name, value in values.items()}
