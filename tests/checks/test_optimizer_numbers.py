"""Numbers of the optimizer and of normalisations: eps, weight decay, groups with lr 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from nbdebug.examples.setups.base import CE, X, mlp, y
from tests.checks.result_of import result_of
from tests.checks.watched import watched

Make = Callable[[Any], torch.optim.Optimizer]


def half(eps: float) -> Make:
    return lambda model: torch.optim.AdamW(model.parameters(), 1e-3, eps=eps)


@pytest.mark.parametrize(
    ("dtype", "eps", "status"),
    [
        (torch.float16, 1e-8, "fail"),
        (torch.float16, 1e-4, "pass"),
        (torch.bfloat16, 1e-8, "pass"),
        (torch.float32, 1e-8, "pass"),
    ],
    ids=["float16", "a larger eps", "bfloat16", "float32"],
)
def test_eps_is_above_0_in_the_dtype_of_the_weights(
    dtype: torch.dtype, eps: float, status: str
) -> None:
    model = mlp().to(dtype)
    found = result_of(
        "eps_size", model, (X.to(dtype), y), lambda o, t: functional.cross_entropy(o.float(), t),
        optimizer=half(eps)(model),
    )  # fmt: skip
    assert found.status == status, found.seen
    assert ("float16" in found.seen) is (status == "fail")


@pytest.mark.parametrize(
    ("scale", "eps", "status"),
    [(1.0, 1e-8, "pass"), (1.0, 1e-3, "pass"), (1.0, 50.0, "warning"), (1e-10, 1e-8, "warning")],
)
def test_eps_is_not_far_above_the_gradients(scale: float, eps: float, status: str) -> None:
    model = mlp()
    found = result_of(
        "eps_size", model, (X, y), lambda o, t: scale * CE(o, t), optimizer=half(eps)(model)
    )
    assert found.status == status, found.seen


@pytest.mark.parametrize(
    ("kind", "settings", "status"),
    [
        (torch.optim.Adam, {"lr": 1e-3, "eps": 1}, "warning"),
        (torch.optim.AdamW, {"lr": 1e-3, "eps": 0.5}, "warning"),
        (torch.optim.RMSprop, {"lr": 1e-3, "eps": 1.0}, "warning"),
        (torch.optim.Adagrad, {"lr": 1e-3, "eps": 1.0}, "warning"),
        (torch.optim.NAdam, {"lr": 1e-3, "eps": 1.0}, "warning"),
        (torch.optim.Adam, {"lr": 0.5, "eps": 1.0}, "pass"),
        (torch.optim.RMSprop, {"lr": 0.045, "eps": 1.0, "momentum": 0.9}, "pass"),
        (torch.optim.Adam, {"lr": 1e-3, "eps": 1e-3}, "pass"),
        (torch.optim.AdamW, {"lr": 1e-5, "eps": 1e-4}, "pass"),
        (torch.optim.Adadelta, {"lr": 1.0, "eps": 1.0}, "pass"),
    ],
)
@pytest.mark.parametrize("in_a_loop", [False, True])
def test_eps_that_shrinks_the_updates_is_named(
    kind: Any, settings: dict[str, float], status: str, in_a_loop: bool
) -> None:
    """An eps that a large lr makes good is meant, as in recipes for Inception."""
    model = mlp()
    optimizer = kind(model.parameters(), **settings)
    if in_a_loop:
        step = lambda model, batch: CE(model(batch[0]), batch[1])  # noqa: E731
        found = watched(("eps_size",), model, (X, y), step, optimizer=optimizer)["eps_size"]
    else:
        found = result_of("eps_size", model, (X, y), CE, optimizer=optimizer)
    assert found.status == status, found.seen
    if status == "warning":
        assert f"eps={settings['eps']:g}" in found.seen
        assert "1e-8" in found.remedy


def test_eps_of_an_optimizer_by_name() -> None:
    found = result_of("eps_size", mlp(), (X, y), CE, optimizer="adam", lr=1e-3)
    assert found.status == "pass", found.seen


def test_eps_is_not_compared_with_what_is_left_of_the_gradients() -> None:
    model = nn.Linear(12, 5)
    with torch.no_grad():
        model.weight.mul_(0).add_(torch.eye(5, 12) * 300)
        model.bias.zero_()
    inputs = functional.one_hot(y, 12).float() * 0.1
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, eps=0.02)
    found = result_of("eps_size", model, (inputs, y), CE, optimizer=optimizer)
    assert found.status == "pass", found.seen


def test_sgd_has_no_eps() -> None:
    assert result_of("eps_size", mlp(), (X, y), CE, optimizer="sgd").status == "not_applicable"


def normal(norm: nn.Module, scale: float = 1.0) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    return nn.Sequential(norm, nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4)), (X * scale, y)


@pytest.mark.parametrize(
    ("norm", "scale", "remedy"),
    [
        (nn.BatchNorm1d(12), 1e-4, "standardise the inputs"),
        (nn.LayerNorm(12, eps=1e5), 1.0, "1e-5"),
        (nn.GroupNorm(2, 12), 1e-4, "standardise the inputs"),
        (nn.BatchNorm1d(12), 1.0, ""),
        (nn.LayerNorm(12), 0.1, ""),
    ],
    ids=["small inputs", "5 for -5", "small groups", "usual", "a tenth"],
)
def test_eps_of_a_normalisation_is_below_the_variance(
    norm: nn.Module, scale: float, remedy: str
) -> None:
    model, data = normal(norm, scale)
    found = result_of("norm_eps", model, data, CE, batch_size=50)
    assert found.status == ("warning" if remedy else "pass"), found.seen
    assert remedy in found.remedy


def by_kind(decay: float, of_norms: float) -> Make:
    def make(model: nn.Module) -> torch.optim.Optimizer:
        weights = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim == 1]
        groups = [
            {"params": weights, "weight_decay": decay},
            {"params": others, "weight_decay": of_norms},
        ]
        return torch.optim.AdamW(groups, 1e-3)

    return make


@pytest.mark.parametrize(
    ("decay", "of_norms", "status"),
    [(0.05, 0.05, "pass"), (30.0, 0.0, "warning"), (0.05, 5.0, "warning"), (0.1, 0.0, "pass")],
    ids=["usual", "of weights", "of norms", "none of norms"],
)
def test_decay_beside_the_gradient_is_below_an_update(
    decay: float, of_norms: float, status: str
) -> None:
    model, data = normal(nn.LayerNorm(12))
    found = result_of(
        "regularisation_gradient", model, data, CE, optimizer=by_kind(decay, of_norms)(model)
    )
    assert found.status == status, found.seen
    if of_norms > 1:
        assert "0.weight" in found.seen
        assert "normalisations" in found.remedy


def test_a_group_with_a_learning_rate_of_0_is_named() -> None:
    model = mlp()
    groups = [{"params": model[:2].parameters()}, {"params": model[2:].parameters(), "lr": 0.0}]
    found = result_of(
        "unchanged_parameters", model, (X, y), CE, optimizer=torch.optim.SGD(groups, 0.1)
    )
    assert found.status == "warning"
    assert "Parameter group 1 of 2" in found.remedy
