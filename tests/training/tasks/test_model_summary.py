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


def test_a_step_function_and_a_loop_are_summed_up_too() -> None:
    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    X, y = features()
    with nbd.Debugger(Nested(), (X, y), step_fn=step_fn, batch_size=16, runs=None) as dbg:
        expected = dbg.summary().frame()
        assert expected.set_index("layer").loc["body.0", "output_shape"] == (16, 8)
    model = Nested()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with nbd.watch(model, optimizer, runs=None) as watched:
        with pytest.raises(nbd.ModelError, match="make a step first"):
            watched.summary()
        for x in watched.batches(X[:32].split(16)):
            optimizer.zero_grad()
            model(x).sum().backward()
            optimizer.step()
        assert watched.summary().frame().equals(expected)


def test_modules_are_in_the_order_of_their_calls_and_shapes_are_those_of_hooks() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(8, 4), nn.Sequential(nn.Linear(5, 8), nn.Tanh())

        def forward(self, x: torch.Tensor) -> Any:
            return self.last(self.first(x))

    with nbd.Debugger(Backwards(), features(), nn.CrossEntropyLoss(), batch_size=16) as dbg:
        rows = dbg.summary().layers
    assert [row.layer for row in rows] == ["", "first", "first.0", "first.1", "last"]
    assert [row.depth for row in rows] == [0, 1, 2, 2, 1]
    assert [row.output_shape for row in rows] == [(16, 4), (16, 8), (16, 8), (16, 8), (16, 4)]


def test_modules_that_are_not_called_are_listed_without_a_shape() -> None:
    with nbd.Debugger(Nested(), features(), nn.CrossEntropyLoss(), batch_size=16) as dbg:
        found = dbg.summary()
    spare = next(row for row in found.layers if row.layer == "spare")
    assert (spare.output_shape, spare.parameters) == ((), 12)
    lines = repr(found).splitlines()
    assert len(lines) == 1 + len(found.layers)
    assert lines[0].split() == ["Layer", "Class", "Output", "shape", "Parameters", "Trainable"]
    assert len({len(line) for line in lines}) == 1


def test_data_that_draw_random_numbers_are_read_beside_training() -> None:
    class Drawn(torch.utils.data.Dataset[Any]):
        def __init__(self) -> None:
            self.X, self.y = features()

        def __len__(self) -> int:
            return len(self.X)

        def __getitem__(self, index: int) -> Any:
            return self.X[index] + torch.rand(()), self.y[index]

    losses = []
    for looked in (False, True):
        torch.manual_seed(1)
        with nbd.Debugger(Nested(), Drawn(), nn.CrossEntropyLoss(), runs=None) as dbg:
            dbg.run(steps=3)
            if looked:
                dbg.summary()
                dbg.network()
            dbg.run(steps=5)
            losses.append(dbg.history.frame("loss")["loss"].tolist())
    assert losses[0] == losses[1]
