"""Operations over an axis of one element, which give the same whatever they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import nbdebug as nbd
from nbdebug.examples.setups.base import X, mlp, y
from tests.checks.result_of import result_of
from tests.checks.watched import watched

Step = Callable[[Any, Any], torch.Tensor]
TWO = (y > 1).float()[:, None]


class Lambda(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def squared(m: Any, b: Any) -> torch.Tensor:
    return F.mse_loss(m(b[0]), b[1])


# Sick: words in what is said, the model, its step. All outputs are [N, 1].
SICK: dict[str, tuple[str, nn.Module, Step]] = {
    "softmax of one channel in the step": (
        "softmax", mlp(out=1),
        lambda m, b: F.mse_loss(torch.softmax(m(b[0]), dim=1), b[1]),
    ),
    "method of the tensor": (
        "softmax", mlp(out=1), lambda m, b: F.mse_loss(m(b[0]).softmax(-1), b[1]),
    ),
    "layer in the model": ("softmax", mlp(nn.Softmax(dim=1), out=1), squared),
    "log-probabilities": (
        "log_softmax", mlp(out=1), lambda m, b: (-F.log_softmax(m(b[0]), 1) * b[1]).mean(),
    ),
    "cross-entropy of one class": (
        "cross_entropy", mlp(out=1), lambda m, b: F.cross_entropy(m(b[0]), b[1]),
    ),
    "rows of length 1": (
        "normalize", mlp(out=1), lambda m, b: F.mse_loss(F.normalize(m(b[0]), dim=1), b[1]),
    ),
    "a norm of one feature": ("layer_norm", mlp(nn.LayerNorm(1), out=1), squared),
    "groups of one number": (
        "group_norm", mlp(nn.GroupNorm(8, 8), nn.Linear(8, 1), out=8), squared,
    ),
    "cosine of single numbers": (
        "cosine_similarity", mlp(out=1),
        lambda m, b: F.mse_loss(F.cosine_similarity(m(b[0]), b[0][:, :1], dim=1), b[1][:, 0]),
    ),
    "spread of one element": (
        "std", mlp(out=1),
        lambda m, b: F.mse_loss(m(b[0]).std(1, correction=0, keepdim=True), b[1]),
    ),
}  # fmt: skip
HEALTHY: dict[str, tuple[nn.Module, Step]] = {
    "sigmoid": (mlp(out=1), lambda m, b: F.mse_loss(m(b[0]).sigmoid(), b[1])),
    "softmax over the places": (
        mlp(out=1), lambda m, b: (m(b[0]).softmax(0) * b[1]).sum(),
    ),
    "softmax of two": (
        mlp(out=2), lambda m, b: F.mse_loss(m(b[0]).softmax(1)[:, :1], b[1]),
    ),
    "a constant beside the model": (
        mlp(out=1), lambda m, b: squared(m, b) * torch.softmax(torch.zeros(3, 1), 1).mean(),
    ),
    "targets of unit length": (
        mlp(out=1), lambda m, b: F.mse_loss(m(b[0]), F.normalize(b[1] - 0.5, dim=1)),
    ),
    "norm of many features": (mlp(nn.LayerNorm(8), nn.Linear(8, 1), out=8), squared),
    "groups of several": (mlp(nn.GroupNorm(2, 8), nn.Linear(8, 1), out=8), squared),
}  # fmt: skip


@pytest.mark.parametrize("name", SICK)
def test_an_operation_over_one_element_is_named(name: str) -> None:
    words, model, step = SICK[name]
    found = result_of("unit_axis", model, (X, TWO), step_fn=step, batch_size=50)
    assert found.status in ("fail", "warning"), found.seen
    assert words in found.seen
    assert found.remedy


@pytest.mark.parametrize("name", HEALTHY)
def test_what_looks_like_it_passes(name: str) -> None:
    model, step = HEALTHY[name]
    found = result_of("unit_axis", model, (X, TWO), step_fn=step, batch_size=50)
    assert found.status == "pass", found.seen


def test_a_loss_of_torch_is_seen() -> None:
    found = result_of("unit_axis", mlp(out=1), (X, TWO), nn.CrossEntropyLoss())
    assert found.status == "fail"
    assert "cross_entropy" in found.seen


def test_a_watched_loop_does_not_hide_it() -> None:
    for name, bad in (("softmax of one channel in the step", True), ("sigmoid", False)):
        model, step = (SICK | HEALTHY)[name][-2:]  # type: ignore[operator]
        found = watched(("unit_axis",), model, (X, TWO), step)["unit_axis"]
        assert (found.status in ("fail", "warning")) is bad, found.seen


def test_the_line_is_named() -> None:
    def step(model: Any, batch: Any) -> torch.Tensor:
        shares = model(batch[0]).softmax(1)
        return F.mse_loss(shares, batch[1])

    found = result_of("unit_axis", mlp(out=1), (X, TWO), step_fn=step)
    assert "shares = model(batch[0]).softmax(1)" in found.seen


def test_attention_to_a_single_token_is_a_warning_alone() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project, self.out = nn.Linear(X.shape[1], 8), nn.Linear(8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            token = self.project(x)[:, None]
            shares = (token @ token.mT).softmax(-1)
            out: torch.Tensor = self.out((shares @ token)[:, 0])
            return out

    found = result_of("unit_axis", Attention(), (X, TWO), step_fn=squared)
    assert found.status == "warning"


def test_lengths_that_vary_are_no_fault() -> None:
    """A sequence of one element among longer ones."""

    class Pool(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.score, self.out = nn.Linear(1, 1), nn.Linear(1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows = [row[: 1 + i % 3, None] for i, row in enumerate(x)]
            pooled = torch.stack([(self.score(r).softmax(0) * r).sum(0) for r in rows])
            out: torch.Tensor = self.out(pooled)
            return out

    assert result_of("unit_axis", Pool(), (X, TWO), step_fn=squared).status == "pass"


class Gated(nn.Module):
    """Linear layers, and weights of the places that are always 1."""

    def __init__(self, weigh: Callable[[torch.Tensor], torch.Tensor], places: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weigh, self.places = weigh, places
        self.key, self.score, self.value = nn.Linear(3, 8), nn.Linear(8, 1), nn.Linear(3, 8)
        self.out = nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = x.unflatten(1, (self.places, 3))
        weights = self.weigh(self.score(torch.tanh(self.key(parts))))
        out: torch.Tensor = self.out((weights * self.value(parts)).sum(1))
        return out


CONSTANT: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "softmax": lambda scores: scores.softmax(-1),
    "F.softmax": lambda scores: F.softmax(scores, dim=2),
    "a norm": lambda scores: F.layer_norm(scores, (1,)) + 1,
}


@pytest.mark.parametrize("name", CONSTANT)
@pytest.mark.parametrize("loop", [False, True])
def test_a_network_that_is_linear_because_of_it_is_explained(name: str, loop: bool) -> None:
    model = Gated(CONSTANT[name])
    if loop:
        report = watched(("affine", "unit_axis"), model, (X, TWO), squared)
    else:
        with nbd.Debugger(model, (X, TWO), nn.MSELoss(), runs=None) as dbg:
            report = dbg.check("affine", "unit_axis")
    assert [one.name for one in report.causes] == ["unit_axis"]
    assert report["affine"].cause == "unit_axis"


def test_training_goes_on_with_the_cause_alone() -> None:
    with nbd.Debugger(Gated(CONSTANT["softmax"]), (X, TWO), nn.MSELoss(), runs=None) as dbg:
        dbg.check("affine", "unit_axis")
        dbg.run(steps=5)
        (found,) = (one for one in dbg.findings if one.name == "failed_check")
    assert "softmax" in found.seen
    assert "Nonlinearity" not in found.seen


def test_layers_without_an_activation_are_still_named() -> None:
    model = Gated(lambda scores: scores.softmax(1) * 0 + 1)
    with nbd.Debugger(model, (X, TWO), nn.MSELoss(), runs=None) as dbg:
        report = dbg.check("affine", "unit_axis")
    assert [one.name for one in report.causes] == ["affine"]


def test_a_warning_alone_is_no_proof() -> None:
    weigh = CONSTANT["softmax"]
    model = Gated(lambda scores: weigh(scores) * torch.sigmoid(scores))
    with nbd.Debugger(model, (X, TWO), nn.MSELoss(), runs=None) as dbg:
        dbg.check("affine", "unit_axis")
        dbg.run(steps=5)
        assert "failed_check" not in [one.name for one in dbg.findings]


def test_groups_of_one_value_are_told_to_be_fewer() -> None:
    model = mlp(nn.GroupNorm(8, 8), nn.Linear(8, 1), out=8)
    found = result_of("unit_axis", model, (X, TWO), step_fn=squared)
    assert "has one value in each group" in found.seen
    assert "num_groups" in found.remedy
