"""Padding and background among targets: only the first is left out by ignore_index."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.checks.result_of import result_of

GENERATOR = torch.Generator().manual_seed(0)
PICTURES = torch.randn(96, 1, 10, 10, generator=GENERATOR)
MASKS = (PICTURES[:, 0] > 1.8).long()
WORDS = torch.randint(1, 12, (160, 20), generator=GENERATOR)
SHORT = WORDS * (torch.arange(20) < 3)
TAGS = (1 + SHORT % 3) * (SHORT > 0)
RARE = (WORDS == 5).long()
ALARMS = ("labels", "counted_targets")


class Tagger(nn.Module):
    """Scores [N, L, 5] of tags of words [N, L] or of frames [N, L, 1]."""

    def __init__(self, frames: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Linear(1, 8) if frames else nn.Embedding(12, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(words))  # type: ignore[no-any-return]


def pixels() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))


def scored(outputs: torch.Tensor, targets: torch.Tensor, **more: Any) -> torch.Tensor:
    return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), **more)


def leaving_out(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return scored(outputs, targets, ignore_index=0)


def step_of(loss: Any) -> Any:
    return lambda model, batch: loss(model(batch[0]), batch[1])


def said(check: str, model: nn.Module, data: Any, loss: Any, by_step: bool) -> Any:
    how = {"step_fn": step_of(loss)} if by_step else {"loss": loss}
    return result_of(check, model, data, batch_size=32, **how)


@pytest.mark.parametrize("by_step", [False, True])
def test_the_background_of_pictures_is_no_padding(by_step: bool) -> None:
    found = said("labels", pixels(), (PICTURES, MASKS), nn.CrossEntropyLoss(), by_step)
    assert found.status == "pass", found.seen


@pytest.mark.parametrize("by_step", [False, True])
def test_a_tag_that_most_words_have_is_no_padding(by_step: bool) -> None:
    found = said("labels", Tagger(), (WORDS, RARE), scored, by_step)
    assert found.status == "pass", found.seen


@pytest.mark.parametrize("by_step", [False, True])
def test_runs_of_a_class_beside_other_inputs_are_no_padding(by_step: bool) -> None:
    """An event of the first steps of a series, whose numbers go on."""
    series = torch.randn(160, 20, 1, generator=torch.Generator().manual_seed(1))
    event = (torch.arange(20) < 2).long().expand(160, 20).clone()
    found = said("labels", Tagger(frames=True), (series, event), scored, by_step)
    assert found.status == "pass", found.seen


@pytest.mark.parametrize("by_step", [False, True])
@pytest.mark.parametrize("kind", ["words", "frames", "in front", "next words"])
def test_padding_that_is_counted_is_told(kind: str, by_step: bool) -> None:
    inputs, targets = SHORT, TAGS
    if kind == "frames":
        inputs = (SHORT[:, :, None] / 6.0).float()
    elif kind == "in front":
        inputs, targets = SHORT.flip(1), TAGS.flip(1)
    elif kind == "next words":
        targets = (functional.pad(SHORT[:, 1:], (0, 1)) + 2) // 3
    model = Tagger(frames=kind == "frames")
    found = said("labels", model, (inputs, targets), scored, by_step)
    assert found.status == "warning", found.seen
    assert "ignore_index=0" in found.remedy


@pytest.mark.parametrize("by_step", [False, True])
@pytest.mark.parametrize("steps", [0, 150])
@pytest.mark.parametrize("check", ALARMS)
def test_padding_that_is_left_out_is_no_alarm(check: str, steps: int, by_step: bool) -> None:
    """Neither before training nor with sure predictions: both checks say the same."""
    model = Tagger()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        leaving_out(model(SHORT), TAGS).backward()
        optimizer.step()
    found = said(check, model, (SHORT, TAGS), leaving_out, by_step)
    assert found.status == "pass", found.seen


def test_a_class_that_the_loss_leaves_out_is_told_where_inputs_go_on() -> None:
    found = result_of("counted_targets", Tagger(), (WORDS, RARE), leaving_out, batch_size=32)
    assert found.status == "warning", found.seen
