"""A loop with every view open trains as the bare loop does, to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.commands.running import WatchProbe
from nbdebug.core.results.inside.embedding import Embedding
from nbdebug.core.results.inside.network_picture import NetworkPicture
from nbdebug.core.results.inside.predictions import Predictions
from tests.inside import queue_of
from tests.problems import blobs, same_weights
from tests.training.tasks.inside.test_network_picture import Tagger, tokens

VIEWS = ("network_picture", "embedding", "predictions", "activation_histogram")
EPOCHS = 4


def mlp() -> nn.Module:
    width, classes = blobs()[0].shape[1], int(blobs()[1].max()) + 1
    return nn.Sequential(
        nn.Linear(width, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(16, classes),
    )  # fmt: skip


KINDS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    "BatchNorm and dropout": (mlp, blobs),
    "GRU": (lambda: Tagger("gru"), tokens),
    "transformer": (lambda: Tagger("transformer"), tokens),
}


def train(kind: str, open_views: bool) -> tuple[nn.Module, list[float], Any]:
    torch.manual_seed(0)
    model = KINDS[kind][0]()
    X, y = KINDS[kind][1]()
    batches = list(zip(X.split(16), y.split(16), strict=True))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses: list[float] = []

    def steps(given: Iterable[Any]) -> None:
        for x, target in given:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

    if not open_views:
        for _ in range(EPOCHS):
            steps(batches)
        return model, losses, None
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for view in VIEWS:
            queue_of(dbg).put(WatchProbe(view, True))
        for _ in dbg.epochs(EPOCHS):
            steps(dbg.batches(batches))
            dbg.network(1, part=dbg.network().structure.parts[0].name)
            dbg.embedding()
            dbg.explain(2)
        return model, losses, dbg.history.snapshot(()).results


@pytest.mark.parametrize("kind", KINDS)
def test_every_view_open_is_equal_to_the_bare_loop(kind: str) -> None:
    bare, expected, _ = train(kind, False)
    model, losses, results = train(kind, True)
    assert losses == expected
    assert same_weights(bare, model)
    assert all(
        torch.equal(one, other) for one, other in zip(bare.buffers(), model.buffers(), strict=True)
    )
    for shown in (NetworkPicture, Embedding, Predictions):
        assert results.of(shown) is not None
