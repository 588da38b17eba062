"""Predictions for fixed samples against a plain forward pass of a copy of the model."""

from __future__ import annotations

import copy
import queue
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import nbdebug as nbd
from nbdebug.core.commands.running import WatchProbe
from nbdebug.core.results.inside.predictions import Predictions
from nbdebug.training.tasks.inside import live_views
from tests.inside import client_of
from tests.problems import blobs, images, tiny_cnn, tiny_mlp
from tests.training.timeline.timelines import equal, state


def plain(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Outputs of a copy in eval mode."""
    with torch.no_grad():
        return copy.deepcopy(model).eval()(inputs)  # type: ignore[no-any-return]


def chosen(found: Predictions, data: torch.Tensor) -> torch.Tensor:
    """The fixed samples in the data."""
    assert found.samples.indices is not None
    return data[list(found.samples.indices)]


class Recurrent(nn.Module):
    """A GRU and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = (
            nn.GRU(4, 8, batch_first=True, num_layers=2, dropout=0.3),
            nn.Linear(8, 3),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x)[0][:, -1])  # type: ignore[no-any-return]


class Attending(nn.Module):
    """A transformer layer and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.TransformerEncoderLayer(4, 2, 16, dropout=0.2, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).mean(1))  # type: ignore[no-any-return]


def mixed() -> nn.Module:
    return nn.Sequential(
        nn.Linear(20, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.4), nn.Linear(16, 3)
    )


def sequences(count: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(0)
    X = torch.randn(count, 5, 4, generator=drawn)
    return X, (X.sum((1, 2)) > 0).long() + (X[:, 0, 0] > 1).long()


def wide(count: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(0)
    X = torch.randn(count, 20, generator=drawn)
    return X, torch.randint(0, 3, (count,), generator=drawn)


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    "batch norm and dropout": (mixed, wide),
    "convolution": (tiny_cnn, images),
    "gru": (Recurrent, sequences),
    "transformer": (Attending, sequences),
}


@pytest.mark.parametrize("name", MODELS)
def test_probabilities_are_those_of_a_plain_pass_to_the_bit(name: str) -> None:
    make, data = MODELS[name]
    torch.manual_seed(0)
    X, y = data()
    with nbd.Debugger(make(), (X, y), nn.CrossEntropyLoss(), batch_size=16, runs=None) as dbg:
        dbg.run(steps=5)
        found = dbg.predictions()
        expected = torch.softmax(plain(dbg.model, chosen(found, X)), 1).numpy()
        labels = chosen(found, y).numpy()
    assert found.kind == "classes"
    assert (found.values == expected).all()
    assert (found.targets == labels).all()
    frame = found.to_frame()
    assert (frame["predicted"] == expected.argmax(1)).all()
    assert (frame["probability"] == expected[np.arange(len(labels)), labels]).all()
    counts = np.zeros((expected.shape[1],) * 2, int)
    for true, guess in zip(labels, expected.argmax(1), strict=True):
        counts[true, guess] += 1
    assert (found.confusion().to_numpy() == counts).all()


@pytest.mark.parametrize("name", MODELS)
def test_training_with_the_view_open_is_a_plain_loop_to_the_bit(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_views, "REFRESH_SECONDS", 0.0)
    make, data = MODELS[name]
    ends, looks = [], []
    for watched in (False, True):
        torch.manual_seed(0)
        with nbd.Debugger(
            make(), data(), nn.CrossEntropyLoss(), batch_size=16, overhead=1.0, runs=None
        ) as dbg:
            if watched:
                client_of(dbg).do(WatchProbe("predictions", True))
            dbg.run(steps=60)
            found = dbg.history.results.of(Predictions)
            looks.append(0 if found is None else len(found.history))
            ends.append((state(dbg), dbg.history.frame("loss")["loss"].tolist()))
    assert looks[0] == 0
    assert looks[1] > 2
    assert ends[0][1] == ends[1][1]
    assert equal(ends[0][0], ends[1][0])


def test_a_bare_loop_makes_the_same_steps_as_one_that_is_looked_at() -> None:
    X, y = wide(64)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    twin = copy.deepcopy(model)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    for _ in range(8):
        for part in range(0, 64, 16):
            optimizer.zero_grad()
            functional.cross_entropy(twin(X[part : part + 16]), y[part : part + 16]).backward()
            optimizer.step()
    batches = [(X[part : part + 16], y[part : part + 16]) for part in range(0, 64, 16)]
    loader: Any = torch.utils.data.DataLoader(batches, batch_size=None, shuffle=False)
    watched = torch.optim.SGD(model.parameters(), lr=0.1)
    with nbd.watch(model, watched, runs=None) as dbg:
        client_of(dbg).do(WatchProbe("predictions", True))

        def loop() -> None:
            for _ in dbg.epochs(8):
                for inputs, labels in dbg.batches(loader):
                    watched.zero_grad()
                    functional.cross_entropy(model(inputs), labels).backward()
                    watched.step()

        loop()
        found = dbg.predictions()
    assert equal(model.state_dict(), twin.state_dict())
    assert (found.values == torch.softmax(plain(twin, X[:16]), 1).numpy()).all()
    assert found.targets is None
    assert found.steps[-1] == 32
    assert "right" not in found.to_frame()


def test_steps_are_recorded_go_back_with_a_rewind_and_end_with_a_reset() -> None:
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), runs=None) as dbg:
        for _ in range(4):
            dbg.predictions()
            dbg.run(steps=10)
        first = dbg.predictions()
        assert first.steps == (0, 10, 20, 30, 40)
        dbg.rewind(20)
        held = dbg.history.results.of(Predictions)
        assert held is not None
        assert held.steps == (0, 10)
        again = dbg.predictions()
        assert again.steps == (0, 10, 20)
        assert (again.values == first.at(20).values).all()
        dbg.reset()
        assert dbg.history.results.of(Predictions) is None
        begun = dbg.predictions()
        assert begun.steps == (0,)
        assert (begun.values == first.at(0).values).all()


def test_held_out_samples_are_taken_where_there_are_some_and_a_batch_in_their_place() -> None:
    X, y = blobs(600)
    with nbd.Debugger(
        tiny_mlp(),
        (X[:300], y[:300]),
        nn.CrossEntropyLoss(),
        val_data=(X[300:], y[300:]),
        runs=None,
    ) as dbg:
        held = dbg.predictions()
        assert (held.samples.origin, held.samples.count) == ("val_data", 256)
        given = dbg.predictions((X[:7], y[:7]))
        assert (given.samples.origin, given.samples.count, given.steps) == ("given", 7, (0,))
        assert (given.values == torch.softmax(plain(dbg.model, X[:7]), 1).numpy()).all()
        arrays = dbg.predictions((X[:7].double().numpy(), y[:7].numpy()))
        assert (arrays.values == given.values).all()
        alone = dbg.predictions(X[:7])
        assert alone.targets is None
        assert (alone.values == given.values).all()
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            dbg.predictions(torch.randn(4, 99))
        assert dbg.predictions().samples.count == 7


def test_a_step_fn_is_read_by_the_loss_that_it_calls() -> None:
    X, y = blobs()

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        return functional.cross_entropy(model(batch[0]), batch[1])

    with nbd.Debugger(tiny_mlp(), (X, y), step_fn=step, runs=None) as dbg:
        found = dbg.predictions()
        expected = torch.softmax(plain(dbg.model, X), 1)
    rows = {tuple(row) for row in expected.numpy().round(5).tolist()}
    assert found.kind == "classes"
    assert found.targets is not None
    assert {tuple(row) for row in found.values.round(5).tolist()} <= rows
    assert found.to_frame()["right"].notna().all()


def test_values_are_compared_with_their_targets() -> None:
    X = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    y = X.sum(1, keepdim=True)
    with nbd.Debugger(nn.Linear(3, 1), (X, y), nn.MSELoss(), batch_size=10, runs=None) as dbg:
        dbg.run(steps=3)
        found = dbg.predictions()
        expected = plain(dbg.model, chosen(found, X)).numpy()
    assert found.kind == "regression"
    assert (found.values == expected).all()
    assert np.array_equal(found.to_frame()["error"], (expected - chosen(found, y).numpy())[:, 0])
    with pytest.raises(nbd.NbdebugError, match="no classes"):
        found.confusion()


def test_the_grid_of_two_inputs_is_that_of_a_plain_pass() -> None:
    drawn = torch.Generator().manual_seed(0)
    X = torch.rand(80, 2, generator=drawn) * torch.tensor([1.0, 20.0])
    y = (X[:, 0] > 0.5).long()
    with nbd.Debugger(nn.Linear(2, 2), (X, y), nn.CrossEntropyLoss(), runs=None) as dbg:
        dbg.run(steps=5)
        regions = dbg.predictions().regions
        assert regions is not None
        xs, ys = (np.linspace(*ends, 60, dtype=np.float32) for ends in (regions.x, regions.y))
        grid = torch.tensor([[x, y] for y in ys for x in xs])
        expected = torch.softmax(plain(dbg.model, grid), 1)
    assert regions.x[0] < float(X[:, 0].min()) < float(X[:, 0].max()) < regions.x[1]
    assert np.mean(regions.values.ravel() == expected.argmax(1).numpy()) > 0.999
    assert regions.confidence is not None
    assert np.allclose(regions.confidence.ravel(), expected.max(1).values.numpy(), atol=1e-5)


def test_large_samples_go_through_in_batches_with_the_same_numbers() -> None:
    X = torch.randn(40, 1, 180, 180, generator=torch.Generator().manual_seed(0))
    y = torch.arange(40) % 3
    model = nn.Sequential(nn.Conv2d(1, 2, 5, stride=4), nn.Flatten(), nn.Linear(2 * 44 * 44, 3))
    sizes = queue.SimpleQueue[int]()
    model.register_forward_pre_hook(lambda _, given: sizes.put(len(given[0])))
    with nbd.Debugger(model, (X, y), nn.CrossEntropyLoss(), batch_size=16, runs=None) as dbg:
        found = dbg.predictions()
    assert max(sizes.get_nowait() for _ in range(sizes.qsize())) == 16
    assert np.allclose(found.values, torch.softmax(plain(model, X), 1).numpy(), atol=1e-6)
