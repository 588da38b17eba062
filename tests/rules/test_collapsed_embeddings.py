"""Embeddings that become the same, and those that only come together."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import nbdebug as nbd
from tests.rules import embeddings as kinds
from tests.rules.embeddings import Encoder, Loss, Plain, findings

NAME = "collapsed_embeddings"
Made = tuple[Callable[[], nn.Module], Callable[[], Loss]]

SICK: dict[str, Made] = {
    "SimSiam without stop-gradient": (Encoder, lambda: kinds.without_stop),
    "a distance without negatives": (Plain, lambda: kinds.only_alike),
    "pairs of the same class alone": (Plain, lambda: kinds.same_labels_only),
    "a mask of pairs that is all true": (Plain, lambda: kinds.all_alike),
    "VICReg without variance": (Plain, lambda: kinds.without_variance),
    "a triplet whose negatives weigh nothing": (Plain, lambda: kinds.weightless_negatives),
}
HEALTHY: dict[str, Made] = {
    "SimSiam": (Encoder, lambda: kinds.with_stop),
    "InfoNCE": (Plain, lambda: kinds.info_nce),
    "triplets": (Plain, lambda: kinds.triplet),
    "VICReg": (Plain, lambda: kinds.with_variance),
    "Barlow Twins": (Plain, lambda: kinds.barlow),
    "BYOL": (Encoder, kinds.Averaged),
    "classes by hand": (Plain, lambda: kinds.classes_by_hand),
    "numbers by hand": (Plain, lambda: kinds.numbers_by_hand),
    "numbers far from zero": (Plain, lambda: kinds.distant_numbers),
    "contrastive of two uneven classes": (Plain, lambda: kinds.uneven_contrastive),
}


def model_of(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make()


@pytest.mark.parametrize("name", SICK)
def test_a_collapse_is_named(name: str) -> None:
    model, loss = SICK[name]
    found, _ = findings(model_of(model), loss())
    assert NAME in [one.name for one in found]


@pytest.mark.parametrize("name", HEALTHY)
def test_what_keeps_samples_apart_is_not_named(name: str) -> None:
    model, loss = HEALTHY[name]
    found, _ = findings(model_of(model), loss())
    assert NAME not in [one.name for one in found]


def test_it_is_named_in_blocks_and_in_a_step_fn() -> None:
    found, _ = findings(model_of(Encoder), kinds.without_stop, in_steps=True)
    assert NAME in [one.name for one in found]
    with nbd.Debugger(
        model_of(Plain),
        list(kinds.batches(0)),
        step_fn=kinds.only_alike,
        lr=3e-3,
        runs=None,
    ) as dbg:
        dbg.run(steps=300)
        assert NAME in [one.name for one in dbg.findings]


def test_the_angle_is_that_of_a_plain_computation() -> None:
    model = model_of(Plain)
    _, snapshot = findings(model, kinds.info_nce, steps=4, lr=0.0)
    draw = torch.Generator().manual_seed(0)
    rows = torch.randperm(kinds.N, generator=draw).split(64)[0]
    expected = []
    for _ in range(2):
        view = kinds.X[rows] + 0.3 * torch.randn(64, kinds.FEATURES, generator=draw)
        z = model(view).detach()
        mean = (z / z.norm(dim=1, keepdim=True)).mean(0)
        expected.append(float((1 - (mean**2).sum()).sqrt()))
    assert snapshot.series["embedding_angle"].mean[0] == pytest.approx(max(expected), rel=1e-4)


def test_weights_are_those_of_the_bare_loop() -> None:
    plain, watched = model_of(Encoder), model_of(Encoder)
    findings(watched, kinds.without_stop, steps=60)
    kinds.trained(plain, kinds.without_stop, steps=60)
    for one, other in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(one, other)
