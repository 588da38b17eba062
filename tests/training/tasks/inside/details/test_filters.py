"""Filters and weights of a part, and their change since the start, against copies by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.results.inside.detail_page import detail_page
from nbdebug.core.results.inside.part_detail import PartDetail
from tests.problems import images, same_weights

X, Y = torch.randn(32, 3, 8, 8), torch.arange(32) % 3


def cnn(channels: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.Flatten(),
        nn.Linear(4 * 16, 3),
    )  # fmt: skip


def detail_of(dbg: nbd.Debugger, part: str) -> PartDetail:
    found = dbg.network(part=part).detail
    assert found is not None
    return found


@pytest.mark.parametrize("part", ["0", "3", "5"])
def test_a_change_is_that_of_copies_by_hand(part: str) -> None:
    model = cnn()
    before = {name: one.detach().double().numpy().copy() for name, one in model.named_parameters()}
    with nbd.Debugger(model, (X, Y), nn.CrossEntropyLoss(), batch_size=8, runs=None) as dbg:
        assert detail_of(dbg, part).moved == 0
        assert "Change since" not in page(dbg, part)
        dbg.run(steps=12)
        found = detail_of(dbg, part)
        assert "Change since step 0" in page(dbg, part)
    then = before[f"{part}.weight"]
    now = dict(model.named_parameters())[f"{part}.weight"].detach().double().numpy()
    difference = now - then
    assert math.isclose(found.moved, np.linalg.norm(difference) / np.linalg.norm(then))
    assert found.since == 0
    if now.ndim == 2:
        assert np.array_equal(found.change[0], difference)
        return
    largest = np.abs(now).sum(axis=(2, 3)).argmax(axis=1)
    for at, channel in enumerate(largest):
        assert np.array_equal(found.weights[at], now[at, channel])
        assert np.array_equal(found.change[at], difference[at, channel])


def page(dbg: nbd.Debugger, part: str) -> str:
    picture = dbg.network(part=part)
    found = picture.structure.part(part)
    assert found is not None
    return detail_page(picture, found)


def test_filters_of_colours_are_drawn_in_colours() -> None:
    model = cnn()
    with nbd.Debugger(model, (X, Y), nn.CrossEntropyLoss(), runs=None) as dbg:
        found = detail_of(dbg, "0")
        weight: Any = model[0].weight
        assert np.array_equal(found.colours, weight.detach().double().numpy())
        assert "6 filters, red, green and blue" in page(dbg, "0")
        assert not detail_of(dbg, "3").colours.size
    with nbd.Debugger(cnn(1), images(16), nn.CrossEntropyLoss(), runs=None) as dbg:
        assert not detail_of(dbg, "0").colours.size


def test_a_reset_and_a_rewind_take_the_change_back() -> None:
    with nbd.Debugger(cnn(), (X, Y), nn.CrossEntropyLoss(), batch_size=8, runs=None) as dbg:
        dbg.run(steps=10)
        moved = detail_of(dbg, "3").moved
        dbg.run(steps=10)
        assert detail_of(dbg, "3").moved != moved
        dbg.rewind(10)
        assert detail_of(dbg, "3").moved == moved
        dbg.reset()
        assert detail_of(dbg, "3").moved == 0


def test_a_resumed_training_tells_the_change_since_it_was_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = {"batch_size": 8, "runs": None, "name": "filters"}
    with nbd.Debugger(cnn(), (X, Y), nn.CrossEntropyLoss(), **given) as dbg:
        dbg.run(steps=6)
    with nbd.Debugger.resume("filters", cnn(), (X, Y), nn.CrossEntropyLoss(), runs=None) as dbg:
        found = detail_of(dbg, "0")
        assert (found.since, found.moved) == (6, 0)


def test_weights_that_are_computed_have_no_change() -> None:
    model = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(4, 8)), nn.ReLU(), nn.Linear(8, 3)
    )
    X, y = torch.randn(32, 4), torch.arange(32) % 3
    with nbd.Debugger(model, (X, y), nn.CrossEntropyLoss(), runs=None) as dbg:
        dbg.run(steps=3)
        found = detail_of(dbg, "0")
    assert found.weights.size
    assert math.isnan(found.moved)


def test_training_is_equal_to_the_bit() -> None:
    def trained(look: bool) -> nn.Module:
        model = cnn()
        with nbd.Debugger(model, (X, Y), nn.CrossEntropyLoss(), batch_size=8, runs=None) as dbg:
            for step in range(12):
                dbg.run(steps=1)
                if look:
                    dbg.network(part=("0", "3", "5")[step % 3])
        return model

    assert same_weights(trained(False), trained(True))
