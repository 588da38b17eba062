"""Data of every kind trains like a plain loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
)

import nbdebug as nbd
from tests.problems import FEATURES, SAMPLES, PlainLoop, blobs, same_weights, tiny_mlp

STEPS = 15
loss_fn = nn.CrossEntropyLoss()


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=1e-3)


def plain(model: nn.Module, data: Any = None, steps: int = STEPS) -> PlainLoop:
    return PlainLoop(model, blobs() if data is None else data, adam(model)).run(steps)


class Pairs(Dataset[Any]):
    """A map-style dataset of samples (X, y)."""

    def __init__(self) -> None:
        self.X, self.y = blobs()

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.X[index], int(self.y[index])


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return zip(*blobs(), strict=True)


def doubled(samples: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """A user-defined collate_fn."""
    X, y = zip(*samples, strict=True)
    return 2.0 * torch.stack(X), torch.as_tensor(y)


def as_numpy(X: torch.Tensor, y: torch.Tensor) -> Any:
    return X.double().numpy(), y.numpy().astype(np.int32)


def as_frames(X: torch.Tensor, y: torch.Tensor) -> Any:
    return pd.DataFrame(X.double().numpy()), pd.Series(y.numpy())


FORMS: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    "tensors": lambda X, y: (X, y),
    "list": lambda X, y: [X, y],
    "numpy": as_numpy,
    "mixed": lambda X, y: (X.numpy(), y),
    "frames": as_frames,
    "dataset": lambda X, y: TensorDataset(X, y),
    "subset": lambda X, y: Subset(TensorDataset(X, y), range(len(X))),
    "concat": lambda X, y: ConcatDataset(
        [TensorDataset(X[:50], y[:50]), TensorDataset(X[50:], y[50:])]
    ),
    "samples in a list": lambda X, y: Pairs(),
    "loader": lambda X, y: DataLoader(TensorDataset(X, y), batch_size=32, shuffle=True),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_data_trains_as_tensors_do(form: str) -> None:
    data = FORMS[form](*blobs())
    with nbd.Debugger(tiny_mlp(), data, loss_fn, batch_size=32) as dbg:
        dbg.run(steps=STEPS)
        expected = plain(tiny_mlp())
        assert dbg.history.frame("loss")["loss"].tolist() == expected.losses
        assert same_weights(dbg.model, expected.model)


def test_arrays_of_the_user_are_read_only() -> None:
    X, y = as_numpy(*blobs())
    X.setflags(write=False)
    before = X.copy()
    with nbd.Debugger(tiny_mlp(), (X, y), loss_fn, batch_size=32) as dbg:
        dbg.run(steps=3)
    assert np.array_equal(X, before)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16], ids=lambda k: k.__name__)
def test_floating_arrays_take_the_dtype_of_the_model(kind: type) -> None:
    X, y = blobs()
    seen: set[torch.dtype] = set()
    model = tiny_mlp().double()
    model.register_forward_pre_hook(lambda _, inputs: seen.add(inputs[0].dtype))
    with nbd.Debugger(model, (X.numpy().astype(kind), y), loss_fn) as dbg:
        dbg.step()
    assert seen == {torch.float64}


def test_a_model_in_double_precision_trains_as_a_plain_loop_does() -> None:
    X, y = blobs()
    data = X.double(), y
    with nbd.Debugger(tiny_mlp().double(), data, loss_fn, batch_size=32) as dbg:
        dbg.run(steps=STEPS)
        expected = plain(tiny_mlp().double(), data)
        assert dbg.history.frame("loss")["loss"].tolist() == expected.losses
        assert same_weights(dbg.model, expected.model)


def test_regression_on_a_frame_has_no_accuracy() -> None:
    X, _ = blobs()
    data = pd.DataFrame(X.numpy()), pd.DataFrame({"target": X.sum(1).numpy()})
    torch.manual_seed(0)
    with nbd.Debugger(nn.Linear(FEATURES, 1), data, nn.MSELoss()) as dbg:
        dbg.run(steps=3)
        assert "accuracy" not in dbg.history.series
        assert dbg.history.frame("loss")["loss"].notna().all()


def test_a_loader_keeps_its_collate_fn_batch_size_and_order() -> None:
    loader = DataLoader(Pairs(), batch_size=25, collate_fn=doubled)
    X, y = blobs()
    model = tiny_mlp()
    optimizer = adam(model)
    losses = []
    torch.manual_seed(0)
    for start in range(0, SAMPLES, 25):
        batch = slice(start, start + 25)
        loss = loss_fn(model(2.0 * X[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with nbd.Debugger(tiny_mlp(), loader, loss_fn) as dbg:
        assert dbg.controls["batch_size"] == 25
        dbg.run(epochs=1)
        assert dbg.history.frame("loss")["loss"].tolist() == losses
        assert same_weights(dbg.model, model)


def test_two_workers_give_the_same_training_as_none() -> None:
    loader = DataLoader(Pairs(), batch_size=32, shuffle=True, num_workers=2)
    with nbd.Debugger(tiny_mlp(), loader, loss_fn) as dbg:
        dbg.run(steps=STEPS)
        expected = plain(tiny_mlp())
        assert dbg.history.frame("loss")["loss"].tolist() == expected.losses
        assert same_weights(dbg.model, expected.model)


def test_a_stream_is_walked_from_begin_to_end() -> None:
    X, y = blobs()
    model = tiny_mlp()
    optimizer = adam(model)
    losses, sizes = [], []
    torch.manual_seed(0)
    for _ in range(2):
        for start in range(0, SAMPLES, 32):
            batch = slice(start, start + 32)
            loss = loss_fn(model(X[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            sizes.append(len(X[batch]))
    with nbd.Debugger(tiny_mlp(), Stream(), loss_fn, batch_size=32) as dbg:
        dbg.run(epochs=2)
        frame = dbg.history.frame()
        assert frame["loss"].tolist() == losses
        # The setting, not the short last batch.
        assert set(frame["batch_size"]) == {32.0}
        assert frame["samples"].tolist() == list(np.cumsum(sizes))
        assert same_weights(dbg.model, model)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_of_a_stream_keeps_its_collate_fn(workers: int) -> None:
    loader = DataLoader(Stream(), batch_size=20, collate_fn=doubled, num_workers=workers)
    seen: list[torch.Tensor] = []

    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        seen.append(batch[0].clone())
        return loss_fn(model(batch[0]), batch[1])

    with nbd.Debugger(tiny_mlp(), loader, step_fn=step_fn) as dbg:
        assert dbg.controls["batch_size"] == 20
        dbg.run(epochs=1)
        assert dbg.history.last("samples") == SAMPLES
    assert torch.equal(torch.cat(seen), 2.0 * blobs()[0])


def test_several_inputs_are_arguments_and_a_mapping_is_keywords() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = tiny_mlp()

        def forward(self, left: torch.Tensor, right: torch.Tensor) -> Any:
            return self.net(torch.cat([left, right], 1))

    X, y = blobs()
    left, right = X[:, :5], X[:, 5:]
    expected = plain(tiny_mlp()).losses

    class Named(Dataset[Any]):
        def __len__(self) -> int:
            return len(X)

        def __getitem__(self, index: int) -> Any:
            return {"left": left[index], "right": right[index]}, y[index]

    for data in ((left, right, y), Named()):
        with nbd.Debugger(Two(), data, loss_fn, batch_size=32) as dbg:
            dbg.run(steps=STEPS)
            assert dbg.history.frame("loss")["loss"].tolist() == expected


def test_step_fn_takes_the_batch_as_it_is() -> None:
    class Dictionaries(Dataset[Any]):
        def __init__(self) -> None:
            self.X, self.y = blobs()

        def __len__(self) -> int:
            return len(self.X)

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            return {"features": self.X[index], "label": self.y[index]}

    def step_fn(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return loss_fn(model(batch["features"]), batch["label"])

    with nbd.Debugger(tiny_mlp(), Dictionaries(), step_fn=step_fn, batch_size=32) as dbg:
        dbg.run(steps=STEPS)
        expected = plain(tiny_mlp())
        assert dbg.history.frame("loss")["loss"].tolist() == expected.losses
        assert dbg.history.last("samples") == min(STEPS * 32, 2 * SAMPLES + 32)
        assert same_weights(dbg.model, expected.model)
