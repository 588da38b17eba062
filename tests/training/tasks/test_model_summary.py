"""dbg.summary() equals numbers counted by hand and does not change training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from tests.problems import blobs, tiny_mlp


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.spare, self.head = nn.Linear(3, 3), nn.Linear(8, 4)
        self.body[0].weight.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.body(x))


def features() -> Any:
    X, y = blobs()
    return X[:, :5], y


def test_layers_shapes_and_parameters() -> None:
    assert features()[0].shape[1] == 5
    with nbd.Debugger(Nested(), features(), nn.CrossEntropyLoss(), batch_size=16) as dbg:
        found = dbg.summary()
    frame = found.frame().set_index("layer")
    assert set(frame.index) >= {"", "body", "body.0", "body.1", "body.2", "head"}
    assert frame.loc["body.0", "output_shape"] == (16, 8)
    assert frame.loc["head", "output_shape"] == (16, 4)
    sizes = {name: sum(p.numel() for p in m.parameters()) for name, m in Nested().named_modules()}
    for name in ("", "body", "body.0", "body.1", "head"):
        assert frame.loc[name, "parameters"] == sizes[name]
    assert frame.loc["body.0", "trainable"] == 8
    assert frame.loc["body.0", "share_trainable"] == pytest.approx(8 / 48)
    assert "16, 8" in found._repr_html_()
    assert "Linear" in repr(found)


def test_training_notices_nothing() -> None:
    losses = []
    for looked in (False, True):
        with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), dropout=0.0) as dbg:
            dbg.run(steps=3)
            if looked:
                dbg.summary()
            dbg.run(steps=5)
            losses.append(dbg.history.frame("loss")["loss"].tolist())
    assert losses[0] == losses[1]


def test_a_model_that_cannot_be_run_is_named() -> None:
    broken = nn.Sequential(nn.Linear(5, 2), nn.Linear(3, 2))
    with (
        nbd.Debugger(broken, features(), nn.MSELoss()) as d,
        pytest.raises(nbd.ModelError, match="could not be run"),
    ):
        d.summary()


def test_a_step_fn_hides_the_inputs() -> None:
    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    with (
        nbd.Debugger(tiny_mlp(), blobs(), step_fn=step_fn) as dbg,
        pytest.raises(nbd.ModelError, match="step_fn"),
    ):
        dbg.summary()
