"""Training does not go back where a step that is made twice differs."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.hidden import count_up, unreached_list

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
Y = X.sum(1, keepdim=True)
VERBS: dict[str, Callable[[nbd.Debugger], Any]] = {
    "rewind": lambda dbg: dbg.rewind(3),
    "fork": lambda dbg: dbg.fork(2, lr=[1e-3]),
    "undo": lambda dbg: dbg.undo(rewind=True),
}


def by_a_counter(path: Path) -> Callable[[Any], torch.Tensor]:
    calls = queue.SimpleQueue[None]()
    return lambda loss: loss * (1 + count_up(calls))


def by_a_file(path: Path) -> Callable[[Any], torch.Tensor]:
    def moved(loss: torch.Tensor) -> torch.Tensor:
        path.write_text(path.read_text() + "." if path.exists() else ".")
        return loss / len(path.read_text())

    return moved


def of_the_system(path: Path) -> Callable[[Any], torch.Tensor]:
    return lambda loss: loss * (1 + int.from_bytes(os.urandom(4), "big") * 1e-9)


MOVED = {"counter": by_a_counter, "file": by_a_file, "system": of_the_system}


def made(scale: Callable[[Any], torch.Tensor], kind: str) -> nbd.Debugger:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1), nn.Linear(8, 1))

    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        return scale(functional.mse_loss(model(batch[0]), batch[1]))

    def loss_fn(outputs: Any, targets: Any) -> torch.Tensor:
        return scale(functional.mse_loss(outputs, targets))

    code: dict[str, Any] = {kind: step_fn if kind == "step_fn" else loss_fn}
    loader = DataLoader(TensorDataset(X, Y), batch_size=8)
    return nbd.Debugger(model, loader, lr=1e-3, runs=None, **code)


@pytest.mark.parametrize(
    ("how", "verb", "kind"),
    [
        *((how, "rewind", "step_fn") for how in MOVED),
        *(("counter", verb, "step_fn") for verb in VERBS if verb != "rewind"),
        ("counter", "fork", "loss_fn"),
    ],
)
def test_what_does_not_repeat_does_not_go_back(
    how: str, verb: str, kind: str, tmp_path: Path
) -> None:
    with made(MOVED[how](tmp_path / "count"), kind) as dbg:
        dbg.run(steps=3)
        dbg.set(lr=2e-3)
        dbg.run(steps=3)
        before = dbg.model.state_dict()
        kept = {name: value.clone() for name, value in before.items()}
        with pytest.raises(nbd.NotRepeatableError, match=r"made twice.*state=\{'name': object\}"):
            VERBS[verb](dbg)
        assert dbg.history.status.step == 6
        assert bitwise_equal(dbg.model.state_dict(), kept)
        # A replay tells where it begins to differ.
        assert not dbg.replay().equal
        dbg.run(steps=2)


@pytest.mark.parametrize("verb", VERBS)
def test_a_step_that_repeats_is_made_twice_once(verb: str) -> None:
    calls = queue.SimpleQueue[None]()

    def scale(loss: torch.Tensor) -> torch.Tensor:
        count_up(calls)
        return loss

    with made(scale, "step_fn") as dbg:
        dbg.run(steps=3)
        dbg.set(lr=2e-3)
        dbg.run(steps=3)
        VERBS[verb](dbg)
        once = calls.qsize()
        dbg.fork(1, lr=[1e-3])
        assert calls.qsize() == once + 2


def test_a_loop_that_counts_where_nobody_reaches_is_not_rewound() -> None:
    torch.manual_seed(0)
    model, calls = nn.Linear(4, 1), unreached_list()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(X, Y), batch_size=8)

    def loop() -> None:
        for _ in dbg.epochs(3):
            for x, y in dbg.batches(loader):
                calls.result().append(1)
                optimizer.zero_grad()
                (functional.mse_loss(model(x), y) / len(calls.result())).backward()
                optimizer.step()

    with nbd.watch(model, optimizer, runs=None) as dbg:
        dbg.break_when("step >= 5")
        dbg.run(loop)
        assert dbg.wait(20)
        with pytest.raises(nbd.NotRepeatableError, match="does not go back with the training"):
            dbg.rewind(2)
        assert dbg.history.status.step == 5


def stopped(divisor: Callable[[int], int], between: Callable[[nbd.Debugger], Any]) -> list[str]:
    """Titles of warnings after a loop was stopped at step 5 and went on.

    Args:
        divisor: of the loss, by the number of calls, which no copy holds.
        between: is done while the loop is paused.
    """
    torch.manual_seed(0)
    model, calls = nn.Linear(4, 1), unreached_list()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(X, Y), batch_size=8)

    def loop() -> None:
        for _ in dbg.epochs(2):
            for x, y in dbg.batches(loader):
                calls.result().append(1)
                optimizer.zero_grad()
                loss = functional.mse_loss(model(x), y) / divisor(len(calls.result()))
                loss.backward()
                optimizer.step()

    with nbd.watch(model, optimizer, runs=None) as dbg:
        dbg.break_when("step >= 5")
        dbg.run(loop)
        assert dbg.wait(20)
        between(dbg)
        dbg.clear_breakpoints()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=100)
        return [one.title for one in dbg.history.notices if one.severity == "warning"]


def test_a_step_that_a_breakpoint_stopped_is_compared_with_the_one_that_is_made() -> None:
    title = "The step at the breakpoint was made again with another result"
    assert title in stopped(lambda calls: calls, lambda dbg: None)
    assert title not in stopped(lambda calls: 1, lambda dbg: None)
    # An edit explains the difference.
    assert title not in stopped(lambda calls: calls, lambda dbg: dbg.set(lr=2e-3))


def test_checks_of_a_loop_tell_what_they_have_moved() -> None:
    title = "A look at training has changed it"
    assert title in stopped(lambda calls: calls, lambda dbg: dbg.check())
    assert title not in stopped(lambda calls: 1, lambda dbg: dbg.check())


@pytest.mark.parametrize("how", MOVED)
@pytest.mark.parametrize("kind", ["step_fn", "loss_fn"])
def test_checks_tell_what_they_have_moved(how: str, kind: str, tmp_path: Path) -> None:
    with made(MOVED[how](tmp_path / "count"), kind) as dbg:
        dbg.run(steps=3)
        for _ in range(2):
            dbg.check("shapes")
        (told,) = (n for n in dbg.history.notices if n.title == "A look at training has changed it")
        assert "The checks moved on what no copy holds" in told.text
    with made(lambda loss: loss, kind) as dbg:
        dbg.run(steps=3)
        dbg.check()
        assert not any("A look at" in one.title for one in dbg.history.notices)


def in_turn(k: int, reached: bool = False) -> tuple[nbd.Watch, Callable[[], None]]:
    """A loop in which the second optimizer makes its update at every k-th batch.

    Args:
        reached: what counts the batches goes back.
    """
    torch.manual_seed(0)
    calls = unreached_list()
    nets = {"a": nn.Linear(4, 1), "b": nn.Linear(4, 1)}
    opts = {name: torch.optim.SGD(net.parameters(), lr=0.1) for name, net in nets.items()}
    loader = DataLoader(TensorDataset(X, Y), batch_size=2)
    dbg = nbd.watch(nets, opts, runs=None)

    def loop() -> None:
        for _ in dbg.epochs(3):
            for at, (x, y) in enumerate(dbg.batches(loader)):
                number = at if reached else len(calls.result())
                calls.result().append(1)
                for name in ("a", "b") if number % k == 0 else ("a",):
                    opts[name].zero_grad()
                    functional.mse_loss(nets[name](x), y).backward()
                    opts[name].step()

    dbg.break_when("step >= 11")
    return dbg, loop


@pytest.mark.parametrize("k", [2, 3, 5])
def test_a_loop_that_counts_turns_of_its_optimizers_is_not_forked(k: int) -> None:
    dbg, loop = in_turn(k)
    with dbg:
        dbg.run(loop)
        assert dbg.wait(20)
        with pytest.raises(nbd.NotRepeatableError, match=f"{k + 1} steps that were made twice"):
            dbg.fork(2, lr=[1e-3])


@pytest.mark.parametrize("k", [2, 3, 5])
def test_one_that_counts_them_in_a_variable_is_forked(k: int) -> None:
    dbg, loop = in_turn(k, reached=True)
    with dbg:
        dbg.run(loop)
        assert dbg.wait(20)
        assert not dbg.fork(2, lr=[dbg.controls["lr"]]).difference.any()


def test_who_was_refused_is_refused_again() -> None:
    torch.manual_seed(0)
    model, kept = nn.Linear(4, 1), unreached_list()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(X, Y), batch_size=8)

    def loop() -> None:
        for _ in dbg.epochs(3):
            for x, y in dbg.batches(loader):
                # At the second trial it moves no more, as a buffer of samples that is full.
                kept.result().append(1)
                optimizer.zero_grad()
                (functional.mse_loss(model(x), y) / min(len(kept.result()), 8)).backward()
                optimizer.step()

    with nbd.watch(model, optimizer, runs=None) as dbg:
        dbg.break_when("step >= 5")
        dbg.run(loop)
        assert dbg.wait(20)
        for _ in range(2):
            with pytest.raises(nbd.NotRepeatableError):
                dbg.fork(2, lr=[1e-3])
