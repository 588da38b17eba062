"""What loss_fn and step_fn count beside the model goes back with it, and no look moves it."""

from __future__ import annotations

import queue
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.hidden import count_up
from tests.training.looking import LOOKING as LOOKS
from tests.training.timeline.counting import CASES, Program, bare

# A file names no class of the user's, and makes no object.
WITHOUT_FILE = {
    "an object that a list gets": "events",
    "an attribute of a parameter": "parameter.calls",
    "a frame": "log",
}
# Looks that a training without loss_fn refuses.
REFUSED = ("summary", "worst_samples")


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    sys.modules.pop("counting_program", None)


@pytest.mark.parametrize("kind", CASES)
def test_training_and_its_counts_equal_a_plain_loop(kind: str) -> None:
    program = Program(CASES[kind])
    with program.debugger() as dbg:
        dbg.run(steps=10)
        assert bitwise_equal(program.found(), bare(CASES[kind], 10))


@pytest.mark.parametrize("kind", CASES)
def test_no_look_moves_a_count(kind: str) -> None:
    program = Program(CASES[kind])
    looks = [n for n in LOOKS if n not in REFUSED or "loss_fn" in program.functions]
    with program.debugger() as dbg:
        for name in looks:
            dbg.run(steps=2)
            told = program.told()
            LOOKS[name](dbg)
            assert bitwise_equal(program.told(), told), name
        dbg.run(steps=2)
        assert bitwise_equal(program.found(), bare(CASES[kind], 2 * len(looks) + 2))


@pytest.mark.parametrize("kind", CASES)
def test_counts_go_back_with_a_rewind_and_a_fork(kind: str) -> None:
    program = Program(CASES[kind])
    with program.debugger() as dbg:
        dbg.run(steps=9)
        assert dbg.timeline.replay().equal
        assert dbg.timeline.rewind(4).equal
        dbg.run(steps=5)
        assert bitwise_equal(program.found(), bare(CASES[kind], 9))
        dbg.timeline.fork(4, lr=0.1)
        dbg.run(steps=1)
        assert bitwise_equal(program.found(), bare(CASES[kind], 10))
        dbg.reset()
        dbg.run(steps=6)
        assert bitwise_equal(program.found(), bare(CASES[kind], 6))


@pytest.mark.parametrize("kind", CASES)
def test_what_a_validation_counts_goes_back_too(kind: str) -> None:
    def trained(back: bool) -> Any:
        program = Program(CASES[kind])
        with program.debugger(val_data=(program.X[:32], program.Y[:32]), val_every=2) as dbg:
            dbg.run(steps=9)
            if back:
                dbg.check()
                assert dbg.timeline.rewind(3).equal
                dbg.run(steps=6)
            return program.found()

    assert bitwise_equal(trained(True), trained(False))


@pytest.mark.parametrize("kind", CASES)
def test_a_step_that_is_stopped_or_fails_is_counted_once(kind: str) -> None:
    text = CASES[kind]
    program, calls = Program(text), queue.SimpleQueue[None]()

    class Fails(torch.optim.Adam):
        def step(self, closure: Any = None) -> Any:
            if count_up(calls) in (2, 6):
                raise OSError("the disk was away for a moment")
            return super().step(closure)

    with program.debugger(optimizer=lambda parameters: Fails(parameters, 1e-3)) as dbg:
        for _ in range(2):
            with pytest.raises(OSError, match="away"):
                dbg.run(steps=10)
        dbg.break_when("step == 8")
        dbg.run(steps=12 - dbg.history.status.step)
        assert dbg.history.status.step == 8
        assert bitwise_equal(program.found(), bare(text, 8))
        dbg.timeline.clear_breakpoints()
        dbg.run(steps=4)
        assert bitwise_equal(program.found(), bare(text, 12))
        assert dbg.timeline.replay().equal


