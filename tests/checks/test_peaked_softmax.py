"""Attention that looks at one key before training, and attention that may."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import nbdebug as nbd
from nbdebug.core.results.checks.check_result import CheckResult
from tests.checks.result_of import result_of
from tests.checks.watched import watched

DRAW = torch.Generator().manual_seed(0)
N, LENGTH, WIDTH = 200, 12, 64
X = torch.randn(N, LENGTH, WIDTH, generator=DRAW)
Y = torch.randint(3, (N,), generator=DRAW)
CE = nn.CrossEntropyLoss()
Weigh = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class Reader(nn.Module):
    """Attention of a sequence to itself, and a layer for the classes.

    Args:
        weigh: gives the values that are attended to for queries, keys and values [N, L, W].
        scale: of the weights of queries and keys.
    """

    def __init__(self, weigh: Weigh, scale: float = 3.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weigh = weigh
        self.q, self.k = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.v, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)
        with torch.no_grad():
            for layer in (self.q, self.k):
                layer.weight.mul_(scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.weigh(self.q(x), self.k(x), self.v(x)).mean(1))  # type: ignore[no-any-return]


class Pooled(Reader):
    """Attention of one query to a sequence, by products of columns."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = (self.q(x[:, 0])[:, None] * self.k(x)).sum(-1)
        pooled = (scores.softmax(-1)[..., None] * self.v(x)).sum(1)
        return self.out(pooled)  # type: ignore[no-any-return]


def heads(x: torch.Tensor) -> torch.Tensor:
    return x.unflatten(-1, (4, WIDTH // 4)).transpose(1, 2)


def many_heads(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    weights = F.softmax(heads(q) @ heads(k).mT * 3, dim=-1)
    return (weights @ heads(v)).transpose(1, 2).flatten(2)


def masked(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    seen = torch.ones(LENGTH, LENGTH).tril().bool()
    return (q @ k.mT).masked_fill(~seen, -math.inf).softmax(-1) @ v


def scaled_masked(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    seen = torch.ones(LENGTH, LENGTH).tril().bool()
    return (q @ k.mT / WIDTH**0.5).masked_fill(~seen, -1e9).softmax(-1) @ v


def two_keys(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """A window of three keys."""
    near = (torch.arange(LENGTH)[:, None] - torch.arange(LENGTH)).abs() < 2
    return (q @ k.mT).masked_fill(~near, -math.inf).softmax(-1) @ v


def cosines(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * 4).softmax(-1) @ v


SICK: dict[str, Callable[[], nn.Module]] = {
    "no scale": lambda: Reader(lambda q, k, v: (q @ k.mT).softmax(-1) @ v),
    "times the root": lambda: Reader(lambda q, k, v: (q @ k.mT * WIDTH**0.5).softmax(-1) @ v, 1.0),
    "products of columns": lambda: Pooled(lambda q, k, v: v, 4.0),
    "einsum": lambda: Reader(
        lambda q, k, v: torch.einsum(
            "nij,njd->nid", torch.softmax(torch.einsum("nid,njd->nij", q, k), 2), v
        )
    ),
    "several heads": lambda: Reader(many_heads),
    "masked": lambda: Reader(masked),
    "torch's own, with a scale of 1": lambda: Reader(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=1.0)
    ),
}
HEALTHY: dict[str, Callable[[], nn.Module]] = {
    "scaled": lambda: Reader(lambda q, k, v: (q @ k.mT / WIDTH**0.5).softmax(-1) @ v, 1.0),
    "not scaled, of small weights": lambda: Reader(
        lambda q, k, v: (q @ k.mT).softmax(-1) @ v, 0.5
    ),
    "scaled and masked": lambda: Reader(scaled_masked, 1.0),
    "few keys": lambda: Reader(two_keys),
    "cosines": lambda: Reader(cosines),
    "torch's own": lambda: Reader(F.scaled_dot_product_attention, 1.0),
    "a hard choice": lambda: Reader(
        lambda q, k, v: F.gumbel_softmax(q @ k.mT, hard=True) @ v
    ),
    "probabilities of classes": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(LENGTH * WIDTH, 5), nn.Hardtanh(-1000, 1000), nn.Softmax(1)
    ),
}  # fmt: skip


def row(make: Callable[[], nn.Module], **more: Any) -> CheckResult:
    return result_of("peaked_softmax", make(), (X, Y), CE, batch_size=50, **more)


@pytest.mark.parametrize("name", SICK)
def test_scores_that_are_too_wide_are_named(name: str) -> None:
    found = row(SICK[name])
    assert found.status in ("fail", "warning"), found.seen
    assert "standard deviation" in found.seen
    assert "square root" in found.remedy


@pytest.mark.parametrize("name", HEALTHY)
def test_what_looks_like_it_passes(name: str) -> None:
    found = row(HEALTHY[name])
    assert found.status in ("pass", "not_applicable"), found.seen


@pytest.mark.parametrize("name", ["products of columns", "scaled"])
def test_steps_and_loops_do_not_hide_it(name: str) -> None:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    make = (SICK | HEALTHY)[name]
    found = result_of("peaked_softmax", make(), (X, Y), step_fn=step, batch_size=50)
    report = watched(("peaked_softmax",), make(), (X, Y), step)
    for one in (found, report["peaked_softmax"]):
        assert (one.status in ("fail", "warning")) is (name in SICK), one.seen


def test_the_line_is_named() -> None:
    assert "pooled = (scores.softmax(-1)" in row(SICK["products of columns"]).seen


def test_it_explains_gradients_that_vanish() -> None:
    with nbd.Debugger(SICK["times the root"](), (X, Y), CE, batch_size=50, runs=None) as dbg:
        report = dbg.check()
        assert report.causes[0].name == "peaked_softmax"
        assert "gradient_ratio" not in [one.name for one in report.causes]


def test_a_trained_model_may_look_at_one_key() -> None:
    with nbd.Debugger(SICK["no scale"](), (X, Y), CE, batch_size=50, runs=None) as dbg:
        dbg.run(steps=20)
        assert dbg.check("peaked_softmax")["peaked_softmax"].status == "not_applicable"
