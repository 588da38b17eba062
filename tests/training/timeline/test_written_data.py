"""Large tensors and arrays beside the model are data until a step writes into them."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.state.values.written import MAX_DATA_BYTES, WrittenData
from tests.training.timeline.counting import Program, bare

TITLE = "A large tensor or array is copied from now on"
BANK = """
def loss_fn(outputs, targets):
    near = float(BANK[:16].mean())
    BANK[:16] = 0.5 * BANK[:16] + float(outputs.detach().mean())
    return mse_loss(outputs, targets + near)

def told():
    return BANK[:16, 0].tolist()
"""
MADE = {
    "a global": ("bank", "bank = torch.zeros(ROWS, 64)"),
    "an attribute": (
        "memory.bank",
        "class Memory:\n    def __init__(self):\n        self.bank = torch.zeros(ROWS, 64)\n\n"
        "memory = Memory()",
    ),
    "one of a list": ("banks[0]", "banks = [torch.zeros(ROWS, 64)]"),
    "an array": ("bank", "bank = np.zeros((ROWS, 64), dtype=np.float32)"),
    "an array by columns": ("bank", "bank = np.zeros((ROWS, 64), dtype=np.float32, order='F')"),
    "an array in a dict": ("memory['bank']", "memory = {'bank': np.zeros((ROWS, 64), np.float32)}"),
    "an array of an object": (
        "memory.bank",
        "class Memory:\n    def __init__(self):\n        self.bank = np.zeros((ROWS, 32))\n\n"
        "memory = Memory()",
    ),
}


def text(kind: str, rows: int = 70_000) -> str:
    place, made = MADE[kind]
    return made.replace("ROWS", str(rows)) + "\n" + BANK.replace("BANK", place)


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    sys.modules.pop("counting_program", None)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MADE)
def test_no_look_moves_it_and_it_goes_back(kind: str) -> None:
    program = Program(text(kind))
    with program.debugger() as dbg:
        dbg.check()
        dbg.run(steps=4)
        dbg.check()
        assert bitwise_equal(program.found(), bare(text(kind), 4))
        dbg.run(steps=6)
        for step in (5, 0):
            dbg.rewind(step)
            assert bitwise_equal(program.found(), bare(text(kind), step)), step
        dbg.run(steps=10)
        assert bitwise_equal(program.found(), bare(text(kind), 10))
        assert not [one for one in dbg.history.notices if one.title == TITLE]


@pytest.mark.parametrize("kind", MADE)
def test_of_a_very_large_one_it_is_said_since_when_it_goes_back(kind: str) -> None:
    program = Program(text(kind, 300_000))
    with program.debugger() as dbg:
        dbg.run(steps=10)
        assert bitwise_equal(program.found(), bare(text(kind, 300_000), 10))
        [notice] = [one for one in dbg.history.notices if one.title == TITLE]
        assert notice.text.startswith(f"{MADE[kind][0]}: ")
        dbg.rewind(notice.step + 1)
        assert bitwise_equal(program.found(), bare(text(kind, 300_000), notice.step + 1))


def test_data_that_nothing_writes_into_are_not_copied() -> None:
    known, data = WrittenData(), torch.zeros(MAX_DATA_BYTES // 4 + 1)
    assert not known.holds(data)
    data[0] = 1.0
    assert known.holds(data)
    assert not known.holds(torch.zeros(9))
    some = known.wanted(8)
    large, small = torch.zeros(1000), torch.zeros(2)
    assert [some(one) for one in (data, large, small, data)] == [True, False, True, True]
    with torch.inference_mode():
        assert not known.holds(torch.zeros(2))


def test_an_array_is_compared_ever_less_often() -> None:
    known, data = WrittenData(), np.zeros(MAX_DATA_BYTES // 8 + 1)
    assert [known.holds(data) for _ in range(3)] == [False] * 3
    data[-1] = 1.0
    assert known.holds(data)
    assert known.holds(data)
    read_only, parts = np.zeros(9), np.zeros((9, 9))[::2, ::2]
    read_only.flags.writeable = False
    assert not known.holds(read_only)
    assert not known.holds(parts)


@pytest.mark.parametrize("kind", ["array", "list"])
def test_a_write_that_comes_late_is_found(kind: str) -> None:
    known, array = WrittenData(), np.zeros(MAX_DATA_BYTES // 8 + 1)
    held = array if kind == "array" else [np.zeros(100), np.zeros(100)]
    assert not any(known.holds(held) for _ in range(100))
    array[-1] = 1.0
    if kind == "list":
        held[0][5] = 1.0
    assert sum(not known.holds(held) for _ in range(200)) < 100
