"""A run of more steps than the loop has left says where the loop ended."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator

import pytest
from torch.nn import functional

import nbdebug as nbd
from nbdebug.debugger.own_loop.watch import Watch
from nbdebug.training.own_loop.meeting.handoff import Handoff
from tests.training.own_loop.loops import OwnLoop, X, Y
from tools.jupyterlab_driver import until

EPOCH = 6


@pytest.fixture
def loop() -> OwnLoop:
    return OwnLoop()


@pytest.fixture
def dbg(loop: OwnLoop) -> Iterator[Watch]:
    with nbd.watch(loop.model, loop.optimizer, runs=None) as made:
        yield made


def paused_at(dbg: Watch, loop: OwnLoop, step: int) -> None:
    dbg.break_when(f"step >= {step}")
    dbg.run(lambda: loop.run(dbg.epochs, dbg.batches))
    assert until(lambda: dbg.history.status.step == step and dbg.state == "paused", "the break")
    dbg.clear_breakpoints()


@pytest.mark.parametrize(
    ("run", "made"),
    [
        (lambda dbg: dbg.run(steps=100), "8 of the 100 steps"),
        (lambda dbg: dbg.step(9), "8 of the 9 steps"),
        (lambda dbg: dbg.run(epochs=5), "8 steps, and not the 5 epochs"),
    ],
)
def test_the_end_of_the_loop_is_told(
    loop: OwnLoop, dbg: Watch, run: Callable[[Watch], object], made: str
) -> None:
    paused_at(dbg, loop, 3 * EPOCH - 8)
    with pytest.raises(nbd.LoopLeft, match=f"ended after step {3 * EPOCH - 1}") as told:
        run(dbg)
    assert made in str(told.value)
    assert "Run its cell again" in str(told.value)
    assert dbg.failure is not None
    assert dbg.failure.text == str(told.value)
    assert dbg.history.status.finished


def test_it_is_told_whatever_the_words(
    loop: OwnLoop, dbg: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handoff, "no_loop", "Nothing runs.")
    paused_at(dbg, loop, 3 * EPOCH - 8)
    with pytest.raises(nbd.LoopLeft, match="8 of the 100 steps"):
        dbg.run(steps=100)
    with pytest.raises(nbd.LoopLeft, match=r"^Nothing runs\.$") as told:
        dbg.run(steps=1)
    assert told.value.kind == pickle.loads(pickle.dumps(told.value)).kind == "no_loop"


def test_the_next_loop_goes_on(loop: OwnLoop, dbg: Watch) -> None:
    paused_at(dbg, loop, 15)
    with pytest.raises(nbd.LoopLeft, match="ended after step 17"):
        dbg.run(steps=100)
    loop.epochs = 5
    paused_at(dbg, loop, 20)
    dbg.run(steps=2)
    assert dbg.history.status.step == 22


def test_blocks_without_data_that_end_are_told(loop: OwnLoop, dbg: Watch) -> None:
    def blocks() -> None:
        for _ in range(12):
            with dbg.step():
                loop.optimizer.zero_grad()
                functional.mse_loss(loop.model(X), Y).backward()
                loop.optimizer.step()

    dbg.break_when("step >= 10")
    dbg.run(blocks)
    assert dbg.wait(20)
    dbg.clear_breakpoints()
    here = dbg.history.status.step
    with pytest.raises(nbd.LoopLeft, match="ended after step 11") as told:
        dbg.run(steps=50)
    assert f"{12 - here} of the 50 steps" in str(told.value)


def test_without_any_loop_none_is_said_to_have_ended(loop: OwnLoop, dbg: Watch) -> None:
    with pytest.raises(nbd.LoopLeft, match="No loop is running"):
        dbg.run(steps=10)
    paused_at(dbg, loop, 10)
    dbg.end_loop()
    with pytest.raises(nbd.LoopLeft, match="No loop is running"):
        dbg.run(steps=10)


def test_a_run_that_is_reached_says_nothing(loop: OwnLoop, dbg: Watch) -> None:
    paused_at(dbg, loop, 10)
    dbg.run(steps=8)
    assert dbg.failure is None
    assert dbg.history.status.step == 18


def test_an_exception_of_the_loop_is_its_own(
    loop: OwnLoop, dbg: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda raised: None)

    def raises() -> None:
        for number, (x, y) in enumerate(dbg.batches(loop.loader)):
            loop.optimizer.zero_grad()
            functional.mse_loss(loop.model(x), y).backward()
            loop.optimizer.step()
            assert number < 3

    dbg.break_when("step >= 2")
    dbg.run(raises)
    assert dbg.wait(20)
    dbg.clear_breakpoints()
    with pytest.raises(nbd.LoopLeft) as told:
        dbg.run(steps=50)
    assert "ended after" not in str(told.value)
    assert until(lambda: "nbdebug-loop" not in [one.name for one in threading.enumerate()], "end")


def test_wait_waits_for_each_loop_that_is_run(loop: OwnLoop, dbg: Watch) -> None:
    def one_pass() -> None:
        for x, y in dbg.batches(loop.loader):
            loop.optimizer.zero_grad()
            functional.mse_loss(loop.model(x), y).backward()
            loop.optimizer.step()

    seen = []
    for _ in range(12):
        dbg.run(one_pass)
        assert dbg.wait(20)
        seen.append(dbg.history.status.step)
    assert seen == [EPOCH * (number + 1) for number in range(12)]
