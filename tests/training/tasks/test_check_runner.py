"""Checks requested by the dashboard: progress, Stop, Reset, and values that name commands."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from torch import nn

import nbdebug as nbd
from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.commands.queue import Ticket
from nbdebug.core.plugins import instances
from nbdebug.core.records import Progress
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.errors import CheckNameError
from tests.inside import requests_of
from tests.problems import blobs, tiny_mlp


class Endless(Check):
    """Goes on until it is stopped."""

    name, step, title, source, expensive = "endless", 1, "Endless", "none", True
    begun = threading.Event()

    def examine(self, context: CheckContext) -> Outcome:
        while True:
            context.report_progress(0.5)
            self.begun.set()


@pytest.fixture
def dbg(monkeypatch: pytest.MonkeyPatch) -> Any:
    def with_endless(package: str, base: type, on_error: Any) -> tuple[Any, ...]:
        found: Any = instances(package, base, on_error)
        return (*found, Endless()) if package == "nbdebug.checks" else found

    monkeypatch.setattr("nbdebug.debugger.assembly.instances", with_endless)
    Endless.begun.clear()
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss()) as made:
        yield made


def ask(dbg: nbd.Debugger, name: str, **fields: Any) -> list[Ticket]:
    return requests_of(dbg).ask(name, fields)


def test_stop_ends_a_check_and_training_goes_on(dbg: nbd.Debugger) -> None:
    dbg.start()
    (ticket,) = ask(dbg, "run_checks", checks="endless")
    assert Endless.begun.wait(30)
    ask(dbg, "stop")
    assert ticket.answer.result(30)["endless"].seen == "Stopped on request."
    assert dbg.history.snapshot(()).checks["endless"].seen == "Stopped on request."
    at = dbg.history.status.step
    assert dbg.history.wait_until(lambda status: status.step > at + 5, 30)
    assert dbg.state == "running"


def test_progress_is_there_while_a_check_is_made_and_gone_afterwards(dbg: nbd.Debugger) -> None:
    ask(dbg, "run_checks", checks="endless")
    assert Endless.begun.wait(30)
    progress = dbg.history.results.of(Progress)
    assert progress is not None
    assert (progress.command, progress.title) == ("run_checks", "Endless")
    assert progress.share <= 0.5
    dbg.pause()
    assert dbg.history.results.of(Progress) is None


def test_the_report_lists_what_was_not_run_also_after_a_reset(dbg: nbd.Debugger) -> None:
    assert {result.status for result in dbg.history.snapshot(()).checks} == {"not_run"}
    dbg.check("reduction")
    assert dbg.history.snapshot(()).checks["reduction"].status == "pass"
    assert dbg.history.snapshot(()).checks["overfit"].status == "not_run"
    dbg.reset()
    assert {result.status for result in dbg.history.snapshot(()).checks} == {"not_run"}


@pytest.mark.slow
def test_all_checks_there_are() -> None:
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss()) as dbg:
        assert len(dbg.check(slow=True)) == len(dbg.history.snapshot(()).checks) > len(dbg.check())


def test_a_result_says_at_which_step_it_was_seen(dbg: nbd.Debugger) -> None:
    dbg.run(steps=3)
    assert dbg.check("reduction")["reduction"].at == 3


def test_an_unknown_check_is_refused_before_anything_is_asked_for(dbg: nbd.Debugger) -> None:
    with pytest.raises(CheckNameError, match="overfit"):
        ask(dbg, "run_checks", checks="overfit,overfat")
    assert dbg.state == "paused"
