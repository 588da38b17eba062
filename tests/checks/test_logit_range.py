"""Logits that cannot leave a narrow range, so that cross-entropy stays near that of chance."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from nbdebug.examples.setups.base import X, mlp, y
from tests.checks.result_of import result_of
from tests.checks.watched import watched
from tests.problems import CLASSES

Step = Callable[[Any, Any], torch.Tensor]


def views(m: Any, b: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return F.normalize(m(b[0]), dim=1), F.normalize(m(b[0] + 0.01), dim=1)


def pairs(logits: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits, torch.arange(len(logits)))


def by_hand(m: Any, b: Any, scale: float) -> torch.Tensor:
    one, two = (m(b[0] + shift) for shift in (0, 0.01))
    one = one / one.norm(dim=1, keepdim=True).clamp_min(1e-8)
    two = two / two.norm(dim=1, keepdim=True).clamp_min(1e-8)
    return pairs(torch.einsum("nd,md->nm", one, two) * scale)


def both(m: Any, b: Any, scale: float) -> torch.Tensor:
    rows = torch.cat(views(m, b))
    logits = (rows @ rows.T * scale).masked_fill(torch.eye(len(rows)).bool(), -1e9)
    return F.cross_entropy(logits, torch.arange(len(rows)).roll(len(rows) // 2))


def likelihood(m: Any, b: Any, scale: float) -> torch.Tensor:
    one, two = views(m, b)
    return -(one.mm(two.t()) * scale).log_softmax(1).diagonal().mean()


def lse(m: Any, b: Any, scale: float) -> torch.Tensor:
    one, two = views(m, b)
    scores = one @ two.mT * scale
    return (scores.logsumexp(1) - scores.diagonal()).mean()


def cosine(m: Any, b: Any, scale: float) -> torch.Tensor:
    one, two = m(b[0]), m(b[0] + 0.01)
    return pairs(scale * F.cosine_similarity(one[:, None], two[None], dim=-1))


PROTOTYPES = torch.randn(CLASSES, CLASSES, generator=torch.Generator().manual_seed(3))


def prototypes(m: Any, b: Any, scale: float) -> torch.Tensor:
    rows = F.normalize(m(b[0]), dim=-1)
    return F.cross_entropy(F.linear(rows, F.normalize(PROTOTYPES, dim=-1)) * scale, b[1])


FORMS = {
    "two views": lambda m, b, s: pairs(views(m, b)[0] @ views(m, b)[1].T * s),
    "divided": lambda m, b, s: pairs(views(m, b)[0] @ views(m, b)[1].T / (1 / s)),
    "by hand": by_hand, "both ways": both, "log_softmax": likelihood, "logsumexp": lse,
    "cosine_similarity": cosine, "prototypes": prototypes,
    "tanh": lambda m, b, s: F.cross_entropy(m(b[0]).tanh() * s, b[1]),
    "sigmoid": lambda m, b, s: F.cross_entropy(2 * s * m(b[0]).sigmoid() - s, b[1]),
    "tensor as factor": lambda m, b, s: pairs(views(m, b)[0] @ views(m, b)[1].T * torch.tensor(s)),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_a_temperature_that_is_multiplied_is_named(name: str) -> None:
    def sick(m: Any, b: Any) -> torch.Tensor:
        return FORMS[name](m, b, 0.07)

    found = result_of("logit_range", mlp(), (X, y), step_fn=sick, batch_size=50)
    assert found.status == "fail", found.seen
    assert "-0.07 and 0.07" in found.seen
    assert "divide" in found.remedy.lower()


@pytest.mark.parametrize("name", FORMS)
def test_a_temperature_that_divides_passes(name: str) -> None:
    def healthy(m: Any, b: Any) -> torch.Tensor:
        return FORMS[name](m, b, 1 / 0.07)

    found = result_of("logit_range", mlp(), (X, y), step_fn=healthy, batch_size=50)
    assert found.status == "pass", found.seen


class Learnt(nn.Module):
    """Cosines times a number that is learnt, as in CLIP."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.scale = mlp(), nn.Parameter(torch.tensor(0.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = F.normalize(self.body(x), dim=1)
        return rows @ rows.T * self.scale.exp()


HEALTHY: dict[str, tuple[nn.Module, Step]] = {
    "a scale that is learnt": (Learnt(), lambda m, b: pairs(m(b[0]))),
    "free logits": (mlp(), lambda m, b: F.cross_entropy(0.05 * m(b[0]), b[1])),
    "cosines of few classes": (mlp(), lambda m, b: prototypes(m, b, 1.0)),
    "free logits beside bounded ones": (
        mlp(), lambda m, b: F.cross_entropy(m(b[0]) + 0.01 * m(b[0]).tanh(), b[1]),
    ),
    "one of both has a norm": (
        mlp(), lambda m, b: pairs(0.07 * views(m, b)[0] @ m(b[0]).T),
    ),
    "entropy of an attention": (
        mlp(),
        lambda m, b: F.cross_entropy(m(b[0]) * m(b[0]).tanh().softmax(1), b[1]),
    ),
    "no gradient": (
        mlp(), lambda m, b: F.cross_entropy(m(b[0]), b[1])
        + pairs(0.07 * views(m, b)[0].detach() @ views(m, b)[1].detach().T),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
def test_what_looks_like_it_passes(name: str) -> None:
    model, step = HEALTHY[name]
    found = result_of("logit_range", model, (X, y), step_fn=step, batch_size=50)
    assert found.status in ("pass", "not_applicable"), found.seen


def test_a_watched_loop_does_not_hide_it() -> None:
    for scale, bad in ((0.07, True), (1 / 0.07, False)):

        def loss(m: Any, b: Any, scale: float = scale) -> torch.Tensor:
            return pairs(views(m, b)[0] @ views(m, b)[1].T * scale)

        found = watched(("logit_range",), mlp(), (X, y), loss)["logit_range"]
        assert (found.status == "fail") is bad, found.seen


def test_the_lowest_loss_that_is_named_is_the_lowest_one() -> None:
    """Logits at the ends of their range, and the loss of torch."""

    def step(m: Any, b: Any) -> torch.Tensor:
        return F.cross_entropy(m(b[0]).tanh() * 0.1, b[1])

    found = result_of("logit_range", mlp(), (X, y), step_fn=step, batch_size=50)
    ends = torch.full((1, CLASSES), -0.1)
    ends[0, 0] = 0.1
    lowest = float(F.cross_entropy(ends, torch.tensor([0])))
    assert f"{lowest:.3g}" in found.seen
    assert f"{math.log(CLASSES):.3g}" in found.seen
