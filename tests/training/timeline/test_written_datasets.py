"""Large arrays, lists and tables of a dataset, where reading a sample writes into them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import nbdebug as nbd
from nbdebug.errors import DataError
from tests.training.timeline import timelines
from tests.training.timeline.timelines import N, X, Y

Read = Callable[[Any, int, Any], Any]


class Held(Dataset[Any]):
    """Reads a sample by a function that may write into what the dataset holds."""

    def __init__(self, held: Any, read: Read) -> None:
        self.held, self.read = held, read

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        x = self.read(self, index, X[index])
        return torch.as_tensor(np.asarray(x), dtype=torch.float32).clone(), Y[index]


def mixed_in(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held[i] = 0.5 * self.held[i] + 0.5 * x.numpy()
    return self.held[i]


def mixed_in_tensor(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held[i] = 0.5 * self.held[i] + 0.5 * x
    return self.held[i].float()


def mixed_in_data(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held.data[i] = 0.5 * self.held[i] + 0.5 * x
    return self.held[i]


def mixed_in_each(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held[i] += 0.5 * (x.numpy() - self.held[i])
    return self.held[i]


def bound_anew(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held = 0.9 * self.held + 0.1 * x.numpy()
    return x - torch.as_tensor(self.held[0])


def counted(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held[i] += 1
    return x / self.held[i]


def counted_in_dict(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held[i]["n"] += 1
    return x / self.held[i]["n"]


def counted_in_array(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held["n"][i] += 1
    return x / self.held["n"][i]


def counted_in_table(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held.loc[i, "n"] += 1
    return x / self.held.loc[i, "n"]


def struck_off(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held.discard(i)
    return x * (1 + len(self.held) / 2000)


def remembered(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held.append(x)
    return x + 0.1 * self.held[0]


def logged(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held.append(i)
    return x / self.held.count(i)


def by_key(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held[i % 7] = self.held.get(i % 7, np.zeros(300)) + 1
    return x / self.held[i % 7][0]


def late(self: Any, i: int, x: torch.Tensor) -> Any:
    self.reads = getattr(self, "reads", 0) + 1
    return mixed_in(self, i, x) if self.reads > 150 else x


BANK = np.zeros((N, 6), np.float32)


def mixed_in_global(self: Any, i: int, x: torch.Tensor) -> Any:
    BANK[i] = 0.5 * BANK[i] + 0.5 * x.numpy()
    return BANK[i]


def bank_of_module(_: Any = None) -> None:
    BANK[:] = 0


def closed_over() -> Dataset[Any]:
    bank = np.zeros((N, 6), np.float32)

    def read(self: Any, i: int, x: torch.Tensor) -> Any:
        bank[i] = 0.5 * bank[i] + 0.5 * x.numpy()
        return bank[i]

    return Held(None, read)


class Mean(nn.Module):
    """A transform that keeps a mean in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(300, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.mean.mul_(0.9).add_(0.1 * x)
        return x - self.mean[0]


class Centred:
    """A collate_fn that keeps a mean."""

    def __init__(self) -> None:
        self.mean = np.zeros((60, 6), np.float32)

    def __call__(self, samples: list[Any]) -> Any:
        x = torch.stack([one for one, _ in samples])
        self.mean[:] = 0.9 * self.mean + 0.1 * x.mean(0).numpy()
        return x - torch.as_tensor(self.mean[0]), torch.stack([y for _, y in samples])


def plain(self: Any, i: int, x: torch.Tensor) -> Any:
    return x


def cached(self: Any, i: int, x: torch.Tensor) -> Any:
    if self.held[i] is None:
        self.held[i] = x * 2
    return self.held[i]


KINDS: dict[str, Callable[[], Any]] = {
    "array": lambda: Held(np.zeros((N, 6), np.float32), mixed_in),
    "array in the order of Fortran": lambda: Held(np.zeros((N, 6), order="F"), mixed_in),
    "view of an array": lambda: Held(np.zeros((N, 12))[:, ::2], mixed_in),
    "fields of an array": lambda: Held(np.zeros(N, [("n", "i4"), ("x", "f8")]), counted_in_array),
    "array of counts": lambda: Held(np.zeros(5000, np.int64), counted),
    "array that is bound anew": lambda: Held(np.zeros((60, 6), np.float32), bound_anew),
    "tensor": lambda: Held(torch.zeros(N, 6), mixed_in_tensor),
    "tensor by way of .data": lambda: Held(torch.zeros(N, 6), mixed_in_data),
    "bfloat16": lambda: Held(torch.zeros(N, 6, dtype=torch.bfloat16), mixed_in_tensor),
    "tensor that is transposed": lambda: Held(torch.zeros(6, N).t(), mixed_in_tensor),
    "list of counts": lambda: Held([0] * 5000, counted),
    "dict of counts": lambda: Held(dict.fromkeys(range(2000), 0), counted),
    "bytes": lambda: Held(bytearray(3000), counted),
    "list of arrays": lambda: Held([np.zeros(6, np.float32) for _ in range(N)], mixed_in),
    "arrays of a list": lambda: Held([np.zeros(6, np.float32) for _ in range(N)], mixed_in_each),
    "samples that count": lambda: Held([{"n": 0} for _ in range(N)], counted_in_dict),
    "set": lambda: Held(set(range(2000)), struck_off),
    "queue of tensors": lambda: Held(deque(maxlen=90), remembered),
    "list that grows": lambda: Held([], logged),
    "arrays that come later": lambda: Held({}, by_key),
    "from step 19 on": lambda: Held(np.zeros((N, 6), np.float32), late),
    "global array": lambda: Held(bank_of_module(), mixed_in_global),
    "array of a closure": closed_over,
    "buffer of a transform": lambda: Held(Mean(), lambda self, i, x: self.held(x)),
    "collate_fn": lambda: DataLoader(Held(None, plain), 8, shuffle=True, collate_fn=Centred()),
    "table": lambda: Held(pd.DataFrame({"n": np.zeros(N)}), counted_in_table),
    "cache, which is no state": lambda: Held([None] * N, cached),
}
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


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "table"])
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


def test_a_table_that_reading_writes_into_is_refused_in_a_file() -> None:
    with made("table", name="n") as dbg:
        dbg.run(steps=4)
        with pytest.raises(DataError, match=r"table .*held of the dataset is written into"):
            dbg.timeline.save()


def test_a_part_that_is_too_large_to_be_copied_is_told() -> None:
    def written(self: Any, i: int, x: torch.Tensor) -> Any:
        self.held[0] = 0.5 * self.held[0] + 0.01 * float(x[0])
        return x + self.held[0]

    data = Held(np.zeros(5_000_000), written)
    with nbd.Debugger(net(), data, nn.CrossEntropyLoss(), runs=None) as dbg:
        dbg.run(steps=4)
        told = [one for one in dbg.history.notices if "writes into a large part" in one.title]
    assert len(told) == 1
    assert "held" in told[0].text
