"""Embeddings against projections by NumPy and scikit-learn, and trainings that notice nothing."""

from __future__ import annotations

import builtins
import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.commands.running import WatchProbe
from nbdebug.core.results.inside.embedding import Embedding
from nbdebug.errors import ArgumentError, MissingPackageError
from nbdebug.training.tasks.inside.embedding import pca
from tests.inside import queue_of
from tests.problems import blobs, images, same_weights
from tests.training.tasks.inside.test_network_picture import made, tokens
from tests.training.timeline.timelines import equal, state

ROWS = np.random.default_rng(0).normal(size=(40, 7)) @ np.diag([5, 3, 1, 1, 0.5, 0.1, 0.1])


def outputs_by_hand(dbg: nbd.Debugger, layers: int, X: torch.Tensor, found: Embedding) -> Any:
    model: Any = copy.deepcopy(dbg.model).eval()
    assert found.indices is not None
    with torch.no_grad():
        return model[:layers](X[list(found.indices)]).double().numpy()


def by_svd(rows: Any) -> tuple[Any, Any]:
    flat = rows.reshape(len(rows), -1)
    centred = flat - flat.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    return left[:, :2] * sizes[:2], sizes[:2] ** 2 / (sizes**2).sum()


def same_but_for_signs(one: Any, other: Any) -> bool:
    return all(
        np.allclose(one[:, at], other[:, at], atol=1e-6)
        or np.allclose(one[:, at], -other[:, at], atol=1e-6)
        for at in (0, 1)
    )


@pytest.mark.parametrize("factor", [1e-200, 1.0, 1e200])
def test_principal_components_are_those_of_a_singular_value_decomposition(factor: float) -> None:
    points, shares = pca(ROWS * factor)
    expected, their_shares = by_svd(ROWS)
    assert same_but_for_signs(points / factor, expected)
    assert np.allclose(shares, their_shares)
    largest = np.abs(points).argmax(axis=0)
    assert (points[largest, [0, 1]] > 0).all()


def test_principal_components_are_those_of_scikit_learn() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    expected = decomposition.PCA(2).fit_transform(ROWS)
    assert same_but_for_signs(pca(ROWS)[0], expected)


def test_rows_without_spread_and_with_nan_have_places_of_their_own() -> None:
    points, shares = pca(np.ones((5, 3)))
    assert (points == 0).all()
    assert shares == (0.0, 0.0)
    rows = ROWS.copy()
    rows[3, 0], rows[9] = math.nan, math.inf
    points = pca(rows)[0]
    assert np.flatnonzero(np.isnan(points).any(axis=1)).tolist() == [3, 9]
    kept = np.delete(np.arange(40), [3, 9])
    assert same_but_for_signs(points[kept], by_svd(ROWS[kept])[0])
    alone = pca(np.full((4, 2), math.nan))[0]
    assert np.isnan(alone).all()
    line = pca(np.arange(6.0)[:, None])[0]
    assert np.allclose(np.abs(line[:, 0]), np.abs(np.arange(6) - 2.5))
    assert (line[:, 1] == 0).all()


@pytest.mark.parametrize(("kind", "part", "layers"), [("mlp", "", 0), ("cnn", "0", 1)])
def test_a_part_is_projected_for_all_samples(kind: str, part: str, layers: int) -> None:
    X, y = blobs() if kind == "mlp" else images(96)
    with made(kind) as dbg:
        dbg.run(steps=3)
        found = dbg.embedding(part)
        parts = dbg.network().structure.parts
        if not layers:
            layers = len(parts) - 1
            assert found.part == parts[-2].name
        outputs = outputs_by_hand(dbg, layers, X, found)
        model = copy.deepcopy(dbg.model).eval()
    expected, shares = by_svd(outputs)
    assert same_but_for_signs(found.points, expected)
    assert np.allclose(found.shares, shares)
    assert found.indices is not None
    chosen = list(found.indices)
    assert found.targets is not None
    assert found.losses is not None
    assert found.classes
    assert found.targets.tolist() == y[chosen].tolist()
    losses = nn.functional.cross_entropy(model(X[chosen]), y[chosen], reduction="none")
    assert np.allclose(found.losses, losses.detach().numpy(), atol=1e-6)
    frame = found.to_frame()
    assert list(frame.columns) == ["sample", "index", "x", "y", "target", "loss"]
    assert frame["index"].tolist() == chosen
    assert found._repr_html_().count("<circle") == len(chosen)


@pytest.mark.parametrize("kind", ["gru", "transformer"])
def test_of_a_sequence_the_mean_over_positions_is_projected(kind: str) -> None:
    with made(kind) as dbg:
        found = dbg.embedding("word")
        word: Any = copy.deepcopy(dbg.model).word  # type: ignore[union-attr]
    assert found.indices is not None
    rows = word(tokens()[0][list(found.indices)]).mean(1).detach().double().numpy()
    assert same_but_for_signs(found.points, by_svd(rows)[0])
    assert "means over 6 positions" in found.said


