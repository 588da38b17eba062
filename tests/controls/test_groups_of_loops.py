"""A learning rate and a decay keep the ratios that the parameter groups of a loop have now."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd

STEPS, FIRST, SECOND = 10, 7, 25
INPUTS = torch.randn(160, 4, generator=torch.Generator().manual_seed(0))
BATCHES = [(INPUTS[i : i + 16], INPUTS[i : i + 16].sum(1, keepdim=True)) for i in range(0, 160, 16)]
Groups = list[dict[str, Any]]
Act = Callable[[torch.optim.Optimizer], None]


def delete(optimizer: torch.optim.Optimizer) -> None:
    for parameter in optimizer.param_groups[1]["params"]:
        optimizer.state.pop(parameter, None)
    del optimizer.param_groups[1]


def delete_first(optimizer: torch.optim.Optimizer) -> None:
    del optimizer.param_groups[0]


def reverse(optimizer: torch.optim.Optimizer) -> None:
    optimizer.param_groups.reverse()


def swap(optimizer: torch.optim.Optimizer) -> None:
    groups = optimizer.param_groups
    groups[1], groups[2] = groups[2], groups[1]


def merge(optimizer: torch.optim.Optimizer) -> None:
    groups = optimizer.param_groups
    groups[1]["params"] += groups.pop()["params"]


def split(optimizer: torch.optim.Optimizer) -> None:
    bias = optimizer.param_groups[0]["params"].pop()
    optimizer.add_param_group({"params": [bias], "lr": 0.03, "weight_decay": 0.0})


def exchange_one(optimizer: torch.optim.Optimizer) -> None:
    """As many groups as before, but another one."""
    delete(optimizer)
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 0.04})


def set_all(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["weight_decay"] = 0.03


def set_one(optimizer: torch.optim.Optimizer) -> None:
    optimizer.param_groups[1].update(lr=0.2, weight_decay=0.05)


def set_first(optimizer: torch.optim.Optimizer) -> None:
    optimizer.param_groups[0].update(lr=0.1, weight_decay=0.01)


def rest(optimizer: torch.optim.Optimizer) -> None:
    optimizer.param_groups[2].update(lr=0.0, weight_decay=0.0)


def load(optimizer: torch.optim.Optimizer) -> None:
    """Loaded groups are other dicts."""
    kept = optimizer.state_dict()
    kept["param_groups"][1].update(lr=0.08, weight_decay=0.02)
    optimizer.load_state_dict(kept)


def load_and_reverse(optimizer: torch.optim.Optimizer) -> None:
    load(optimizer)
    reverse(optimizer)


ACTS: list[Act] = [
    delete, delete_first, reverse, swap, merge, split, exchange_one, set_all, set_one, set_first,
    rest, load, load_and_reverse,
]  # fmt: skip


def made() -> tuple[nn.Sequential, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Linear(8, 1))
    groups = [
        {"params": list(model[0].parameters())},
        {"params": list(model[2].parameters()), "lr": 0.02, "weight_decay": 0.0},
        {"params": list(model[3].parameters()), "lr": 0.01, "weight_decay": 0.01},
    ]
    return model, torch.optim.SGD(groups, lr=0.05, weight_decay=0.004)


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    epochs: Iterable[int],
    batches: Callable[[Any], Iterable[Any]],
    act: Act,
    change: Callable[[int], object],
) -> None:
    step = 0
    for epoch in epochs:
        if epoch == 1:
            act(optimizer)
        for x, y in batches(BATCHES):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
            step += 1
            change(step)


def by_hand(optimizer: torch.optim.Optimizer, name: str, value: float) -> None:
    groups = optimizer.param_groups
    first = next(group[name] for group in groups if group[name])
    for group in groups:
        group[name] = value * (group[name] / first)


def settings(optimizer: torch.optim.Optimizer) -> list[tuple[float, float]]:
    return [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups]


@pytest.mark.parametrize("earlier", [False, True], ids=["first change", "second change"])
@pytest.mark.parametrize("name", ["lr", "weight_decay"])
@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_a_change_keeps_the_ratios_of_the_groups_as_they_are(
    act: Act, name: str, earlier: bool
) -> None:
    changes = {FIRST: 0.02, SECOND: 0.008} if earlier else {SECOND: 0.008}
    model, optimizer = made()
    with nbd.watch(model, optimizer, runs=None) as dbg:

        def live(step: int) -> None:
            if step in changes:
                dbg.set(**{name: changes[step]})

        train(model, optimizer, dbg.epochs(3), dbg.batches, act, live)
        assert [change.status for change in dbg.history.changes] == ["applied"] * len(changes)
        assert dbg.controls[name] == changes[SECOND]

    plain, bare = made()

    def hand(step: int) -> None:
        if step in changes:
            by_hand(bare, name, changes[step])

    train(plain, bare, range(3), iter, act, hand)
    assert sum(settings(optimizer), ()) == pytest.approx(sum(settings(bare), ()), rel=1e-14)
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


def test_a_change_to_and_fro_leaves_every_group_as_it_was_to_the_bit() -> None:
    model, optimizer = made()
    before = settings(optimizer)
    with nbd.watch(model, optimizer, runs=None) as dbg:

        def live(step: int) -> None:
            if step % 2:
                dbg.set(lr=0.05 / 3 + step / 700, weight_decay=0.0007 * step)
            else:
                dbg.set(lr=0.05, weight_decay=0.004)

        train(model, optimizer, dbg.epochs(3), dbg.batches, lambda _: None, live)
    assert settings(optimizer) == before


def test_groups_at_a_decay_of_zero_find_back_to_their_ratios() -> None:
    model, optimizer = made()
    with nbd.watch(model, optimizer, runs=None) as dbg:
        values = {5: 0.0, 15: 0.008}
        train(
            model, optimizer, dbg.epochs(3), dbg.batches, reverse,
            lambda step: dbg.set(weight_decay=values[step]) if step in values else None,
        )  # fmt: skip
        # The first one is now the group that was the last one.
        assert [group["weight_decay"] for group in optimizer.param_groups] == pytest.approx(
            [0.008, 0.0, 0.0032]
        )


@pytest.mark.parametrize("name", ["lr", "weight_decay"])
def test_undo_puts_every_group_back(name: str) -> None:
    model, optimizer = made()
    with nbd.watch(model, optimizer, runs=None) as dbg:

        def live(step: int) -> None:
            if step == FIRST:
                dbg.set(**{name: 0.011})

        train(model, optimizer, dbg.epochs(3), dbg.batches, reverse, live)
        dbg.undo()
    _, bare = made()
    reverse(bare)
    assert settings(optimizer) == pytest.approx(settings(bare))


def test_a_rewind_across_the_order_of_groups_brings_their_ratios_back() -> None:
    model, optimizer = made()
    with nbd.watch(model, optimizer, runs=None) as dbg:
        dbg.break_when(f"step >= {SECOND}")
        dbg.run(
            lambda: train(model, optimizer, dbg.epochs(3), dbg.batches, reverse, lambda _: None)
        )
        assert dbg.wait(60)
        dbg.clear_breakpoints()
        dbg.set(lr=0.03)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(
            [0.03, 0.06, 0.15]
        )
        dbg.rewind(FIRST)
        assert settings(optimizer) == settings(made()[1])
        dbg.set(lr=0.1)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.04, 0.02])
