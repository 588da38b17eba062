"""Momentum that is switched on in the middle of a run, against a plain loop with empty buffers."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from tests.problems import PlainLoop, blobs, same_weights, tiny_mlp

OPTIMIZERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "rmsprop": (torch.optim.RMSprop, {}),
    "rmsprop, centered": (torch.optim.RMSprop, {"centered": True}),
    "rmsprop, one by one": (torch.optim.RMSprop, {"foreach": False, "weight_decay": 1e-3}),
    "sgd": (torch.optim.SGD, {}),
    "adam, no first beta": (torch.optim.Adam, {"betas": (0.0, 0.99), "amsgrad": True}),
    "nadam": (torch.optim.NAdam, {}),
}


def switch_on(loop: PlainLoop) -> None:
    for group in loop.optimizer.param_groups:
        if "betas" in group:
            group["betas"] = (0.8, group["betas"][1])
            continue
        group["momentum"] = 0.8
        if isinstance(loop.optimizer, torch.optim.RMSprop):
            for parameter in group["params"]:
                loop.optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_momentum_begins_with_empty_buffers(case: str) -> None:
    build, options = OPTIMIZERS[case]
    reference, model = tiny_mlp(), tiny_mlp()
    loop = PlainLoop(
        reference, blobs(), build(reference.parameters(), lr=0.01, **options), at={3: switch_on}
    )
    loop.run(9)
    made = build(model.parameters(), lr=0.01, **options)
    with nbd.Debugger(
        model, blobs(), nn.CrossEntropyLoss(), optimizer=made, batch_size=32, runs=None
    ) as dbg:
        dbg.run(steps=3)
        fork = dbg.fork(6, momentum=0.8)
        dbg.set(momentum=0.8)
        dbg.run(steps=6)
        assert dbg.history.frame("loss")["loss"].tolist() == loop.losses
        assert fork.changed.tolist() == loop.losses[3:]
        assert same_weights(model, reference)
        assert dbg.replay().equal
        for back in (5, 2):
            dbg.rewind(back)
            if back == 2:
                dbg.run(steps=1)
                dbg.set(momentum=0.8)
            dbg.run(steps=9 - dbg.session.step)
            assert same_weights(model, reference)


def test_momentum_is_switched_on_after_a_switch_of_optimizers_and_back() -> None:
    with nbd.Debugger(
        tiny_mlp(), blobs(), nn.CrossEntropyLoss(), optimizer="rmsprop", runs=None
    ) as dbg:
        dbg.run(steps=2)
        dbg.set(optimizer="sgd")
        dbg.set(momentum=0.5)
        dbg.run(steps=2)
        dbg.set(optimizer="rmsprop")
        dbg.set(momentum=0.5)
        dbg.run(steps=2)
        dbg.set(momentum=0.0)
        dbg.run(steps=1)
        dbg.set(momentum=0.9)
        dbg.run(steps=1)
        assert dbg.replay().equal


def test_a_script_and_a_checkpoint_on_disk_hold_the_buffers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments: dict[str, Any] = {"optimizer": "rmsprop", "runs": None}
    data, loss_fn = blobs(), nn.CrossEntropyLoss()
    with nbd.Debugger(tiny_mlp(), data, loss_fn, name="m", **arguments) as dbg:
        dbg.run(steps=2)
        dbg.set(momentum=0.5)
        dbg.timeline.save()
        dbg.run(steps=2)
        dbg.script("train.py")
        expected = {name: value.clone() for name, value in dbg.model.state_dict().items()}
        dbg.rewind(2)
        dbg.set(momentum=0.5)
    with nbd.Debugger.resume("m", tiny_mlp(), data, loss_fn, runs=None) as dbg:
        dbg.run(steps=2)
        found = dbg.model.state_dict()
        assert all(torch.equal(found[name], value) for name, value in expected.items())
    runpy.run_path("train.py")
    trained = torch.load("train-trained.pt", weights_only=True)
    assert all(torch.equal(trained[name], value) for name, value in expected.items())
