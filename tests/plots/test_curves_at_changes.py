"""A smoothed curve shows a control change where it was made, wherever the curve is drawn."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from bokeh.models import ColumnDataSource, DataRange1d
from bokeh.plotting import figure

from nbdebug.core.results.run_list import RunList, RunRow
from nbdebug.core.series import Series
from nbdebug.dashboard.still.plots import svg
from nbdebug.panels.loss import Loss
from nbdebug.panels.metric import Metric
from nbdebug.panels.run_curves import RunCurves
from nbdebug.runs.compare.data import ComparisonData
from nbdebug.runs.compare.plots import curves_figure
from nbdebug.runs.report.plots import report_figures
from nbdebug.runs.store.run import Run
from nbdebug.testing import snapshot
from tests.panels.showing import Shown, change, context_with, draw, history
from tests.runs.handmade import change as recorded_change
from tests.runs.handmade import run_of, series

AT = 200
JUMP = np.where(np.arange(400) < AT, 1.0, 10.0)
CHANGES = (change(AT, "lr", 0.01, 0.1),)
Drawn = tuple[np.ndarray, np.ndarray]


def in_the_loss_panel() -> Drawn:
    return in_a_panel(Loss, "loss")


def in_the_metric_panel() -> Drawn:
    return in_a_panel(Metric, "accuracy")


def in_a_panel(kind: type[Loss] | type[Metric], name: str) -> Drawn:
    shown = Shown()
    panel = kind(context_with(shown))
    panel.build()
    draw(panel, history(changes=CHANGES, **{name: JUMP}))
    columns = shown.of(panel.curves.sources["train"])
    return columns["x"], columns["smooth"]


def among_the_runs_as_this_run() -> Drawn:
    return among_the_runs(0)


def among_the_runs_as_another() -> Drawn:
    return among_the_runs(1)


def among_the_runs(place: int) -> Drawn:
    shown = Shown()
    panel = RunCurves(context_with(shown))
    panel.build()
    rows = tuple(RunRow(id, id, "finished", 0.0, this=id == "this") for id in ("this", "other"))
    panel.context.run_list = lambda: RunList(
        "ready", "", rows, chosen=("this", "other"), curves={"other": {"loss": loss()}},
        changes={"other": [float(AT)]},
    )  # fmt: skip
    draw(panel, history(changes=CHANGES, loss=JUMP))
    columns = shown.of(panel.sources[place])
    return columns["x"], columns["y"]


def in_a_report() -> Drawn:
    return smoothed_in(report_figures(recorded())[0].figure)


def in_a_comparison() -> Drawn:
    runs = (recorded(), recorded("second"))
    made = curves_figure(ComparisonData(runs), "loss", "Loss", DataRange1d())
    assert made is not None
    return smoothed_in(made)


def smoothed_in(made: figure) -> Drawn:
    sources = made.select(ColumnDataSource)
    data = next(one.data for one in sources if "smooth" in one.data)  # type: ignore[attr-defined]
    return data["x"], data["smooth"]


def in_the_picture_without_a_kernel() -> Drawn:
    drawn = svg(snapshot({"loss": JUMP}, changes=CHANGES))
    [line] = re.findall(r'<path d="([^"]+)"[^>]*stroke-width="1.8"', drawn)
    x, y = np.array(re.findall(r"[ML]([\d.]+) ([\d.]+)", line), float).T
    # Pixels from the top; the scale ends a little beyond both values.
    return np.arange(len(x)), np.where(y == y.max(), 1.0, np.where(y == y.min(), 10.0, np.nan))


def loss() -> Series:
    return series("loss", JUMP.tolist())


def recorded(name: str = "first") -> Run:
    changes = [recorded_change(AT, "lr", 0.01, 0.1)]
    return run_of(name, [loss()], id=name, changes=changes)


@pytest.mark.parametrize(
    "place",
    [
        in_the_loss_panel, in_the_metric_panel, among_the_runs_as_this_run,
        among_the_runs_as_another, in_a_report, in_a_comparison, in_the_picture_without_a_kernel,
    ],
    ids=lambda place: place.__name__,
)  # fmt: skip
def test_the_smoothed_curve_moves_where_the_control_was_changed(place: Callable[[], Drawn]) -> None:
    x, smooth = place()
    np.testing.assert_allclose(smooth, np.where(x < AT, 1.0, 10.0))


@pytest.mark.parametrize("kind", ["control", "rewind", "reestimate"])
def test_what_was_undone_or_refused_breaks_no_curve(kind: str) -> None:
    shown = Shown()
    panel = Loss(context_with(shown))
    panel.build()
    applied = change(AT, "lr", 0.01, 0.1, kind=kind)
    averages = []
    for status in ("applied", "undone", "refused", "superseded"):
        draw(panel, history(changes=[replace(applied, status=status)], loss=JUMP))
        averages.append(shown.of(panel.curves.sources["train"])["smooth"][AT - 1])
    assert averages[0] == 1
    assert min(averages[1:]) > 2
