"""A metric on training and validation data over time."""

from __future__ import annotations

from bokeh.models import BasicTicker, ColumnDataSource, DataRange1d
from bokeh.models.ui import UIElement

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.metric_names import MetricNames
from nbdebug.panels._empty import not_yet, why_empty
from nbdebug.panels._train_val import TrainValCurves
from nbdebug.panels.base import OVERVIEW, Panel, PanelContext
from nbdebug.plots.figures import caption
from nbdebug.plots.ticks import number_ticks

# There are fewer points of it than of the loss.
SMOOTHING_WEIGHT = 0.6


class Metric(Panel):
    """Accuracy, or a metric that you passed, of training batches and of the validation data."""

    name = "metric"
    tab = OVERVIEW
    order = 12
    title = "Metric"
    help = "on every 10th training batch or less; on all validation data once an epoch"
    height = 130

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        self.context.choices.offer("metric", "Metric", self.tab, (), panel=self.name)

    def build(self) -> UIElement:
        made = self.context.time.make_figure(self.name, self.height, y_axis_label="metric")
        self.shown = ColumnDataSource({"x": [], "y": []})
        corners = made.scatter("x", "y", source=self.shown, alpha=0)
        made.y_range = DataRange1d(renderers=[corners], range_padding=0.1)
        made.yaxis.formatter = number_ticks()
        made.yaxis.ticker = made.ygrid.ticker = BasicTicker(num_minor_ticks=0, desired_num_ticks=4)
        self.curves = TrainValCurves(self, made, "metric")
        self.axis = made.yaxis[0]
        return made

    def update(self, snapshot: Snapshot) -> None:
        context = self.context
        context.mark(snapshot)
        names = snapshot.results.of(MetricNames, MetricNames()).names
        found = [n for n in names if n in snapshot.latest or f"val_{n}" in snapshot.latest]
        needs = tuple(name for n in names for name in (n, f"val_{n}"))
        if needs != self.needs:
            # Series are asked for before a snapshot is there: the next one holds these.
            self.needs = needs
            context.choices.ask_again()
        several = [(name, name) for name in found] if len(found) > 1 else []
        context.choices.offer("metric", "Metric", self.tab, several, panel=self.name)
        chosen = context.choices["metric"] or (found[0] if found else "")
        self.curves.read(snapshot, chosen, SMOOTHING_WEIGHT)
        self.note(why_empty(self.curves.values, _reason(snapshot)) if found else _reason(snapshot))
        window = context.window(snapshot)
        bounds = self.curves.robust_range(window, log=False)
        corners = {"x": list(window), "y": list(bounds)} if bounds else {"x": [], "y": []}
        context.sink.set_data(self.shown, corners)
        context.sink.set_prop(self.axis, "axis_label", caption(chosen, 18) or "metric")
        context.sink.set_prop(self.curves.entries[0], "label", caption(chosen, 18) or "metric")
        self.curves.send()
        self.curves.describe(chosen or "metric")


def _reason(snapshot: Snapshot) -> str:
    if not snapshot.status.step:
        return not_yet(snapshot, "the accuracy, or the metrics that you passed")
    return (
        "No metric: pass metrics={name: function(outputs, targets)}. A trainer, or a loop of your "
        "own, logs them by name."
    )
