"""Probes that rules judge by, each against a plain computation."""

from __future__ import annotations

import math

import numpy as np
import psutil
import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.examples.sick_by_settings import WithoutZeroGrad
from nbdebug.probes._layer_statistics import saturated
from tests.inside import checkpoint_bytes_of, probes_of, session_of
from tests.problems import CLASSES, FEATURES, blobs, tiny_mlp

Y = torch.randn(300, 2, generator=torch.Generator().manual_seed(1))


def entropy(shares: np.ndarray) -> float:
    known = shares[shares > 0]
    return float(-(known * np.log(known)).sum())


def test_the_constant_of_classes_is_the_entropy_of_their_frequencies() -> None:
    X, y = blobs(300)
    with nbd.Debugger(tiny_mlp(), (X, y), nn.CrossEntropyLoss(), batch_size=300) as dbg:
        dbg.run(steps=2)
        shares = np.bincount(y.numpy(), minlength=CLASSES) / len(y)
        assert dbg.history.last("constant_loss") == pytest.approx(entropy(shares), rel=1e-5)


@pytest.mark.parametrize(
    ("loss_fn", "targets", "expected"),
    [
        (nn.MSELoss(), Y, float(np.var(Y.numpy(), axis=0).mean())),
        (
            nn.BCEWithLogitsLoss(),
            (Y > 0.5).float(),
            float(np.mean([entropy(np.array([p, 1 - p])) for p in (Y > 0.5).numpy().mean(axis=0)])),
        ),
    ],
    ids=["mse", "bce"],
)
def test_the_constant_of_numbers(
    loss_fn: nn.Module, targets: torch.Tensor, expected: float
) -> None:
    X = torch.randn(300, FEATURES)
    with nbd.Debugger(nn.Linear(FEATURES, 2), (X, targets), loss_fn, batch_size=300) as dbg:
        dbg.run(steps=2)
        assert dbg.history.last("constant_loss") == pytest.approx(expected, rel=1e-5)


def test_a_loss_that_is_not_known_has_no_constant() -> None:
    loss = nn.CrossEntropyLoss(label_smoothing=0.3)
    with nbd.Debugger(tiny_mlp(), blobs(300), loss, batch_size=300) as dbg:
        dbg.run(steps=30)
        assert "constant_loss" not in dbg.history.series


def test_gradients_left_over_are_those_that_add_up() -> None:
    X, y = blobs()
    torch.manual_seed(0)
    model = nn.Linear(FEATURES, CLASSES)
    with nbd.Debugger(
        model, (X, y), nn.CrossEntropyLoss(), optimizer=lambda p: WithoutZeroGrad(p, lr=0.01),
        batch_size=len(X),
    ) as dbg:  # fmt: skip
        dbg.run(steps=10)
        before = [parameter.grad for parameter in model.parameters()]
        total = math.hypot(*(float(gradient.norm()) for gradient in before if gradient is not None))
        dbg.run(steps=1)
        assert dbg.history.last("left_gradient") == pytest.approx(total, rel=1e-5)


def test_nothing_is_left_by_a_zero_grad_that_works() -> None:
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), batch_size=32) as dbg:
        dbg.run(steps=30)
        assert dbg.history.frame("left_gradient")["left_gradient"].tolist() == [0.0] * 3


@pytest.mark.parametrize("from_zero", [False, True], ids=["tanh", "sigmoid"])
def test_units_at_the_end_of_their_range_are_saturated(from_zero: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 50, generator=generator) * torch.logspace(-1, 4, 50)
    units = torch.sigmoid(inputs) if from_zero else torch.tanh(inputs)
    values = units.numpy()
    low, high = (0.0, 1.0) if from_zero else (-1.0, 1.0)
    near = np.minimum(values - low, high - values) < 0.025 * (high - low)
    expected = float((near.mean(0) > 0.95).mean())
    assert 0.2 < expected < 0.9
    assert float(saturated(units, from_zero)) == pytest.approx(expected)


def test_outputs_that_differ_are_told_from_those_that_do_not() -> None:
    X, y = blobs(100)
    model = nn.Linear(FEATURES, CLASSES)
    with torch.no_grad():
        outputs = model(X).numpy()
    expected = (outputs.std(0, ddof=1) / (1 + abs(outputs.mean(0)))).max()
    with nbd.Debugger(model, (X, y), nn.CrossEntropyLoss(), batch_size=100) as dbg:
        dbg.run(steps=1)
        assert dbg.history.last("output_spread") == pytest.approx(float(expected), rel=1e-4)
    with nbd.Debugger(model, (0.0 * X, y), nn.CrossEntropyLoss(), batch_size=100) as dbg:
        dbg.run(steps=1)
        assert dbg.history.last("output_spread") < 1e-6


def test_memory_is_that_of_the_process_without_checkpoints() -> None:
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), batch_size=32) as dbg:
        session = session_of(dbg)
        dbg.run(steps=1)
        resident = psutil.Process().memory_info().rss / 2**20
        assert dbg.history.last("memory_mb") == pytest.approx(resident, rel=0.2)
        assert session.checkpoint_bytes == checkpoint_bytes_of(dbg) > 0


def test_the_first_measurements_are_not_spaced_out() -> None:
    # With a budget of nothing an expensive probe would be due every 10,000 steps.
    with nbd.Debugger(
        tiny_mlp(), blobs(), nn.CrossEntropyLoss(), batch_size=32, overhead=0.0
    ) as dbg:
        dbg.run(steps=400)
        steps = dbg.history.snapshot().series["update_ratio/0.weight"].step.tolist()
    assert steps[:12] == list(range(0, 120, 10))
    assert len(steps) <= 17


def test_a_probe_with_nothing_to_measure_takes_no_part() -> None:
    with nbd.Debugger(nn.Linear(FEATURES, CLASSES), blobs(), nn.CrossEntropyLoss()) as dbg:
        slots = probes_of(dbg).scheduled
        assert not slots["variance_shift"].on
        assert slots["activations"].on


def test_the_share_of_waiting_for_data_is_that_of_the_clock() -> None:
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), batch_size=32) as dbg:
        dbg.run(steps=50)
        assert 0.0 < dbg.history.last("data_share") < 0.9
