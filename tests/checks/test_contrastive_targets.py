"""Contrastive losses whose targets are one column, and those where that is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from nbdebug.core.results.checks.check_result import CheckResult
from tests.checks.result_of import result_of
from tests.checks.watched import watched

DRAW = torch.Generator().manual_seed(0)
N, WIDTH = 200, 8
X = torch.randn(N, 2 * WIDTH, generator=DRAW)
Y = torch.randint(4, (N,), generator=DRAW)
Step = Callable[[Any, Any], torch.Tensor]


class Two(nn.Module):
    """Embeddings of both halves of an input."""

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        between: list[nn.Module] = [nn.BatchNorm1d(16)] if norm else []
        self.left = nn.Sequential(nn.Linear(WIDTH, 16), *between, nn.ReLU(), nn.Linear(16, 5))
        self.right = nn.Sequential(nn.Linear(WIDTH, 16), *between, nn.ReLU(), nn.Linear(16, 5))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        halves = self.left(x[:, :WIDTH]), self.right(x[:, WIDTH:])
        return F.normalize(halves[0], dim=1), F.normalize(halves[1], dim=1)


def zeros(scores: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(scores), dtype=torch.long)


def own(scores: torch.Tensor) -> torch.Tensor:
    return torch.arange(len(scores))


def both_ways(labels: Callable[[torch.Tensor], torch.Tensor]) -> Step:
    def step(model: Any, batch: Any) -> torch.Tensor:
        a, b = model(batch[0])
        scores = a @ b.T / 0.1
        return F.cross_entropy(scores, labels(scores)) + F.cross_entropy(scores.T, labels(scores))

    return step


def one_way(labels: Callable[[torch.Tensor], torch.Tensor]) -> Step:
    def step(model: Any, batch: Any) -> torch.Tensor:
        a, b = model(batch[0])
        scores = F.cosine_similarity(a[:, None], b[None], dim=-1) / 0.1
        return nn.CrossEntropyLoss()(scores, labels(scores))

    return step


def by_parts(labels: Callable[[torch.Tensor], torch.Tensor]) -> Step:
    """The parts of the model are called one by one."""

    def step(model: Any, batch: Any) -> torch.Tensor:
        a, b = model.left(batch[0][:, :WIDTH]), model.right(batch[0][:, WIDTH:])
        scores = torch.einsum("id,jd->ij", a, b)
        return F.nll_loss(scores.log_softmax(1), labels(scores))

    return step


def by_hand(labels: Callable[[torch.Tensor], torch.Tensor]) -> Step:
    def step(model: Any, batch: Any) -> torch.Tensor:
        a, b = model(batch[0])
        likely = F.log_softmax(-torch.cdist(a, b), dim=1)
        return -likely[torch.arange(len(a)), labels(likely)].mean()

    return step


def positives_first(width: int) -> Step:
    """The positive pair in the first column, and `width` negatives (0: all others)."""

    def step(model: Any, batch: Any) -> torch.Tensor:
        a, b = model(batch[0])
        others = (a @ b.T)[~torch.eye(len(a), dtype=torch.bool)].view(len(a), -1)
        scores = torch.cat([(a * b).sum(1, keepdim=True), others[:, : width or None]], 1) / 0.1
        return F.cross_entropy(scores, zeros(scores))

    return step


def classes(model: Any, batch: Any) -> torch.Tensor:
    """As many samples as classes."""
    a, _ = model(batch[0][:5])
    return F.cross_entropy(a, batch[1][:5])


def prototype(model: Any, batch: Any) -> torch.Tensor:
    """Each sample is drawn to another one, drawn anew."""
    a, b = model(batch[0])
    scores = a @ b.T
    return F.cross_entropy(scores, torch.randperm(len(a)))


MAKERS = {"both ways": both_ways, "cosines": one_way, "by parts": by_parts, "by hand": by_hand}
SICK = {name: make(zeros) for name, make in MAKERS.items()}
SICK["another column"] = both_ways(lambda scores: zeros(scores) + 3)
HEALTHY = {name: make(own) for name, make in MAKERS.items()}
HEALTHY |= {
    "positives first, as many as samples": positives_first(0),
    "positives first": positives_first(10), "classes": classes, "random pairs": prototype,
}  # fmt: skip


def row(step: Step, model: nn.Module | None = None) -> CheckResult:
    model = model or Two()
    return result_of("contrastive_targets", model, (X, Y), step_fn=step, batch_size=20)


@pytest.mark.parametrize("name", SICK)
@pytest.mark.parametrize("norm", [False, True])
def test_one_column_for_all_rows_is_named(name: str, norm: bool) -> None:
    found = row(SICK[name], Two(norm))
    assert found.status == "fail", found.seen
    assert f"are all {3 if name == 'another column' else 0}" in found.seen
    assert "torch.arange" in found.remedy


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("norm", [False, True])
def test_what_looks_like_it_passes(name: str, norm: bool) -> None:
    found = row(HEALTHY[name], Two(norm))
    assert found.status in ("pass", "not_applicable"), found.seen


@pytest.mark.parametrize("name", ["both ways", "by hand"])
def test_loops_do_not_hide_it(name: str) -> None:
    for steps, bad in ((SICK, True), (HEALTHY, False)):
        report = watched(("contrastive_targets",), Two(), (X, Y), steps[name], batch_size=20)
        found = report["contrastive_targets"]
        assert (found.status == "fail") is bad, found.seen


def test_the_line_is_named() -> None:
    assert "return F.cross_entropy(scores, labels(scores))" in row(SICK["both ways"]).seen
