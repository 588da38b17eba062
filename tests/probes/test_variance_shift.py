"""The variance shift against plain arithmetic and against theory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import nbdebug as nbd
from tests.inside import probes_of, session_of
from tests.problems import CLASSES, FEATURES, blobs, images, tiny_cnn


def watched(model: nn.Module, data: Any, **keywords: Any) -> nbd.Debugger:
    loss = {} if "step_fn" in keywords else {"loss_fn": nn.CrossEntropyLoss()}
    return nbd.Debugger(model, data, batch_size=50, overhead=1.0, **loss, **keywords)


def last(dbg: nbd.Debugger) -> dict[str, float]:
    return dbg.history.snapshot().members("variance_shift")


def after_dropout(p: float, **keywords: Any) -> nn.Sequential:
    """A norm whose inputs have mean zero, since it stands behind another one, and Dropout."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(FEATURES, 64),
        nn.BatchNorm1d(64),
        nn.Dropout(p),
        nn.BatchNorm1d(64, **keywords),
        nn.Linear(64, CLASSES),
    )


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5])
def test_a_dropout_right_before_shifts_by_one_over_the_keep_probability(p: float) -> None:
    with watched(after_dropout(p), blobs(1000), lr=1e-4) as dbg:
        dbg.run(steps=60)
        probes_of(dbg).reset()
        dbg.run(steps=1)
        shifts = last(dbg)
        assert list(shifts) == ["1", "3"]
        assert shifts["1"] == pytest.approx(1.0, abs=0.12)
        assert shifts["3"] == pytest.approx(1 / (1 - p), rel=0.12)


@pytest.mark.parametrize(
    ("build", "data"),
    [(lambda: after_dropout(0.5), blobs), (tiny_cnn, images)],
    ids=["mlp", "cnn"],
)
def test_the_value_is_that_of_plain_arithmetic(
    build: Callable[[], nn.Sequential], data: Callable[..., Any]
) -> None:
    X, y = data()
    with nbd.Debugger(build(), (X, y), nn.CrossEntropyLoss(), batch_size=len(X)) as dbg:
        assert dbg.history is not None
        dbg.run(steps=1)
        shifts = last(dbg)
        model = dbg.model.eval()
        expected = {}
        x = X
        for name, module in model.named_children():
            if hasattr(module, "running_var"):
                channels = x.detach().transpose(0, 1).flatten(1)
                expected[name] = (module.running_var.mean() / channels.var(1).mean()).item()
            x = module(x)
    assert shifts.keys() == expected.keys()
    assert [shifts[name] for name in expected] == pytest.approx(list(expected.values()), rel=1e-4)


class ByName(nn.Module):
    """Takes its inputs by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.body = after_dropout(0.5)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return self.body(points)


class Named(Dataset[Any]):
    def __init__(self) -> None:
        self.X, self.y = blobs()

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, index: int) -> Any:
        return {"points": self.X[index]}, self.y[index]


def test_inputs_that_are_a_dict() -> None:
    with watched(ByName(), Named()) as dbg:
        dbg.run(steps=1)
        assert list(last(dbg)) == ["body.1", "body.3"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_compiled_model_is_measured_as_it_was_written() -> None:
    with watched(torch.compile(after_dropout(0.5), backend="eager"), blobs()) as dbg:
        dbg.run(steps=1)
        assert list(last(dbg)) == ["1", "3"]
        assert all(value > 0 for value in last(dbg).values())


def test_a_step_function_and_a_model_without_norms_are_not_measured() -> None:
    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    with watched(after_dropout(0.5), blobs(), step_fn=step_fn) as dbg:
        dbg.run(steps=2)
        assert last(dbg) == {}
        assert dbg.history.notices == ()
    with watched(nn.Sequential(nn.Linear(FEATURES, CLASSES)), blobs()) as dbg:
        dbg.run(steps=2)
        assert last(dbg) == {}
        assert dbg.history.notices == ()


def test_other_probes_do_not_see_the_extra_pass() -> None:
    def means(watch: bool) -> list[float]:
        with watched(after_dropout(0.5), blobs()) as dbg:
            probes_of(dbg).scheduled["variance_shift"].on = watch
            dbg.run(steps=1)
            frame = dbg.history.frame(["activation_mean/3", "activation_std/1", "near_zero/0"])
            assert bool(last(dbg)) is watch
            return list(frame.iloc[0])

    assert means(True) == means(False)


def test_the_inputs_are_let_go_after_the_step() -> None:
    with watched(after_dropout(0.5), blobs()) as dbg:
        dbg.run(steps=1)
        assert session_of(dbg).again is None
