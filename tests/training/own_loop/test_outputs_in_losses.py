"""Outputs and targets that nobody returns are read from the loss of a loop or a step_fn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.core.series import Series

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(512, 8, generator=GENERATOR)
Y = (X.sum(1) > 0.3).long()
SIZE = 32
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
PROBES = ("constant_loss", "output_spread", "loss")


def entropy() -> float:
    share = Y.double().mean().item()
    return -share * np.log(share) - (1 - share) * np.log(1 - share)


def mean_square() -> float:
    return Y.double().var(correction=0).item()


def smooth(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(outputs, y, label_smoothing=0.1)


def logits(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(outputs[:, 0], y.float())


def probabilities(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return functional.binary_cross_entropy(torch.sigmoid(outputs[:, :1]), y.float()[:, None])


def squares(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return functional.mse_loss(outputs[:, 0], y.float())


def split_up(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return nn.NLLLoss()(torch.log_softmax(outputs, 1), y)


LOSSES: dict[str, tuple[Loss, Callable[[], float]]] = {
    "cross-entropy": (functional.cross_entropy, entropy),
    "log-softmax": (split_up, entropy),
    "logits": (logits, entropy),
    "probabilities": (probabilities, entropy),
    "squares": (squares, mean_square),
}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))


def in_loop(loss_of: Loss, x: torch.Tensor = X, epochs: int = 10) -> nbd.Watch:
    """A loop of one's own over passes, watched to its end."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    dbg = nbd.watch(model, optimizer)
    loader = DataLoader(TensorDataset(x, Y), SIZE, shuffle=True)
    for _ in dbg.epochs(epochs):
        for batch, y in dbg.batches(loader):
            loss = loss_of(model(batch), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return dbg


def in_step(loss_of: Loss, x: torch.Tensor = X, epochs: int = 10) -> nbd.Debugger:
    """The same by a step_fn."""
    dbg = nbd.Debugger(
        network(), (x, Y), step_fn=lambda model, batch: loss_of(model(batch[0]), batch[1]),
        batch_size=SIZE, lr=1e-2,
    )  # fmt: skip
    dbg.run(epochs=epochs)
    return dbg


WAYS = {"loop": in_loop, "step_fn": in_step}


def series(dbg: Any, *names: str) -> dict[str, Series]:
    return dict(dbg.history.snapshot(frozenset(names)).series)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", LOSSES)
def test_the_best_constant_is_that_of_the_targets(name: str, way: str) -> None:
    loss_of, expected = LOSSES[name]
    with WAYS[way](loss_of) as dbg:
        found = series(dbg, *PROBES)
    # Over whole passes: 20 measured batches of 32 are not all of the data.
    assert float(found["constant_loss"].last[-1]) == pytest.approx(expected(), rel=0.02)
    assert float(found["output_spread"].last[-1]) > 0.1
    assert found["loss"].mean[-1] < 0.5 * found["constant_loss"].last[-1]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", LOSSES)
def test_a_collapse_is_named(name: str, way: str) -> None:
    """The inputs were lost on the way, as by a scale of 0."""
    with WAYS[way](LOSSES[name][0], X * 0, 20) as dbg:
        found = {finding.name for finding in dbg.findings}
    assert {"constant_output", "no_better_than_constant"} <= found


@pytest.mark.parametrize("way", WAYS)
def test_a_class_that_is_never_predicted_is_seen(way: str) -> None:
    with WAYS[way](functional.cross_entropy) as dbg:
        names = {name for name in dbg.history.series if name.startswith("missed/")}
    assert names == {"missed/0", "missed/1"}


def test_a_loss_of_several_criteria_is_not_read() -> None:
    with in_loop(
        lambda outputs, y: squares(outputs, y) + functional.cross_entropy(outputs, y)
    ) as dbg:
        assert not {"constant_loss", "output_spread"} & set(dbg.history.series)


def test_the_constant_of_another_loss_is_not_guessed() -> None:
    """Smoothed targets have another best constant; the outputs are seen all the same."""
    with in_loop(smooth) as dbg:
        found = series(dbg, *PROBES)
    constant = found.get("constant_loss")
    assert constant is None or np.isnan(constant.last).all()
    assert float(found["output_spread"].last[-1]) > 0.1


NO_DATA: dict[str, Loss] = {
    "pairs": lambda rows, y: functional.cross_entropy(rows @ rows.T, torch.arange(len(rows))),
    "bootstrap": lambda q, y: functional.mse_loss(q[:, 0], y + 0.9 * q.detach().max(1).values),
    "teacher": lambda rows, y: functional.mse_loss(rows, torch.tanh(rows.detach() + 1)),
    "ones": lambda rows, y: functional.binary_cross_entropy_with_logits(
        rows[:, :1], torch.ones(len(rows), 1)
    ),
}


@pytest.mark.parametrize("name", NO_DATA)
def test_targets_that_are_not_of_the_batch_are_no_data(name: str) -> None:
    with in_loop(NO_DATA[name]) as dbg:
        names = set(dbg.history.series)
        found = {finding.name for finding in dbg.findings}
    assert "constant_loss" not in names
    assert not [one for one in names if one.startswith("missed/")]
    assert not {"no_better_than_constant", "missed_class"} & found


@pytest.mark.parametrize("name", LOSSES)
def test_to_read_a_loss_changes_nothing(name: str) -> None:
    loss_of, bare = LOSSES[name][0], network()
    optimizer = torch.optim.Adam(bare.parameters(), 1e-2)
    torch.manual_seed(0)
    for x, y in DataLoader(TensorDataset(X, Y), SIZE, shuffle=True):
        optimizer.zero_grad()
        loss_of(bare(x), y).backward()
        optimizer.step()
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with nbd.watch(model, optimizer) as dbg:
        torch.manual_seed(0)
        for x, y in dbg.batches(DataLoader(TensorDataset(X, Y), SIZE, shuffle=True)):
            optimizer.zero_grad()
            loss_of(model(x), y).backward()
            optimizer.step()
        assert "output_spread" in dbg.history.series
    for one, other in zip(bare.parameters(), model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_loss_that_was_packed_away_is_left_alone() -> None:
    unpacked = []

    def unpack(held: torch.Tensor) -> torch.Tensor:
        unpacked.append(1)
        return held

    def packed(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, unpack):
            return functional.mse_loss(outputs[:, 0], y.float())

    with in_loop(packed, epochs=1) as dbg:
        assert "output_spread" not in dbg.history.series
    # The backward pass unpacks outputs and targets.
    assert len(unpacked) == 2 * len(X) // SIZE


def square(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return functional.mse_loss(outputs[:, 0], y.float(), reduction="sum") / SIZE


COMPOSED: dict[str, tuple[Loss, Callable[[], float]]] = {
    "penalty": (lambda rows, y: squares(rows, y) + 0.01 * rows.square().mean(), mean_square),
    "summed": (square, mean_square),
    "weighed": (lambda rows, y: 3 * squares(rows, y) + 1, mean_square),
    "smoothed": (smooth, entropy),
    "entropy bonus": (
        lambda rows, y: (
            functional.cross_entropy(rows, y)
            - 0.1 * torch.special.entr(rows.softmax(1)).sum(1).mean()
        ),
        entropy,
    ),
    "logits": (lambda rows, y: 2 * logits(rows, y) + rows.square().mean() / 10, entropy),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", COMPOSED)
def test_one_term_of_several_is_compared_with_its_own_constant(name: str, way: str) -> None:
    loss_of, expected = COMPOSED[name]
    with WAYS[way](loss_of, epochs=12) as dbg:
        found = series(dbg, "data_term", "constant_data_term")
        findings = {finding.name for finding in dbg.findings}
    constant = found.get("constant_data_term")
    if name == "summed":
        # Of batches of one size it is the mean.
        assert constant is None
        return
    assert constant is not None
    # On each measured batch: of its own mean, so only about that of all.
    assert float(constant.last[-8:].mean()) == pytest.approx(expected(), rel=0.1)
    assert found["data_term"].mean[-1] < 0.6 * expected()
    assert "constant_data_term" not in findings


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [name for name in COMPOSED if name != "summed"])
def test_a_term_that_ignores_the_inputs_is_named(name: str, way: str) -> None:
    with WAYS[way](COMPOSED[name][0], X * 0, 30) as dbg:
        assert "constant_data_term" in {finding.name for finding in dbg.findings}


def test_targets_between_0_and_1_count_without_their_entropy() -> None:
    """An autoencoder of grey pixels: cross-entropy does not fall to 0."""
    grey = torch.sigmoid(2 * X)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8), nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with nbd.watch(model, optimizer) as dbg:
        for _ in dbg.epochs(20):
            for (x,) in dbg.batches(DataLoader(TensorDataset(grey), SIZE, shuffle=True)):
                optimizer.zero_grad()
                functional.binary_cross_entropy(model(x), x).backward()
                optimizer.step()
        found = series(dbg, "data_term", "constant_data_term")
        findings = {finding.name for finding in dbg.findings}
    p, mean = grey.double().numpy(), grey.double().mean(0).numpy()
    of_mean = -(mean * np.log(mean) + (1 - mean) * np.log(1 - mean)).mean()
    of_each = -(p * np.log(p) + (1 - p) * np.log(1 - p)).mean()
    constant = float(np.median(found["constant_data_term"].last[-10:]))
    assert constant == pytest.approx(of_mean - of_each, rel=0.1)
    assert found["data_term"].last[-1] < 0.2 * constant
    assert findings == set()
