"""Batches that a loop keeps and writes into go back with the training, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.training.data.loops import written_batches

ROWS = torch.randn(96, 6, generator=torch.Generator().manual_seed(3))
EPOCHS = 3
Write = Callable[[torch.Tensor, int], Any]


class Held:
    """Batches of one's own, which an object keeps."""

    def __init__(self) -> None:
        self.rows = ROWS.clone()

    def __iter__(self) -> Any:
        return (self.rows[i : i + 8] for i in range(0, 96, 8))


DATA: dict[str, Callable[[], Any]] = {
    "a list": lambda: [part.clone() for part in ROWS.split(8)],
    "a list of dicts": lambda: [{"x": part.clone()} for part in ROWS.split(8)],
    "parts of a tensor": lambda: list(ROWS.clone().split(8)),
    "a tensor": lambda: ROWS.clone().reshape(12, 8, 6),
    "an object": Held,
    "a loader of batches": lambda: DataLoader(
        [part.clone() for part in ROWS.split(8)],  # type: ignore[arg-type]
        batch_size=None,
    ),
    "a loader": lambda: DataLoader(TensorDataset(ROWS.clone()), 8),
}
WRITES: dict[str, Write] = {
    "in place": lambda x, step: x.mul_(0.9),
    "unseen": lambda x, step: x.data.mul_(0.9),
    "later": lambda x, step: x.mul_(0.9) if step > 20 else x,
    "never": lambda x, step: x,
}


def fork(dbg: Any) -> None:
    dbg.fork(3, lr=[0.05, 0.2]).discard()


def back_and_on(dbg: Any) -> None:
    dbg.rewind(-7)
    dbg.run(steps=5)
    dbg.rewind(-2)


def keeps(dbg: Any) -> None:
    dbg.fork(4, lr=[0.1]).keep(1)


def undone(dbg: Any) -> None:
    dbg.set(lr=0.02)
    dbg.run(steps=3)
    dbg.rewind(-3)
    dbg.set(lr=0.1)


ACTS: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda dbg: None,
    "a rewind": lambda dbg: dbg.rewind(-7),
    "a rewind by one": lambda dbg: dbg.rewind(-1),
    "a rewind far": lambda dbg: dbg.rewind(2),
    "a rewind to the beginning": lambda dbg: dbg.rewind(0),
    "two rewinds": back_and_on,
    "a replay": lambda dbg: dbg.replay(),
    "a fork": fork,
    "a fork that is kept": keeps,
    "a change that is undone": undone,
    "worst samples": lambda dbg: dbg.worst_samples(),
    "a range test": lambda dbg: dbg.lr_range_test(),
    "checks": lambda dbg: dbg.check(),
}


def trained(data: Any, write: Write, act: Callable[[Any], Any] | None, at: int = 22) -> Any:
    """Losses by step, weights and batches at the end, and what was refused."""
    torch.manual_seed(0)
    model = nn.Linear(6, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses: dict[int, float] = {}
    refused: list[str] = []
    state = {"step": 0}

    def loop(epochs: Any, batches: Any) -> None:
        for _ in epochs(EPOCHS):
            for batch in batches(data):
                x = batch["x"] if isinstance(batch, dict) else batch
                x = x if torch.is_tensor(x) else x[0]
                write(x, state["step"])
                optimizer.zero_grad()
                loss = functional.mse_loss(model(x)[:, 0], x.sum(1))
                loss.backward()
                optimizer.step()
                losses[state["step"]] = loss.item()
                state["step"] += 1

    if act is None:
        loop(range, iter)
    else:
        with nbd.watch(model, optimizer, runs=None) as dbg:
            dbg.break_when(f"step >= {at}")
            dbg.run(lambda: loop(dbg.epochs, dbg.batches))
            assert dbg.wait(60)
            dbg.clear_breakpoints()
            try:
                act(dbg)
            except nbd.NbdebugError as error:
                refused.append(str(error))
            with pytest.raises(nbd.LoopLeft):
                dbg.run(steps=10_000)
    data = data.dataset if isinstance(data, DataLoader) else data
    data = data.tensors if isinstance(data, TensorDataset) else data
    kept = data.rows if isinstance(data, Held) else data
    return [losses, model.state_dict(), kept], refused


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("name", DATA)
def test_what_a_loop_wrote_goes_back(name: str, act: str) -> None:
    plain, _ = trained(DATA[name](), WRITES["in place"], None)
    found, refused = trained(DATA[name](), WRITES["in place"], ACTS[act])
    assert not refused or act in ("worst samples", "a range test", "a fork that is kept")
    assert bitwise_equal(found, plain)


@pytest.mark.parametrize("act", ["a rewind", "a rewind to the beginning", "a replay", "a fork"])
@pytest.mark.parametrize("write", WRITES)
def test_so_do_other_ways_to_write(write: str, act: str) -> None:
    """Or it is refused, and training is where it was."""
    plain, _ = trained(DATA["a list"](), WRITES[write], None)
    found, refused = trained(DATA["a list"](), WRITES[write], ACTS[act])
    assert bitwise_equal(found, plain)
    assert not refused or write == "later"


@pytest.mark.parametrize("act", ["a rewind", "a rewind to the beginning", "a replay", "a fork"])
def test_what_is_too_large_for_a_copy_is_refused(act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written_batches, "MAX_BYTES", 100)
    plain, _ = trained(DATA["an object"](), WRITES["in place"], None)
    found, refused = trained(DATA["an object"](), WRITES["in place"], ACTS[act])
    assert bitwise_equal(found, plain)
    assert all("writes into its batches" in one for one in refused)
    assert bool(refused) == (act in ("a rewind to the beginning", "a replay"))
