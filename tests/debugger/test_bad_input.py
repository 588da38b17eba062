"""Bad input is refused with a clear message, and nothing changes."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import nbdebug as nbd
from nbdebug.errors import (
    ArgumentError,
    ControlNameError,
    ControlValueError,
    DataError,
    ModelError,
)
from tests.problems import FEATURES, SAMPLES, blobs, same_weights, tiny_mlp

X, y = blobs()
loss_fn = nn.CrossEntropyLoss()


def threads() -> int:
    return sum(thread.name == "nbdebug-training" for thread in threading.enumerate())


@contextmanager
def nothing_changes(model: nn.Module, *optimizers: torch.optim.Optimizer) -> Iterator[None]:
    """The model, the optimizers, the random numbers and the threads are as before."""
    before = copy.deepcopy(model)
    flags = [module.training for module in model.modules()]
    states = [copy.deepcopy(optimizer.state_dict()) for optimizer in optimizers]
    random, running = torch.get_rng_state(), threads()
    yield
    assert same_weights(model, before)
    assert [module.training for module in model.modules()] == flags
    assert [optimizer.state_dict() for optimizer in optimizers] == states
    assert all(not module._forward_hooks for module in model.modules())
    assert torch.equal(random, torch.get_rng_state())
    assert threads() == running


class Empty(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(())


NO_DATA: dict[str, tuple[Any, str]] = {
    "none": (None, "train_data is None: expected"),
    "nothing in a tuple": ((), "train_data is empty"),
    "tensors of length 0": ((X[:0], y[:0]), "train_data is empty: expected at least one sample"),
    "frame of length 0": ((pd.DataFrame(), pd.Series(dtype=float)), "train_data is empty"),
    "dataset of length 0": (TensorDataset(X[:0], y[:0]), "train_data is empty"),
    "different lengths": ((X, y[:-1]), f"X has {SAMPLES}, y has {SAMPLES - 1}"),
    "text": ((X, np.array(["a"] * SAMPLES)), r"train_data: y has dtype .*Encode text"),
    "objects": ((pd.DataFrame({"a": ["x"] * SAMPLES}), y), r"train_data: X has dtype object"),
    "a number": ((X, 3), "train_data: y is a single number"),
    "one tensor": (X, r"train_data is a Tensor: expected \(X, y\)"),
    "a path": ("data.csv", r"train_data is a str: expected \(X, y\)"),
    "a mapping": ({"X": X, "y": y}, r"train_data is a dict: expected \(X, y\)"),
    "a function": (blobs, "train_data is a function"),
    "ready-made batches": (
        DataLoader(TensorDataset(X, y), batch_size=None),
        r"train_data yields ready-made batches",
    ),
}


@pytest.mark.parametrize("case", NO_DATA)
def test_data_that_cannot_be_trained_on(case: str) -> None:
    data, said = NO_DATA[case]
    model = tiny_mlp()
    with nothing_changes(model), pytest.raises(DataError, match=said):
        nbd.Debugger(model, data, loss_fn)


@pytest.mark.parametrize("case", [case for case in NO_DATA if case != "none"])
def test_validation_data_is_called_by_its_name(case: str) -> None:
    data, said = NO_DATA[case]
    model = tiny_mlp()
    with (
        nothing_changes(model),
        pytest.raises(DataError, match=said.replace("train_data", "val_data")),
    ):
        nbd.Debugger(model, (X, y), loss_fn, val_data=data)


def test_a_stream_of_nothing_pauses() -> None:
    model = tiny_mlp()
    with nothing_changes(model), nbd.Debugger(model, Empty(), loss_fn) as dbg:
        with pytest.raises(DataError, match="has no samples"):
            dbg.run(steps=1)
        assert dbg.state == "paused"


NUMBERS = [0, 0.0, -1e-3, math.nan, math.inf, "0.1", None, [0.1], True]


@pytest.mark.parametrize("value", NUMBERS, ids=repr)
@pytest.mark.parametrize("name", ["lr", "clip_threshold"])
def test_rates_and_thresholds_that_make_no_sense(name: str, value: Any) -> None:
    model = tiny_mlp()
    said = rf"{name} must be a number in \(0, inf\), got"
    with nothing_changes(model):
        # None stands for the default of lr.
        if not (name == "lr" and value is None):
            with pytest.raises(ControlValueError, match=said):
                nbd.Debugger(model, (X, y), loss_fn, **{name: value})
        with nbd.Debugger(model, (X, y), loss_fn) as dbg:
            before = dict(dbg.controls)
            with pytest.raises(ControlValueError, match=said):
                dbg.set(**{name: value, "batch_size": 10})
            assert dict(dbg.controls) == before
            assert dbg.history.changes == ()


@pytest.mark.parametrize("value", [0, -5, 2.5, "64", math.nan, math.inf, True], ids=repr)
def test_batch_sizes_that_make_no_sense(value: Any) -> None:
    model = tiny_mlp()
    with nothing_changes(model):
        with pytest.raises(ControlValueError, match="batch_size must be a"):
            nbd.Debugger(model, (X, y), loss_fn, batch_size=value)
        with nbd.Debugger(model, (X, y), loss_fn) as dbg:
            with pytest.raises(ControlValueError, match="batch_size must be a"):
                dbg.set(batch_size=value)
            assert dbg.controls["batch_size"] == 64


def test_a_batch_larger_than_the_data_is_clamped_and_told() -> None:
    with nbd.Debugger(tiny_mlp(), (X, y), loss_fn, batch_size=10 * SAMPLES) as dbg:
        assert dbg.controls["batch_size"] == SAMPLES
        [notice] = dbg.history.notices
        assert notice.severity == "info"
        assert "batch_size" in notice.title
        assert f"Clamped to {SAMPLES}" in notice.text
        dbg.set(batch_size=20)
        dbg.set(batch_size=SAMPLES + 1)
        assert dbg.controls["batch_size"] == SAMPLES
        assert f"Clamped to {SAMPLES}" in dbg.history.changes[-1].note
        assert dbg.history.changes[-1].new == SAMPLES


MISSPELT = {
    "learning_rate": "lr",
    "batchsize": "batch_size",
    "optimiser": "optimizer",
    "cliping": "clip_mode",
    "val_dat": "'val_data'",
}


@pytest.mark.parametrize("name", MISSPELT)
def test_a_misspelt_keyword_is_told_the_right_one(name: str) -> None:
    model = tiny_mlp()
    with nothing_changes(model), pytest.raises(ArgumentError) as caught:
        nbd.Debugger(model, (X, y), loss_fn, **{name: 1})
    said = str(caught.value)
    assert name in said
    assert MISSPELT[name] in said
    assert len(said) < 100


def test_a_misspelt_control_is_told_the_right_one_and_changes_none() -> None:
    with nbd.Debugger(tiny_mlp(), (X, y), loss_fn) as dbg:
        with pytest.raises(ControlNameError, match=r"'bach_size'. Did you mean 'batch_size'\?"):
            dbg.set(lr=0.5, bach_size=3)
        assert dbg.controls["lr"] == 1e-3
        assert dbg.history.changes == ()


ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "no loss": ({"loss_fn": None}, "exactly one of loss_fn.* and step_fn"),
    "two losses": ({"step_fn": lambda model, batch: None}, "exactly one of loss_fn"),
    "loss by name": ({"loss_fn": "mse"}, "loss_fn is a str: expected a function"),
    "optimizer": ({"optimizer": "adamm"}, "optimizer must be one of sgd, nesterov, adam"),
    "optimizer kind": ({"optimizer": lambda parameters: 3}, "optimizer gave a int"),
    "val_every": ({"val_every": 0}, "val_every must be a whole number of at least 1 step, got 0"),
    "val_every text": ({"val_every": "2"}, "val_every must be a whole number"),
    "val_every share": ({"val_every": 1.5}, "val_every must be a whole number"),
    "overhead": ({"overhead": 5}, "overhead must be a share"),
    "overhead text": ({"overhead": "5%"}, "overhead must be a share"),
    "metric": ({"metrics": {"loss": lambda outputs, targets: 0.0}}, "metric.*'loss'.*another name"),
    "plateau": (
        {"schedule": partial(torch.optim.lr_scheduler.ReduceLROnPlateau, mode="max")},
        "ReduceLROnPlateau is stepped with a loss.*mode='min'",
    ),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments_that_make_no_sense(case: str) -> None:
    keywords, said = ARGUMENTS[case]
    model = tiny_mlp()
    with nothing_changes(model), pytest.raises(ArgumentError, match=said):
        nbd.Debugger(model, (X, y), **{"loss_fn": loss_fn, **keywords})


def test_models_that_cannot_be_trained() -> None:
    frozen, empty, lazy = tiny_mlp().requires_grad_(False), nn.ReLU(), nn.LazyLinear(4)
    for model in (frozen, empty):
        with (
            nothing_changes(model),
            pytest.raises(ModelError, match=r"no trainable parameter \(requires_grad"),
        ):
            nbd.Debugger(model, (X, y), loss_fn)
    with pytest.raises(ModelError, match="lazy layers: run one batch through it"):
        nbd.Debugger(lazy, (X, y), loss_fn)
    with pytest.raises(ModelError, match=r"model is a function: expected a torch.nn.Module"):
        nbd.Debugger(tiny_mlp, (X, y), loss_fn)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="meta device"):
        nbd.Debugger(nn.Linear(FEATURES, 4, device="meta"), (X, y), loss_fn)


def test_an_optimizer_of_another_model() -> None:
    model, other = tiny_mlp(), tiny_mlp()
    optimizer = torch.optim.Adam(other.parameters())
    with (
        nothing_changes(model, optimizer),
        pytest.raises(ModelError, match=r"does not hold this model's parameters .6 of its 6"),
    ):
        nbd.Debugger(model, (X, y), loss_fn, optimizer=optimizer)


def test_an_optimizer_that_calls_the_model_several_times() -> None:
    model = tiny_mlp()
    with nothing_changes(model), pytest.raises(ModelError, match="LBFGS"):
        nbd.Debugger(model, (X, y), loss_fn, optimizer=torch.optim.LBFGS(model.parameters()))


def test_a_schedule_of_another_optimizer() -> None:
    model = tiny_mlp()
    optimizer, other = (torch.optim.SGD(model.parameters(), lr=0.1) for _ in range(2))
    schedule = torch.optim.lr_scheduler.StepLR(other, 5)
    with (
        nothing_changes(model, optimizer),
        pytest.raises(ArgumentError, match="schedule belongs to another optimizer"),
    ):
        nbd.Debugger(model, (X, y), loss_fn, optimizer=optimizer, schedule=schedule)


def test_a_refused_control_leaves_the_optimizer_alone() -> None:
    model = tiny_mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with nothing_changes(model, optimizer), pytest.raises(ControlValueError, match="dropout"):
        nbd.Debugger(model, (X, y), loss_fn, optimizer=optimizer, lr=0.5, dropout=2.0)
