"""Layers that are trained in eval mode are measured; what is evaluated in between is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.commands.running import WatchProbe
from tests.inside import queue_of
from tests.problems import PlainLoop, blobs, same_weights

X, Y = blobs(samples=64)
loss_fn = nn.CrossEntropyLoss()
LAYERS = ("0", "1", "2", "4")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 8)
    return nn.Sequential(*layers)


def whole(model: nn.Sequential) -> None:
    model.eval()


def backbone(model: nn.Sequential) -> None:
    for layer in list(model)[:3]:
        layer.eval().requires_grad_(False)


def norms(model: nn.Sequential) -> None:
    model[1].eval()


RESTING: dict[str, Callable[[nn.Sequential], None]] = {
    "none": lambda model: None, "whole model": whole, "frozen backbone": backbone, "norm": norms
}  # fmt: skip


def outputs(model: nn.Sequential) -> Iterator[tuple[str, torch.Tensor]]:
    """Output of each layer by a plain loop over them, without any hook."""
    value = X
    for name, layer in model.named_children():
        value = layer(value)
        yield name, value.detach()


def measured(dbg: nbd.Debugger, group: str = "activation_mean") -> dict[str, float]:
    table = dbg.history.snapshot().series
    return {name: float(table[f"{group}/{name}"].mean[0]) for name in LAYERS}


@pytest.mark.parametrize("resting", RESTING)
def test_every_layer_is_measured_on_the_batch_of_the_step(resting: str) -> None:
    model, twin = network(), network()
    RESTING[resting](model)
    RESTING[resting](twin)
    held_out = X * 100.0, Y
    with nbd.Debugger(
        model, (X, Y), loss_fn, batch_size=64, val_data=held_out, val_every=1, runs=None
    ) as dbg:
        dbg.step()
        found = measured(dbg)
    with torch.no_grad():
        expected = {name: value.mean().item() for name, value in outputs(twin)}
    # Dropout draws other masks, and passes them on.
    exact = LAYERS if not twin[3].training else LAYERS[:3]
    assert {name: found[name] for name in exact} == pytest.approx(
        {name: expected[name] for name in exact}, abs=1e-4
    )
    assert not any(value != value for value in found.values())


@pytest.mark.parametrize("resting", RESTING)
def test_weights_are_those_of_a_plain_loop(resting: str) -> None:
    model, twin = network(), network()
    RESTING[resting](model)
    RESTING[resting](twin)
    optimizer = torch.optim.SGD([p for p in twin.parameters() if p.requires_grad], lr=0.1)
    plain = PlainLoop(twin, (X, Y), optimizer).run(5)
    with nbd.Debugger(
        model, (X, Y), loss_fn, optimizer="sgd", lr=0.1, batch_size=32, runs=None
    ) as dbg:
        dbg.run(steps=5)
        assert same_weights(model, plain.model)


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("begins", ["train", "eval"])
def test_what_step_fn_evaluates_is_no_output_of_the_step(order: str, begins: str) -> None:
    def evaluated(model: nn.Module) -> None:
        model.eval()
        with torch.no_grad():
            model(X * 100.0)

    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        if order == "before":
            evaluated(model)
        model.train()
        loss = loss_fn(model(batch[0]), batch[1])
        if order == "after":
            evaluated(model)
            model.train(begins == "train")
        return loss

    model, twin = network(), network()
    model.train(begins == "train")
    with nbd.Debugger(model, (X, Y), step_fn=step_fn, batch_size=64, runs=None) as dbg:
        dbg.step()
        found = measured(dbg)
    if order == "after":
        # The norm of the plain pass takes its statistics from the batch, as in training.
        expected = {name: value.mean().item() for name, value in outputs(twin)}
        assert found["0"] == pytest.approx(expected["0"], abs=1e-4)
        assert found["2"] == pytest.approx(expected["2"], abs=1e-4)
    # For a layer that runs several times the last call counts, which is the one in training mode.
    assert abs(found["0"]) < 5.0


def test_the_histogram_is_there_too() -> None:
    model = network().eval()
    with nbd.Debugger(model, (X, Y), loss_fn, runs=None) as dbg:
        queue_of(dbg).put(WatchProbe("activation_histogram", True))
        dbg.run(steps=2)
        assert {f"activation/{name}" for name in LAYERS} <= dbg.history.snapshot().histograms.keys()


def test_units_that_died_in_a_frozen_backbone_are_found() -> None:
    model = network().eval()
    with torch.no_grad():
        model[0].weight[:4], model[0].bias[:4] = 0.0, 0.0
    with nbd.Debugger(model, (X, Y), loss_fn, lr=1e-9, batch_size=64, runs=None) as dbg:
        dbg.run(steps=120)
        dead = dbg.history.snapshot().series["dead/0"].mean
        assert dead[-1] == 0.5


@pytest.mark.parametrize(
    ("rest", "first"), [(whole, "1 (BatchNorm1d) and 1 more"), (norms, "1 (BatchNorm1d)")]
)
def test_layers_that_another_cell_puts_into_eval_mode_are_told_once(
    rest: Callable[[nn.Sequential], None], first: str
) -> None:
    model = network()
    with nbd.Debugger(model, (X, Y), loss_fn, batch_size=16, runs=None) as dbg:
        dbg.run(steps=3)
        assert not dbg.history.notices
        rest(model)
        for _ in range(2):
            dbg.run(steps=3)
        [told] = dbg.history.notices
        assert told.title == "Some layers are in eval mode"
        assert told.text.startswith(f"{first}: in eval mode since the last run.")
        model.train()
        dbg.run(steps=3)
        rest(model)
        dbg.run(steps=3)
        assert len(dbg.history.notices) == 2