def test_of_large_maps_the_means_of_the_channels_are_projected() -> None:
    model = nn.Sequential(nn.Conv2d(1, 5, 3, padding=1), nn.Flatten(), nn.Linear(5 * 64 * 64, 3))
    X, y = torch.randn(12, 1, 64, 64), torch.arange(12) % 3
    with nbd.Debugger(model, (X, y), nn.CrossEntropyLoss(), batch_size=4, runs=None) as dbg:
        found = dbg.embedding("0")
        rows = model[0](X).mean((2, 3)).detach().double().numpy()
    assert found.features == "the means of 5 channels"
    assert same_but_for_signs(found.points, by_svd(rows)[0])


def test_tsne_is_that_of_scikit_learn() -> None:
    manifold = pytest.importorskip("sklearn.manifold")
    with made("mlp") as dbg:
        found, again = dbg.embedding("0", "tsne"), dbg.embedding("0", "tsne")
        outputs = outputs_by_hand(dbg, 1, blobs()[0], found)
    assert np.array_equal(found.points, again.points)
    perplexity = min(30.0, (len(outputs) - 1) / 3)
    made_by_hand = manifold.TSNE(2, perplexity=perplexity, init="pca", random_state=0)
    expected = made_by_hand.fit_transform(pca(outputs, 50)[0])
    assert np.allclose(found.points, expected, atol=1e-3)
    assert found.shares == ()


def test_without_scikit_learn_it_is_said_how_to_install_it(monkeypatch: Any) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any) -> Any:
        if name.startswith("sklearn"):
            raise ImportError("no sklearn here")
        return real(name, *args)

    with made("mlp") as dbg:
        monkeypatch.setattr(builtins, "__import__", refuse)
        with pytest.raises(MissingPackageError, match=r"pip install .*\[lab\]"):
            dbg.embedding("0", "tsne")
        assert len(dbg.embedding("0").points)


@pytest.mark.parametrize("kind", ["mlp", "cnn", "gru", "transformer"])
def test_training_is_equal_to_the_bit_with_the_embedding_open(kind: str) -> None:
    seen = set()
    with made(kind) as bare, made(kind) as dbg:
        bare.run(steps=20)
        queue_of(dbg).put(WatchProbe("embedding", True)).answer.result(60)
        dbg.embedding()
        for _ in range(20):
            dbg.run(steps=1)
            found = dbg.history.snapshot(()).results.of(Embedding)
            assert found is not None
            seen.add(found.step)
        dbg.embedding(method="tsne")
        assert same_weights(bare.model, dbg.model)
        assert equal(state(bare), state(dbg))
    assert len(seen) > 1


def test_a_step_function_tells_losses_of_samples() -> None:
    def step_fn(model: Any, batch: Any) -> Any:
        x, y = batch
        return nn.functional.mse_loss(model(x), y)

    X = torch.randn(20, 4)
    data = (X, X.sum(1, keepdim=True))
    with nbd.Debugger(nn.Linear(4, 1), data, step_fn=step_fn, runs=None) as dbg:
        found = dbg.embedding()
        expected = (dbg.model(X) - data[1]).square()[:, 0].detach().numpy()
    assert found.losses is not None
    assert np.allclose(found.losses, expected, atol=1e-6)


def test_what_cannot_be_projected_says_why() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.all = nn.Linear(4, 3), nn.AdaptiveAvgPool1d(1)

        def forward(self, x: torch.Tensor) -> Any:
            return self.one(x).relu() + self.all(x.sum()[None, None])

    X, y = torch.randn(20, 4), torch.arange(20) % 3
    with nbd.Debugger(Odd(), (X, y), nn.CrossEntropyLoss(), runs=None) as dbg:
        assert "is a function" in dbg.embedding("relu").reason
        assert "one row" in dbg.embedding("all").reason
        with pytest.raises(ArgumentError, match="There is no part 'nowhere'"):
            dbg.embedding("nowhere")
        with pytest.raises(ArgumentError, match="method must be one of pca, tsne"):
            dbg.embedding(method="umap")  # type: ignore[arg-type]
        dbg.network(data=(X[:2], y[:2]))
        few = dbg.embedding("one")
        assert "at least three samples" in few.reason
        assert few.to_frame().empty
        assert "at least three samples" in few._repr_html_()


def test_outputs_that_cannot_be_cut_are_made_again_for_each_loss() -> None:
    @dataclass
    class Found:
        logits: torch.Tensor

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> Found:
            return Found(self.two(self.one(x).relu()))

    def loss_fn(outputs: Found, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs.logits, y)

    torch.manual_seed(0)
    X, y = torch.randn(20, 4), torch.arange(20) % 3
    with nbd.Debugger(Wrapped(), (X, y), loss_fn, runs=None) as dbg:
        found = dbg.embedding("one")
        logits = dbg.model(X).logits.detach()
        # A sample alone is rounded otherwise than in a batch.
        assert dbg.explain(2).output == pytest.approx(float(logits[2, y[2]]), abs=1e-6)
    expected = nn.functional.cross_entropy(logits, y, reduction="none").detach().numpy()
    assert found.losses is not None
    assert np.allclose(found.losses, expected, atol=1e-6)
