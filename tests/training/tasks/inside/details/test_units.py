"""Units over all fixed samples against plain numbers, also where samples go through in parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.results.inside.detail_page import detail_page
from nbdebug.core.results.inside.part_detail import PartDetail
from nbdebug.errors import TaskStopped
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.tasks.inside import all_outputs

X, Y = torch.randn(30, 4), torch.arange(30) % 3


def detail_of(dbg: nbd.Debugger, part: str) -> PartDetail:
    found = dbg.network(part=part).detail
    assert found is not None
    return found


@pytest.mark.parametrize(("activation", "scale"), [(nn.Sigmoid, 200.0), (nn.Tanh, 100.0)])
def test_saturated_units_are_named(activation: Any, scale: float) -> None:
    torch.manual_seed(0)
    model: Any = nn.Sequential(nn.Linear(4, 6), activation(), nn.Linear(6, 3))
    with torch.no_grad():
        model[0].weight[[1, 4]] *= scale
        model[0].bias[[1, 4]] = 10 * scale
        model[0].weight[[0, 2, 3, 5]] *= 0.1
    with nbd.Debugger(model, (X, Y), nn.CrossEntropyLoss(), runs=None) as dbg:
        picture = dbg.network(part="1")
        assert not detail_of(dbg, "0").saturated
    assert picture.detail is not None
    assert picture.detail.saturated == (1, 4)
    part = picture.structure.part("1")
    assert part is not None
    assert "2 of 6 are at a limit for most values: 1, 4" in detail_page(picture, part)


def test_samples_that_go_through_in_parts_tell_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    with nbd.Debugger(model, (X, Y), nn.CrossEntropyLoss(), batch_size=4, runs=None) as dbg:
        whole, points = detail_of(dbg, "1"), dbg.embedding("1")
        monkeypatch.setattr(all_outputs, "MAX_AT_ONCE", 7 * 6)
        parts, again = detail_of(dbg, "1"), dbg.embedding("1")
    assert (parts.units, parts.samples, parts.dead) == (whole.units, 30, whole.dead)
    assert [one.number for one in parts.excited] == [one.number for one in whole.excited]
    assert [one.top for one in parts.excited] == [one.top for one in whole.excited]
    assert np.allclose(points.points, again.points, atol=1e-5)
    assert points.losses is not None
    assert again.losses is not None
    assert np.allclose(points.losses, again.losses, atol=1e-6)


def test_of_large_layers_fewer_samples_are_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    monkeypatch.setattr(all_outputs, "MAX_IN_ALL", 11 * 6)
    with nbd.Debugger(model, (X, Y), nn.CrossEntropyLoss(), runs=None) as dbg:
        assert detail_of(dbg, "1").samples == 11
        found = dbg.embedding("1")
    assert len(found.points) == len(found.to_frame()) == 11
    assert "11 samples" in found.said


def test_ten_thousand_channels_are_told_within_a_tick() -> None:
    model = nn.Sequential(nn.Conv2d(1, 10_000, 1), nn.ReLU(), nn.Flatten(), nn.Identity())
    data = torch.randn(4, 1, 3, 3), torch.randn(4, 90_000)
    with nbd.Debugger(model, data, nn.MSELoss(), runs=None) as dbg:
        picture = dbg.network(part="1")
        assert len(dbg.embedding("1").points) == 4
    part = picture.structure.part("1")
    assert picture.detail is not None
    assert part is not None
    assert picture.detail.units == 10_000
    assert len((picture._repr_html_() + detail_page(picture, part)).encode()) < 50_000


def test_of_long_sequences_attention_is_thinned() -> None:
    class Long(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.word, self.head = nn.Embedding(9, 8), nn.Linear(8, 3)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, tokens: torch.Tensor) -> Any:
            words = self.word(tokens)
            return self.head(self.attention(words, words, words, need_weights=False)[0].mean(1))

    data = torch.randint(0, 9, (3, 4_096)), torch.arange(3)
    with nbd.Debugger(Long(), data, nn.CrossEntropyLoss(), batch_size=1, runs=None) as dbg:
        found = detail_of(dbg, "attention")
    assert found.attention.shape == (2, 64, 64)


def test_an_explanation_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def stop(self: TaskProgress, share: float, title: str) -> None:
        asked.append(share)
        if len(asked) == 3:
            self.should_stop = lambda: True

    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    with nbd.Debugger(model, (X, Y), nn.CrossEntropyLoss(), runs=None) as dbg:
        monkeypatch.setattr(TaskProgress, "advance", stop)
        with pytest.raises(TaskStopped, match="explanation was stopped"):
            dbg.explain(0, "integrated_gradients")
        assert len(asked) == 3
        monkeypatch.undo()
        assert dbg.explain(0, "integrated_gradients").values.shape == (4,)
