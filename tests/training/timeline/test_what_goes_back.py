"""Rewind restores every part of a training, and replay repeats its edits."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import nbdebug as nbd
from tests.inside import optimizer_of, timeline_of
from tests.training.timeline.timelines import (
    X,
    Y,
    equal,
    go_on_to,
    make,
    net,
    state,
)


def test_a_batch_left_out_is_left_out_again() -> None:
    broken = X.clone()
    broken[40] = torch.nan
    with make(data=(broken, Y), val_data=None) as dbg:
        go_on_to(dbg, 20)
        before = state(dbg)
        assert len(timeline_of(dbg).edits.events) >= 3
        assert dbg.replay().equal
        assert dbg.rewind(3).equal
        go_on_to(dbg, 20)
        assert equal(before, state(dbg))


def test_a_scaler_goes_back_too() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**4, growth_interval=5)
    with make(scaler=scaler) as dbg:
        dbg.run(steps=23)
        assert dbg.replay().equal
        scale = scaler.get_scale()
        dbg.rewind(3)
        assert scaler.get_scale() < scale
        dbg.run(steps=20)
        assert scaler.get_scale() == scale


def test_groups_that_an_optimizer_took_in_are_given_back() -> None:
    model = net()
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    rest = [p for p in model.parameters() if p.requires_grad]
    with make(model=model, optimizer=torch.optim.Adam(rest, lr=1e-3)) as dbg:
        dbg.run(steps=5)
        dbg.set(frozen="trainable")
        dbg.run(steps=5)
        assert dbg.replay().equal
        assert len(optimizer_of(dbg).param_groups) == 2
        dbg.rewind(5)
        assert len(optimizer_of(dbg).param_groups) == 1
        assert not model[0].weight.requires_grad


def test_relatives_among_optimizers_go_on_sharing_their_state(dbg: nbd.Debugger) -> None:
    dbg.run(steps=3)
    dbg.set(optimizer="adamw")
    dbg.run(steps=3)
    dbg.set(optimizer="sgd")
    dbg.run(steps=3)
    dbg.rewind(8)
    dbg.set(optimizer="adam")
    dbg.run(steps=3)
    assert dbg.replay().equal


def test_undoing_a_reinitialisation_is_replayed(dbg: nbd.Debugger) -> None:
    dbg.run(steps=5)
    dbg.set(reinit={"0": "xavier"})
    dbg.run(steps=5)
    dbg.checkpoint()
    dbg.set(reinit="undo")
    dbg.run(steps=5)
    before = state(dbg)
    assert dbg.replay().equal
    dbg.rewind(12)
    dbg.run(steps=3)
    assert equal(before, state(dbg))


def test_estimating_statistics_anew_is_replayed(dbg: nbd.Debugger) -> None:
    dbg.run(steps=5)
    dbg.reestimate_batchnorm()
    dbg.run(steps=5)
    assert dbg.replay().equal


CHANGES: list[dict[str, Any]] = [
    {"clip_overrides": {"0": 0.1}, "clip_mode": "layer"}, {"dropout": {"3": 0.6}},
    {"activation": "tanh"}, {"bn_momentum": 0.5}, {"bn_statistics": "freeze"},
    {"frozen": {"0": "frozen"}}, {"layer_order": "dropout_norm"},
    {"weight_decay": 0.1, "momentum": 0.5, "beta2": 0.9}, {"optimizer": "rmsprop"},
    {"schedule": "one_cycle", "schedule_steps": 40, "warmup_steps": 3},
    {"lr_change": "continue", "schedule": "step", "schedule_factor": 0.5, "lr": 0.1},
    {"clip_mode": "adaptive", "clip_percentile": 50.0, "clip_norm_type": 1.0},
    {"batch_size": 5}, {"reinit": "default"},
    {"excluded_samples": [3, 17, 40]}, {"relabelled": {5: 1, 6: 2}},
    {"excluded_samples": range(60), "relabelled": {90: 0}, "batch_size": 6},
]  # fmt: skip


@pytest.mark.parametrize("changes", CHANGES, ids=lambda c: next(iter(c)))
def test_every_control_goes_back_and_comes_again(changes: dict[str, Any]) -> None:
    with make() as dbg:
        dbg.run(steps=9)
        controls, before = dict(dbg.controls), state(dbg)
        dbg.set(**changes)
        dbg.run(steps=9)
        assert dbg.replay().equal
        after = state(dbg)
        dbg.rewind(9)
        assert (dict(dbg.controls), equal(state(dbg), before)) == (controls, True)
        dbg.set(**changes)
        dbg.run(steps=9)
        assert equal(state(dbg), after)
        dbg.reset()
        assert dict(dbg.controls) == controls
