"""The checklist on healthy loops of many kinds: no check fails, warns or changes anything."""

from __future__ import annotations

import threading

import pytest
import torch
from torch.nn import functional

import nbdebug as nbd
from nbdebug.core.results.checks.check_report import CheckReport
from nbdebug.model.state.bits import bitwise_equal
from tests.training.own_loop.loops import LOOPS, Batches, Epochs, OwnLoop
from tests.training.own_loop.tasks import TASKS

# About the folder, not about the loop.
OUTSIDE = {"git_state", "run_record"}


def report(loop: OwnLoop, step: int = 4) -> CheckReport:
    with nbd.watch(loop.model, loop.optimizer, **loop.registered) as dbg:
        dbg.break_when(f"step >= {step}")
        dbg.run(lambda: loop.run(dbg.epochs, dbg.batches))
        assert dbg.wait(60)
        found = dbg.check()
        dbg.clear_breakpoints()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=10_000)
    return found


@pytest.mark.parametrize("kind", [*LOOPS, *TASKS])
def test_the_checklist_finds_nothing_and_changes_nothing(kind: type[OwnLoop]) -> None:
    plain = kind()
    plain.run(range, iter)
    loop = kind()
    found = report(loop)
    bad = {one.name: one.seen for one in found if one.status in ("fail", "warning")}
    assert {name: seen for name, seen in bad.items() if name not in OUTSIDE} == {}
    assert any(one.status == "pass" for one in found)
    assert bitwise_equal(loop.state(), plain.state())


@pytest.mark.parametrize("kind", LOOPS)
def test_so_it_is_when_it_was_asked_for_before_the_loop_began(kind: type[OwnLoop]) -> None:
    plain = kind()
    plain.run(range, iter)
    loop = kind()
    found: list[CheckReport] = []
    with nbd.watch(loop.model, loop.optimizer, **loop.registered) as dbg:
        asker = threading.Thread(target=lambda: found.append(dbg.check()))
        asker.start()
        loop.run(dbg.epochs, dbg.batches)
        asker.join(60)
    assert [one.name for one in found[0] if one.status == "fail" and one.name not in OUTSIDE] == []
    assert bitwise_equal(loop.state(), plain.state())


class Detached(OwnLoop):
    """The first layers run without gradients."""

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                with torch.no_grad():
                    hidden = self.model[:3](x)  # type: ignore[index]
                loss = functional.mse_loss(self.model[3](hidden), y)  # type: ignore[index]
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.losses.append(loss.item())


class InEvalMode(OwnLoop):
    """Every step puts the model into eval mode."""

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                self.model.eval()
                loss = functional.mse_loss(self.model(x), y)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.losses.append(loss.item())


class Cut(OwnLoop):
    """The outputs are rounded, so that most of the graph has no slope."""

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                outputs = self.model(x)
                loss = functional.mse_loss(outputs.round(), y) + 0 * outputs.sum()
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.losses.append(loss.item())


@pytest.mark.parametrize(
    ("kind", "checks"),
    [
        (Detached, {"unchanged_parameters", "zero_gradient", "loss_graph"}),
        (InEvalMode, {"train_eval"}),
        (Cut, {"loss_graph", "zero_gradient"}),
    ],
)
def test_a_sick_loop_is_named(kind: type[OwnLoop], checks: set[str]) -> None:
    torch.manual_seed(0)
    found = report(kind())
    assert checks & {one.name for one in found if one.status in ("fail", "warning")}
