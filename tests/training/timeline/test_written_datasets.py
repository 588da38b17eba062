"""Large arrays, lists and tables of a dataset, where reading a sample writes into them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.errors import DataError
from tests.training.timeline import timelines
from tests.training.timeline.written_datasets import KINDS

IN_NO_FILE = {
    "table", "arrays of a table", "array of Python", "long array of Python", "file in memory",
    "structured objects",
}  # fmt: skip
BEFORE, STEPS = 22, 30
LOOKS: list[Callable[[nbd.Debugger], object]] = [
    nbd.Debugger.summary,
    nbd.Debugger.network,
    nbd.Debugger.predictions,
    nbd.Debugger.embedding,
    nbd.Debugger.worst_samples,
    nbd.Debugger.flight_record,
]


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def net() -> nn.Module:
    torch.manual_seed(0)
    return timelines.net()


def made(kind: str, **options: Any) -> nbd.Debugger:
    options = {"batch_size": 8} | options
    data = KINDS[kind]()
    return nbd.Debugger(net(), data, nn.CrossEntropyLoss(), overhead=0.0, runs=None, **options)


def losses(dbg: nbd.Debugger) -> list[float]:
    found: list[float] = dbg.history.frame("loss")["loss"].tolist()
    return found


def expected(kind: str) -> list[float]:
    with made(kind) as dbg:
        dbg.run(steps=STEPS)
        return losses(dbg)


@pytest.mark.parametrize("kind", KINDS)
def test_looks_leave_what_reading_writes_into_as_it_was(kind: str) -> None:
    with made(kind) as dbg:
        for look in LOOKS:
            look(dbg)
        for _ in range(2):
            dbg.run(steps=BEFORE // 2)
            for look in LOOKS:
                look(dbg)
        dbg.run(steps=STEPS - BEFORE)
        assert losses(dbg) == expected(kind)


@pytest.mark.parametrize("kind", ["array", "list of counts", "samples that count"])
def test_checks_leave_what_reading_writes_into_as_it_was(kind: str) -> None:
    with made(kind) as dbg:
        dbg.check()
        dbg.run(steps=BEFORE)
        dbg.check()
        dbg.run(steps=STEPS - BEFORE)
        assert losses(dbg) == expected(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_rewind_fork_replay_and_reset_take_back_what_reading_wrote(kind: str) -> None:
    with made(kind) as dbg:
        dbg.run(steps=BEFORE)
        assert dbg.rewind(12).equal
        dbg.fork(2, lr=0.1).discard()
        assert dbg.replay().equal
        dbg.run(steps=STEPS - 12)
        known = expected(kind)
        assert losses(dbg) == known
        dbg.reset()
        dbg.run(steps=STEPS)
        assert losses(dbg) == known


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - IN_NO_FILE))
def test_a_resume_goes_on_with_what_reading_wrote(kind: str) -> None:
    known = expected(kind)
    with made(kind, name="n") as dbg:
        dbg.run(steps=BEFORE)
    data = KINDS[kind]()
    with nbd.Debugger.resume(
        "n", net(), data, nn.CrossEntropyLoss(), overhead=0.0, runs=None
    ) as dbg:
        dbg.run(steps=STEPS - BEFORE)
        assert losses(dbg)[-(STEPS - BEFORE) :] == known[BEFORE:]


@pytest.mark.parametrize("kind", sorted(IN_NO_FILE))
def test_what_no_file_can_hold_is_refused_when_it_is_written(kind: str) -> None:
    with made(kind, name="n") as dbg:
        dbg.run(steps=4)
        with pytest.raises(DataError, match=r"\.held of the dataset is written into"):
            dbg.timeline.save()
