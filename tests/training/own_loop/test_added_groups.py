"""Parameter groups that a loop adds, as when it unfreezes layers, follow the controls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd

STEPS = 20
INPUTS = torch.randn(320, 4, generator=torch.Generator().manual_seed(0))
BATCHES = [(INPUTS[i : i + 16], INPUTS[i : i + 16].sum(1, keepdim=True)) for i in range(0, 320, 16)]


def made(kind: type[torch.optim.Optimizer]) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    model[0].requires_grad_(False)
    return model, kind(model[2].parameters(), lr=0.01, weight_decay=0.001)  # type: ignore[call-arg]


def train(
    model: nn.Sequential,
    optimizer: torch.optim.Optimizer,
    epochs: Iterable[int],
    batches: Callable[[Any], Iterable[Any]],
    change: Callable[[], object],
) -> None:
    made = 0
    for epoch in epochs:
        if epoch == 1 and len(optimizer.param_groups) == 1:
            model[0].requires_grad_(True)
            optimizer.add_param_group({"params": list(model[0].parameters()), "lr": 0.002})
        for x, y in batches(BATCHES):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
            made += 1
            if made == STEPS + 5:
                change()


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_a_rate_and_a_decay_act_on_a_group_that_was_added(
    kind: type[torch.optim.Optimizer],
) -> None:
    model, optimizer = made(kind)
    dbg = nbd.watch(model, optimizer, runs=None)
    train(model, optimizer, dbg.epochs(3), dbg.batches, lambda: dbg.set(lr=0.05, weight_decay=0.01))
    states = [change.status for change in dbg.history.changes]
    dbg.close()

    plain, bare = made(kind)

    def by_hand() -> None:
        for group, rate in zip(bare.param_groups, (0.05, 0.05 * (0.002 / 0.01)), strict=True):
            group["lr"], group["weight_decay"] = rate, 0.01

    train(plain, bare, range(3), iter, by_hand)
    assert states == ["applied", "applied"]
    assert [group["lr"] for group in optimizer.param_groups] == [
        group["lr"] for group in bare.param_groups
    ]
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_group_that_was_taken_away_leaves_the_controls() -> None:
    model, optimizer = made(torch.optim.SGD)
    model[0].requires_grad_(True)
    optimizer.add_param_group({"params": list(model[0].parameters()), "lr": 0.002})
    dbg = nbd.watch(model, optimizer, runs=None)

    def change() -> None:
        del optimizer.param_groups[1]
        dbg.set(lr=0.05, weight_decay=0.01)

    for _ in dbg.epochs(1):
        for number, (x, y) in enumerate(dbg.batches(BATCHES)):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
            if number == 5:
                change()
    states = [change.status for change in dbg.history.changes]
    dbg.close()
    assert states == ["applied", "applied"]
    assert [group["lr"] for group in optimizer.param_groups] == [0.05]


class Stubborn(dict[str, Any]):
    """A parameter group that lets nobody change its decay."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name == "weight_decay":
            raise RuntimeError("This group keeps its decay.")
        super().__setitem__(name, value)


def test_a_value_that_fails_halfway_is_taken_back() -> None:
    model, optimizer = made(torch.optim.SGD)
    model[0].requires_grad_(True)
    optimizer.add_param_group({"params": list(model[0].parameters()), "lr": 0.002})
    optimizer.param_groups[1] = Stubborn(optimizer.param_groups[1])
    dbg = nbd.watch(model, optimizer, runs=None)
    train(model, optimizer, dbg.epochs(2), dbg.batches, lambda: dbg.set(weight_decay=0.01))
    (change,) = dbg.history.changes
    dbg.close()
    assert change.status == "refused"
    assert "keeps its decay" in change.note
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.001, 0.001]
