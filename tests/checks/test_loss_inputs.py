"""Losses of torch that are given what they forbid, wherever they are called."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from nbdebug.examples.setups.base import X, mlp, y
from tests.checks.loss_calls import LOOK_ALIKES, MORE, PAIRS, SEVERAL, SHARES, Pair
from tests.checks.result_of import result_of
from tests.checks.watched import watched
from tests.problems import CLASSES

ALL = PAIRS | MORE
BAD = ("fail", "warning")


@pytest.mark.parametrize("name", ALL)
def test_a_forbidden_argument_is_named(name: str) -> None:
    pair = ALL[name]
    found = result_of(
        "loss_inputs", mlp(out=pair.out), (X, pair.targets), step_fn=pair.sick, batch_size=50
    )
    assert found.status in BAD, found.seen
    assert pair.words in found.seen + found.remedy
    assert found.remedy


@pytest.mark.parametrize("name", ALL)
def test_the_cured_one_passes(name: str) -> None:
    pair = ALL[name]
    targets = pair.targets if pair.cured is None else pair.cured
    found = result_of(
        "loss_inputs", mlp(out=pair.out), (X, targets), step_fn=pair.healthy, batch_size=50
    )
    assert found.status == "pass", found.seen


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_what_looks_like_it_passes(name: str) -> None:
    targets, loss, out = LOOK_ALIKES[name]
    found = result_of("loss_inputs", mlp(out=out), (X, targets), step_fn=loss, batch_size=50)
    assert found.status == "pass", found.seen


@pytest.mark.parametrize("name", ["kl_div of probabilities", "cosine embedding of 0 and 1"])
def test_a_watched_loop_does_not_hide_them(name: str) -> None:
    pair: Pair = ALL[name]
    for loss, bad in ((pair.sick, True), (pair.healthy, False)):
        found = watched(("loss_inputs",), mlp(out=pair.out), (X, pair.targets), loss)["loss_inputs"]
        assert (found.status in BAD) is bad, found.seen


def test_the_line_of_the_call_is_named() -> None:
    def step(model: Any, batch: Any) -> torch.Tensor:
        return F.kl_div(model(batch[0]), batch[1], reduction="batchmean")

    found = result_of("loss_inputs", mlp(), (X, SHARES), step_fn=step)
    assert "test_loss_inputs.py: return F.kl_div(" in found.seen


def test_a_loss_inside_of_the_model_is_seen() -> None:
    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.criterion = mlp(), nn.BCEWithLogitsLoss()

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            loss: torch.Tensor = self.criterion(self.body(x), 2 * labels - 1)
            return loss

    found = result_of("loss_inputs", Whole(), (X, SEVERAL), step_fn=lambda m, b: m(*b))
    assert found.status == "fail"
    assert "-1 and 1" in found.remedy


def test_a_step_that_calls_backward_itself_is_judged() -> None:
    def step(model: Any, batch: Any) -> torch.Tensor:
        loss = F.nll_loss(model(batch[0]), batch[1])
        loss.backward()
        return loss

    assert result_of("loss_inputs", mlp(), (X, y), step_fn=step).status == "fail"


def test_a_fault_that_another_check_names_is_folded_under_it() -> None:
    import nbdebug as nbd

    with nbd.Debugger(mlp(nn.Softmax(1)), (X, y), nn.NLLLoss(), runs=None) as dbg:
        found = dbg.check("output_activation", "loss_inputs")
    assert [one.status for one in found] == ["fail", "fail"]
    assert [one.name for one in found.causes] == ["output_activation"]


def test_a_loss_of_ones_own_is_not_judged() -> None:
    found = result_of("loss_inputs", mlp(out=CLASSES), (X, y), lambda o, t: o.square().mean())
    assert found.status == "not_applicable"
