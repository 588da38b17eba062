"""Old names of 0.1 in a user's script and in plug-ins work for one release, with a warning."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from nbdebug import Debugger
from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.core.results.worst_samples import WorstSample
from nbdebug.model.training_state import TrainingState
from nbdebug.probes.base import Probe, Values
from tests.inside import bare_check_context


def make(**arguments: object) -> Debugger:
    torch.manual_seed(0)
    data = torch.randn(64, 4), torch.randint(0, 2, (64,))
    return Debugger(
        nn.Linear(4, 2), data, nn.CrossEntropyLoss(), batch_size=16, runs=None, **arguments
    )


def test_keywords_of_the_debugger() -> None:
    with pytest.warns(DeprecationWarning, match="was renamed to") as caught:
        dbg = make(left_out=[3, 17], not_finite="leave_out")
    with dbg:
        assert dbg.controls["excluded_samples"] == (3, 17)
        assert dbg.controls["not_finite"] == "exclude"
    # The warning is shown to the user because the user's own file is named in it.
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize(
    "call",
    [
        lambda dbg: dbg.culprits(),
        lambda dbg: dbg.session.culprits(),
        lambda dbg: dbg.fork(1, lr=0.1, cures="not_finite"),
        lambda dbg: dbg.timeline.fork(1, lr=0.1, cures="not_finite"),
    ],
    ids=["culprits", "session.culprits", "fork", "timeline.fork"],
)
def test_the_line_of_the_caller_is_blamed(call: Callable[[Debugger], object]) -> None:
    with make() as dbg:
        dbg.run(steps=1)
        with pytest.warns(DeprecationWarning, match="was renamed to") as caught:
            call(dbg)
    line = call.__code__.co_firstlineno  # type: ignore[attr-defined]
    assert [(one.filename, one.lineno) for one in caught] == [(__file__, line)]


@pytest.mark.parametrize(
    ("old", "control", "value"),
    [
        ({"left_out": [3, 17]}, "excluded_samples", (3, 17)),
        ({"not_finite": "leave_out"}, "not_finite", "exclude"),
    ],
    ids=["left_out", "leave_out"],
)
def test_set(old: dict[str, object], control: str, value: object) -> None:
    with make() as dbg:
        with pytest.warns(DeprecationWarning, match=f"renamed to .*{control}") as caught:
            dbg.set(**old)

        assert dbg.controls[control] == value
        assert [change.control for change in dbg.history.changes] == [control]
        assert {warning.filename for warning in caught} == {__file__}


def test_fork() -> None:
    with make() as dbg:
        dbg.run(steps=2)
        with pytest.warns(DeprecationWarning, match="excluded_samples"):
            fork = dbg.fork(2, left_out=(4, 5))
        with pytest.warns(DeprecationWarning, match="exclude"):
            both = dbg.fork(2, not_finite=["stop", "leave_out"])
        fork.keep()
        dbg.wait(60)

        assert dbg.controls["excluded_samples"] == (4, 5)
    assert [trial.settings["not_finite"] for trial in both.result.trials] == ["stop", "exclude"]


def old_check() -> type[Check]:
    class OldCheck(Check):
        name, step, title, source = "old_check", 1, "Old", "none"
        dear = True

        def examine(self, context: CheckContext) -> Outcome:
            context.go_on(0.25)
            return Outcome("pass", "done")

    return OldCheck


def old_probe() -> type[Probe]:
    class OldProbe(Probe):
        name = "old_probe"
        cost = "dear"

        def attach(self, session: TrainingState) -> None:
            """Nothing to store."""

        def read(self, step: int) -> Values:
            return {}

    return OldProbe


@pytest.mark.parametrize("define", [old_check, old_probe])
def test_a_plugin_that_is_dear_is_expensive(define: Callable[[], type]) -> None:
    with pytest.warns(DeprecationWarning, match='renamed to "?expensive') as caught:
        plugin = define()

    assert {warning.filename for warning in caught} == {__file__}
    if issubclass(plugin, Check):
        assert plugin.expensive is True
        assert plugin().result(Outcome("pass", ""), 0.0, 0).expensive is True
    else:
        assert issubclass(plugin, Probe)
        assert plugin.cost == "expensive"


def test_go_on_reports_progress() -> None:
    shares: list[float] = []
    context = bare_check_context()
    context.progress = shares.append

    with pytest.warns(DeprecationWarning, match="report_progress"):
        context.go_on(0.25)

    assert shares == [0.25]


def test_the_place_of_a_sample_is_its_position() -> None:
    sample = WorstSample(3, 7, 1.0, 1.0)

    with pytest.warns(DeprecationWarning, match="position") as caught:
        assert sample.place == sample.position == 7

    assert {warning.filename for warning in caught} == {__file__}
