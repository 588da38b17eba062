"""Checks of forward and backward, against torch's own means and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.results.checks.check_result import Proposal
from nbdebug.examples.setups.base import CE, X, mlp, y
from nbdebug.examples.setups.forwards import Reader, Square, WrongBackward, dropout_first, text
from tests.problems import CLASSES, FEATURES


def result(name: str, model: nn.Module, data: Any = (X, y), **more: Any) -> Any:
    with nbd.Debugger(model, data, CE, **more) as dbg:
        return dbg.check(name)[name]


def test_gradcheck_agrees_on_what_is_wrong() -> None:
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert not torch.autograd.gradcheck(Square.apply, x, raise_exception=False)
    wrong, right = result("gradient_check", WrongBackward()), result("gradient_check", mlp())
    assert (wrong.status, right.status) == ("fail", "pass")
    # The last layer lies behind the fault; only what is in front of it is wrong.
    assert "first.weight" in wrong.seen
    assert "last" not in wrong.seen


def test_entries_at_a_kink_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(FEATURES, CLASSES), nn.ReLU(), nn.Linear(CLASSES, CLASSES))
    nn.init.zeros_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    found = result("gradient_check", model)
    assert found.status == "pass"
    assert int(found.seen.split(" at kinks")[0].rsplit(" ", 1)[1]) > 0


def test_a_mask_lets_causality_pass() -> None:
    assert result("causality", Reader(True), text()).status == "pass"
    assert result("causality", Reader(False), text()).status == "fail"


def test_targets_that_are_not_shifted_ask_for_no_mask() -> None:
    inputs, targets = text()
    found = result("causality", Reader(False), (inputs, targets.flip(0)))
    assert found.status == "not_applicable"


@pytest.mark.parametrize("p", [0.1, 0.6])
def test_the_variance_that_dropout_adds(p: float) -> None:
    model = dropout_first(p)
    before = model[0](X).detach()
    torch.manual_seed(3)
    dropped = nn.functional.dropout(before, p)
    expected = float(dropped.var(0).mean() / before.var(0).mean())
    found = result("dropout_before_batchnorm", dropout_first(p), batch_size=len(X))
    assert float(found.seen.split(" is ")[1].split()[0]) == pytest.approx(expected, rel=0.15)
    assert found.status == ("warning" if p > 0.5 else "pass")
    assert found.proposal == (Proposal("layer_order", "norm_dropout") if p > 0.5 else None)


def test_the_proposed_order_is_one_that_can_be_set() -> None:
    with nbd.Debugger(dropout_first(0.6), (X, y), CE) as dbg:
        proposal = dbg.check("dropout_before_batchnorm")["dropout_before_batchnorm"].proposal
        dbg.set(**{proposal.control: proposal.value})
        assert dbg.check("dropout_before_batchnorm")["dropout_before_batchnorm"].status == "pass"


class Half(nn.Module):
    """Halves its outputs in eval mode; nothing in its forward says so."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) * factor(self)


def factor(module: nn.Module, training: float = 1.0, otherwise: float = 0.5) -> float:
    return training if module.training else otherwise


class Open(Half):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) * (1.0 if self.training else 0.5)


def test_a_difference_of_modes_that_nothing_explains() -> None:
    assert result("train_eval", Half()).status == "warning"
    assert result("train_eval", Open()).status == "pass"
    assert result("train_eval", mlp()).status == "pass"


class Noisy(nn.Module):
    """Adds noise in both modes, from torch, from NumPy or from a generator of its own."""

    def __init__(self, source: str, factors: tuple[float, float] = (1.0, 1.0)) -> None:
        super().__init__()
        self.body, self.source, self.factors = mlp(), source, factors
        self.own = torch.Generator().manual_seed(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.body(x)
        if self.source == "torch":
            noise = torch.randn_like(hidden)
        elif self.source == "numpy":
            noise = torch.from_numpy(np.random.standard_normal(hidden.shape)).to(hidden)
        else:
            noise = torch.randn(hidden.shape, generator=self.own)
        return (hidden + noise) * factor(self, *self.factors)


class Sampling(Noisy):
    """Tells the modes apart in another method than forward."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.sampled(self.body(x))

    def sampled(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + torch.randn_like(hidden) if self.training else hidden


@pytest.mark.parametrize("source", ["torch", "numpy", "own"])
def test_random_numbers_of_both_modes_are_no_difference_of_modes(source: str) -> None:
    found = result("train_eval", Noisy(source))
    assert found.status == "pass", found.seen
    if source != "own":
        assert "differ by 0 of" in found.seen
        assert result("train_eval", Noisy(source, (1.0, 0.5))).status == "warning"
    else:
        assert result("train_eval", Noisy(source, (50.0, 1.0))).status == "warning"


def test_any_method_may_tell_the_modes_apart() -> None:
    assert result("train_eval", Sampling("torch")).status == "pass"


def test_a_forward_that_breaks_in_eval_mode_fails() -> None:
    class Breaking(Open):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not self.training:
                raise KeyError("cache")
            return self.body(x)

    found = result("train_eval", Breaking())
    assert found.status == "fail"
    assert "KeyError" in found.seen