@pytest.mark.parametrize("kind", CASES)
def test_a_count_goes_on_in_a_resumed_training(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Program(CASES[kind]).debugger(name="counting") as dbg:
        dbg.run(steps=7)
        dbg.timeline.save()
    program = Program(CASES[kind])
    with nbd.Debugger.resume(
        "counting", program.model, (program.X, program.Y), **program.functions, batch_size=16
    ) as dbg:
        told = [(notice.title, notice.text) for notice in dbg.history.notices]
        if kind in WITHOUT_FILE:
            begins = f"{WITHOUT_FILE[kind]}: what loss_fn"
            assert {title for title, _ in told} == {"Not everything was resumed"}
            assert [text for _, text in told if text.startswith(begins)]
            return
        assert not told
        dbg.run(steps=4)
        assert bitwise_equal(program.found(), bare(CASES[kind], 11))


def test_a_file_changes_no_path_and_no_attribute_of_another_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = """
settings = {"log": FOLDER, "calls": 0, "phase": "warm-up", "last": LAST}

def loss_fn(outputs, targets):
    settings["calls"] += 1
    return mse_loss(outputs, targets)

def told():
    return settings
"""
    first = text.replace("FOLDER", "'/elsewhere/log'").replace("LAST", "[1.0]")
    with Program(first).debugger(name="counting") as dbg:
        dbg.run(steps=3)
        dbg.timeline.save()
    program = Program(text.replace("FOLDER", "'log.csv'").replace("LAST", "None"))
    with nbd.Debugger.resume(
        "counting", program.model, (program.X, program.Y), **program.functions, batch_size=16
    ) as dbg:
        [notice] = [n for n in dbg.history.notices if n.title == "Not everything was resumed"]
    assert notice.text.startswith("settings: ")
    assert program.told() == {"log": "log.csv", "calls": 0, "phase": "warm-up", "last": None}


def test_a_state_that_nothing_reaches_any_more_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = """
teacher = nn.Linear(6, 1)
draw = torch.Generator().manual_seed(1)

def loss_fn(outputs, targets):
    return mse_loss(outputs, targets) + teacher(X[:1]).mean() * torch.rand((), generator=draw)

def told():
    return 0
"""
    with Program(text).debugger(name="counting") as dbg:
        dbg.run(steps=3)
        dbg.timeline.save()
    program = Program(text.replace("teacher", "helper"))
    with nbd.Debugger.resume(
        "counting", program.model, (program.X, program.Y), **program.functions, batch_size=16
    ) as dbg:
        [notice] = [n for n in dbg.history.notices if n.title == "Not everything was resumed"]
    assert notice.text.startswith("teacher: the checkpoint has its state")


def test_an_attribute_that_is_new_in_the_class_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = CASES["an object that is called"]
    with Program(text).debugger(name="counting") as dbg:
        dbg.run(steps=3)
        dbg.timeline.save()
    newer = text.replace("self.history = 1.0, 0, []", "self.history = 1.0, 0, []; self.new = 5")
    program = Program(newer)
    with nbd.Debugger.resume(
        "counting", program.model, (program.X, program.Y), **program.functions, batch_size=16
    ) as dbg:
        assert not dbg.history.notices
    assert (program.loss_fn.calls, program.loss_fn.new) == (3, 5)


def test_a_metric_keeps_what_it_collects_in_a_validation() -> None:
    program = Program("""
values, calls = [], 0

def loss_fn(outputs, targets):
    global calls
    calls += 1
    return mse_loss(outputs, targets)

def metric(outputs, targets):
    values.append(len(targets))
    return 0.0
""")
    data = program.X[:32], program.Y[:32]
    metrics = {"m": program.metric}
    with program.debugger(val_data=data, val_every=4, metrics=metrics) as dbg:
        dbg.run(steps=4)
    assert program.calls == 4
    assert 32 in program.values


def test_an_iterator_that_cannot_be_put_back_is_told_of() -> None:
    program = Program("""
signs = itertools.cycle((1.0, 2.0))

def loss_fn(outputs, targets):
    return next(signs) * mse_loss(outputs, targets)
""")
    with program.debugger() as dbg:
        told = {notice.title: notice.text for notice in dbg.history.notices}
    assert told["What the loss uses cannot be copied"].startswith("signs (cycle): an iterator")


def test_a_count_that_makes_a_step_fail_goes_on_when_it_fails_again() -> None:
    program = Program("""
calls = 0

def loss_fn(outputs, targets):
    global calls
    calls += 1
    if calls == 4:
        raise ValueError("the fourth call")
    return mse_loss(outputs, targets) / calls
""")
    with program.debugger() as dbg:
        for expected in (3, 4):
            with pytest.raises(ValueError, match="fourth"):
                dbg.run(steps=6)
            assert program.calls == expected
        dbg.run(steps=3)
        assert (program.calls, dbg.history.status.step) == (7, 6)
        assert dbg.timeline.replay().equal
        assert program.calls == 7
