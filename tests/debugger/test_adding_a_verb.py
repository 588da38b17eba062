"""A new verb is a command, its handler, its result and a panel; nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import pytest
import torch
from bokeh.models.ui import UIElement
from torch import nn

import nbdebug as nbd
from nbdebug.core import plugins
from nbdebug.core.commands.base import Command, Form
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.dashboard import dashboard
from nbdebug.debugger import dashboard_api
from nbdebug.panels.base import Panel
from nbdebug.plots.figures import plain_figure
from nbdebug.plots.plot_actions import PlotAction, PlotActions
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.tasks import runner
from nbdebug.training.tasks.handler import Handler
from tests.inside import client_of, note_of, open_view, press, requests_of
from tests.problems import blobs, tiny_mlp
from tools.jupyterlab_driver import until


@dataclass(frozen=True, slots=True)
class CountWeights(Command):
    """Count the weights whose absolute value is above a limit."""

    name: ClassVar[str] = "count_weights"
    long: ClassVar[bool] = True
    limit: float = 0.0

    @classmethod
    def from_form(cls, form: Form) -> Self:
        return cls(float(form.text("limit") or 0.0))


@dataclass(frozen=True)
class WeightCount:
    """The result."""

    limit: float
    count: int


class CountWeightsHandler(Handler[CountWeights]):
    """Counts, and publishes the result."""

    command = CountWeights
    failed = "The weights could not be counted"

    def handle(self, command: CountWeights, progress: TaskProgress) -> WeightCount:
        progress.advance(0.5, "Counting")
        parameters = self.training.session.model.parameters()
        if command.limit < 0:
            raise ValueError("a limit below 0 counts everything.")
        count = sum(int((p.detach().abs() > command.limit).sum()) for p in parameters)
        found = WeightCount(command.limit, count)
        self.training.history.set_result(found)
        return found


class WeightCounts(Panel):
    """The count, and a button that asks for it."""

    name = "weight_counts"
    tab = "Weights"
    title = "Large weights"

    def build(self) -> UIElement:
        return plain_figure(self.name, self.height)

    def update(self, snapshot: Snapshot) -> None:
        found = snapshot.results.of(WeightCount)
        count = PlotAction("Count", CountWeights.name, "Count large weights", {"limit": "0.1"})
        said = "" if found is None else f"{found.count:,} weights are above {found.limit}."
        self.note(said)
        self.context.sink.set_actions(self.name, PlotActions("", (count,)))


NEW = (CountWeights, CountWeightsHandler, WeightCounts)


@pytest.fixture
def dbg(monkeypatch: pytest.MonkeyPatch) -> Iterator[nbd.Debugger]:
    """A Debugger that finds the new classes, as it would in files of their own."""

    def discover(package: str, base: type, *more: Any) -> tuple[type, ...]:
        mine = [kind for kind in NEW if issubclass(kind, base)]
        return (*plugins.discover(package, base, *more), *mine)

    for module in (runner, dashboard_api, dashboard):
        monkeypatch.setattr(module, "discover", discover)
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss()) as made:
        yield made


def counted(model: nn.Module, limit: float) -> int:
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    return int((weights.abs() > limit).sum())


def test_python_and_a_button_ask_for_it_alike(dbg: nbd.Debugger) -> None:
    expected = WeightCount(0.1, counted(dbg.model, 0.1))
    api = requests_of(dbg)

    assert client_of(dbg).do(CountWeights(0.1)) == expected
    (ticket,) = api.ask("count_weights", {"limit": "0.1"})
    assert ticket.answer.result(30) == expected
    assert dbg.history.snapshot(()).results.of(WeightCount) == expected


def test_the_button_of_its_panel_is_pressed(dbg: nbd.Debugger) -> None:
    shown = dbg.dashboard
    open_view(shown, "Weights")
    shown.tick()
    assert note_of(shown, "weight_counts") == ""
    press(shown, "weight_counts", "Count")
    assert until(lambda: dbg.history.snapshot(()).results.of(WeightCount), "the count")
    shown.tick()
    said = f"{counted(dbg.model, 0.1):,} weights are above 0.1."
    assert note_of(shown, "weight_counts") == said


def test_its_failure_reaches_who_asked_and_is_told(dbg: nbd.Debugger) -> None:
    with pytest.raises(ValueError, match="below 0"):
        client_of(dbg).do(CountWeights(-1.0))
    assert dbg.history.notices[-1].title == "The weights could not be counted"
    dbg.run(steps=2)
    assert dbg.history.status.step == 2


def test_a_command_without_a_handler_is_refused_and_training_goes_on(dbg: nbd.Debugger) -> None:
    class Orphan(Command):
        name = "orphan"

    with pytest.raises(nbd.PluginError, match="no handler for the command 'orphan'"):
        client_of(dbg).do(Orphan())
    dbg.run(steps=2)
    assert dbg.history.status.step == 2
