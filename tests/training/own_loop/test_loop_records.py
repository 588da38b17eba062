"""Numbers, lists, counters and iterators of a loop go back with its steps."""

import sys
import types
from typing import Any

import pytest
import torch

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.training.own_loop.counting_in_libraries import HOOKS, LIBRARIES, MANY, PROCESS
from tests.training.own_loop.counting_loops import CASES, REFUSED, SETUP
from tests.training.own_loop.odd_counting_loops import ODD, ODD_REFUSED
from tests.training.own_loop.written_places import PLACES

PUT_BACK = {**CASES, **ODD, **LIBRARIES, **MANY, **HOOKS, **PROCESS, **PLACES}
BROKEN = [*LIBRARIES, *MANY, *HOOKS, *PROCESS, *PLACES, "a rate that is set after the update"]


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets classes of the programs be those of a module of the user's."""
    module = types.ModuleType("program")
    module.__file__ = "program.py"
    monkeypatch.setitem(sys.modules, "program", module)


def made(text: str) -> types.ModuleType:
    program = types.ModuleType("program")
    exec(compile(SETUP + text, "<program>", "exec"), vars(program))
    torch.manual_seed(1)
    return program


def bare(text: str) -> tuple[Any, Any]:
    program = made(text)
    written = program.loop(range, lambda loader: loader)
    return written, dict(program.model.state_dict())


@pytest.mark.parametrize("case", PUT_BACK)
def test_what_a_loop_counts_goes_back(case: str) -> None:
    text = PUT_BACK[case]
    wanted = bare(text)
    program, written = made(text), list[Any]()
    with nbd.watch(program.model, program.optimizer, runs=None) as dbg:
        dbg.break_when("step >= 5")
        dbg.run(lambda: written.append(program.loop(dbg.epochs, dbg.batches)))
        assert dbg.wait(60)
        dbg.check()
        dbg.run(steps=2)
        assert dbg.replay().equal
        dbg.rewind(4)
        dbg.clear_breakpoints()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=1000)
        assert dbg.wait(60)
        assert not [one for one in dbg.history.notices if one.severity != "info"]
    assert bitwise_equal((written[0], dict(program.model.state_dict())), wanted)


@pytest.mark.parametrize("case", BROKEN)
def test_a_breakpoint_moves_nothing(case: str) -> None:
    wanted = bare(PUT_BACK[case])
    program, written = made(PUT_BACK[case]), list[Any]()
    with nbd.watch(program.model, program.optimizer, runs=None) as dbg:
        dbg.break_when("step >= 5")
        dbg.run(lambda: written.append(program.loop(dbg.epochs, dbg.batches)))
        assert dbg.wait(60)
        dbg.clear_breakpoints()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=1000)
        assert dbg.wait(60)
    assert bitwise_equal((written[0], dict(program.model.state_dict())), wanted)


@pytest.mark.parametrize("case", [*REFUSED, *ODD_REFUSED])
def test_what_cannot_go_back_is_named(case: str) -> None:
    why, text = {**REFUSED, **ODD_REFUSED}[case]
    wanted = bare(text)
    program = made(text)
    with nbd.watch(program.model, program.optimizer, runs=None) as dbg:
        dbg.break_when("step >= 8")
        dbg.run(lambda: program.loop(dbg.epochs, dbg.batches))
        assert dbg.wait(60)
        told = [one.text for one in dbg.history.notices if "cannot be made again" in one.title]
        assert len(told) == 1
        dbg.check()
        for refused in (lambda: dbg.rewind(3), dbg.replay, lambda: dbg.fork(2, lr=0.1)):
            with pytest.raises(nbd.DataError, match=why):
                refused()
        dbg.clear_breakpoints()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=1000)
    assert bitwise_equal((None, dict(program.model.state_dict())), wanted)


def test_a_look_that_ends_the_pass_is_told() -> None:
    program = made("")

    def loop() -> None:
        for _ in dbg.epochs(3):
            for x, y in dbg.batches(program.loader):
                program.step(x, y, 1.0)
                if dbg.on_trial:
                    break

    with nbd.watch(program.model, program.optimizer, runs=None) as dbg:
        dbg.break_when("step >= 8")
        dbg.run(loop)
        assert dbg.wait(60)
        before = [one.title for one in dbg.history.notices]
        dbg.check("frozen_layers", "loss_direction")
        told = [one for one in dbg.history.notices if "ended the pass" in one.title]
    assert not any("ended the pass" in title for title in before)
    assert len(told) == 1
    assert "dbg.on_trial" in told[0].text


CACHED = """
import functools

@functools.lru_cache(None)
def plain(n):
    return torch.ones(n).sum()

@functools.lru_cache(None)
def noise(n):
    return {returned}

def loop(epochs, batches):
    count = 0
    for _ in epochs(3):
        for x, y in batches(loader):
            count += 1
            step(x, y, 1 / (1 + float(plain(count)) + float(noise(count).abs().sum())))
"""


@pytest.mark.parametrize("returned", ["torch.randn(n)", "torch.zeros(n)"])
def test_a_cache_that_a_look_fills_is_told_once(returned: str) -> None:
    program = made(CACHED.format(returned=returned))
    with nbd.watch(program.model, program.optimizer, runs=None) as dbg:
        dbg.break_when("step >= 5")
        dbg.run(lambda: program.loop(dbg.epochs, dbg.batches))
        assert dbg.wait(60)
        for _ in range(2):
            dbg.check("frozen_layers", "loss_direction")
            dbg.run(steps=1)
        told = [one.text for one in dbg.history.notices if "cache" in one.title]
    assert len(told) == (returned == "torch.randn(n)")
    assert all(text.startswith("noise: ") and "cache_clear()" in text for text in told)
