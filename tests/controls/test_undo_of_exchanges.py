"""Undo, rewind and refusals where a loop has exchanged layers or its optimizer since."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from tests.controls.test_exchanged_layers import (
    BATCHES,
    CHANGES,
    FIRST,
    SECOND,
    a_block,
    a_layer,
    growth,
    hold,
    made,
    norms,
    train,
)


@pytest.mark.parametrize(
    "name", ["dropout", "bn_momentum", "frozen", "activation", "bn_statistics"]
)
def test_undo_takes_back_what_it_changed_and_leaves_new_layers(name: str) -> None:
    model, optimizer = made()
    values = CHANGES[name][0]
    with nbd.watch(model, optimizer, runs=None) as dbg:
        train(
            model, optimizer, dbg.epochs(3), dbg.batches, growth,
            lambda step: dbg.set(**values) if step == FIRST else None,
        )  # fmt: skip
        dbg.undo()
    plain, bare = made()
    growth(plain, bare)
    for ours, theirs in zip(model.modules(), plain.modules(), strict=True):
        assert type(ours) is type(theirs)
        assert getattr(ours, "p", None) == getattr(theirs, "p", None)
        assert getattr(ours, "momentum", None) == getattr(theirs, "momentum", None)
        assert ours.training == theirs.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_undo_of_layers_that_are_gone_is_refused() -> None:
    model, optimizer = made()
    with nbd.watch(model, optimizer, runs=None) as dbg:
        train(
            model, optimizer, dbg.epochs(3), dbg.batches, a_block,
            lambda step: dbg.set(frozen={"4": "frozen"}) if step == FIRST else None,
        )  # fmt: skip
        dbg.undo()
        assert all(parameter.requires_grad for parameter in model.parameters())
    model, optimizer = made()
    model[3], model[4][3] = nn.Identity(), nn.Identity()
    model[5] = nn.Sequential(nn.Dropout(0.2), nn.Linear(8, 1))
    hold(model, optimizer)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        train(
            model, optimizer, dbg.epochs(3), dbg.batches, a_layer,
            lambda step: dbg.set(dropout=0.4) if step == FIRST else None,
        )  # fmt: skip
        with pytest.raises(nbd.ControlValueError, match="no layer any more"):
            dbg.undo()
        assert model[5][0].p == 0.3


@pytest.mark.parametrize("values", [{"lr": 0.5}, {"momentum": 0.1}, {"clip_mode": "norm"}], ids=str)
def test_controls_of_an_optimizer_that_the_loop_has_left_are_refused(
    values: dict[str, Any],
) -> None:
    model, watched = made()
    with nbd.watch(model, watched, runs=None) as dbg:
        optimizer, step = watched, 0
        for epoch in dbg.epochs(3):
            if epoch == 1:
                optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            for x, y in dbg.batches(BATCHES):
                optimizer.zero_grad()
                nn.functional.mse_loss(model(x), y).backward()
                optimizer.step()
                step += 1
        with pytest.raises(nbd.ControlValueError, match="another SGD"):
            dbg.set(**values)
        dbg.set(dropout=0.4)
        assert [change.status for change in dbg.history.changes][-1] == "applied"


@pytest.mark.parametrize("name", ["dropout", "bn_statistics", "activation", "clip", "frozen"])
def test_a_rewind_across_an_exchange_brings_layers_and_values_back(name: str) -> None:
    values = {"clip_mode": "norm"} if name == "clip" else CHANGES[name][0]
    model, optimizer = made()
    with nbd.watch(model, optimizer, runs=None) as dbg:
        before = {n: type(m) for n, m in model.named_modules()}
        dbg.break_when(f"step >= {SECOND}")
        dbg.run(
            lambda: train(model, optimizer, dbg.epochs(3), dbg.batches, a_block, lambda _: None)
        )
        assert dbg.wait(60)
        dbg.clear_breakpoints()
        dbg.set(**values)
        dbg.rewind(FIRST)
        assert {n: type(m) for n, m in model.named_modules()} == before
        assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.1, 0.1]
        assert all(norm.training for norm in norms(model))
        assert all(parameter.requires_grad for parameter in model.parameters())
        dbg.set(**values)
        assert [change.status for change in dbg.history.changes if change.kind == "control"] == [
            "undone",
            "applied",
        ]
        if name in CHANGES:
            other, bare = made()
            CHANGES[name][1](other, bare)
            for ours, theirs in zip(model.modules(), other.modules(), strict=True):
                assert type(ours) is type(theirs)
                assert getattr(ours, "p", None) == getattr(theirs, "p", None)
                assert ours.training == theirs.training
            assert [p.requires_grad for p in model.parameters()] == [
                p.requires_grad for p in other.parameters()
            ]
