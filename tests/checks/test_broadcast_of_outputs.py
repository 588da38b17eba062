"""Outputs that meet other outputs, or what is made of them, in shapes that broadcast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from nbdebug.examples.setups.base import X, y
from tests.checks.result_of import result_of
from tests.checks.watched import watched
from tests.problems import CLASSES

RETURNS = X[:, 0] + 0.1 * y
Step = Callable[[Any, Any], torch.Tensor]


class Two(nn.Module):
    """Scores [N, C] and a value [N, 1]."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(X.shape[1], 16), nn.Tanh())
        self.scores, self.value = nn.Linear(16, CLASSES), nn.Linear(16, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.body(x)
        return self.scores(hidden), self.value(hidden)


def logp(scores: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    return torch.distributions.Categorical(logits=scores).log_prob(actions)


def critic(m: Any, b: Any) -> torch.Tensor:
    scores, value = m(b[0])
    advantage = b[2][:, None] - value
    return -(logp(scores, b[1]) * advantage.detach()).mean() + advantage.square().mean()


def cured(m: Any, b: Any) -> torch.Tensor:
    scores, value = m(b[0])
    advantage = b[2] - value[:, 0]
    return -(logp(scores, b[1]) * advantage.detach()).mean() + advantage.square().mean()


def ratio(m: Any, b: Any) -> torch.Tensor:
    scores, value = m(b[0])
    ratios = (logp(scores, b[1]) - logp(scores, b[1]).detach()).exp()
    return -(ratios * value.tanh().detach()).mean() + value.square().mean()


def gate(m: Any, b: Any) -> torch.Tensor:
    scores, value = m(b[0])
    each = F.cross_entropy(scores, b[1], reduction="none")
    return (each * value.sigmoid()).mean() - value.sigmoid().log().mean()


def uncertainty(m: Any, b: Any) -> torch.Tensor:
    scores, log_variance = m(b[0])
    return ((scores[:, 0] - b[2]).square() / log_variance.exp() + log_variance).mean()


def rewarded(m: Any, b: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities [N] of drawn actions, and their advantages [N]."""
    chosen = torch.distributions.Categorical(logits=m(b[0])[0])
    actions = chosen.sample()
    reward = (actions == b[1]).float()
    return chosen.log_prob(actions), reward - reward.mean()


def by_column(m: Any, b: Any) -> torch.Tensor:
    likely, advantage = rewarded(m, b)
    return -(likely * advantage.unsqueeze(1)).mean()


def by_index(m: Any, b: Any) -> torch.Tensor:
    likely, advantage = rewarded(m, b)
    return -(advantage[:, None] * likely).sum() / len(likely)


def by_view(m: Any, b: Any) -> torch.Tensor:
    likely, advantage = rewarded(m, b)
    ratios = (likely - likely.detach()).exp()
    return -(ratios * advantage.view(-1, 1)).mean(0).mean()


def beside_a_term(m: Any, b: Any) -> torch.Tensor:
    likely, advantage = rewarded(m, b)
    entropy = torch.distributions.Categorical(logits=m(b[0])[0]).entropy().mean()
    return -2 * (likely * advantage.reshape(-1, 1)).mean() - 0.01 * entropy


SICK: dict[str, Step] = {
    "advantages by a column": by_column, "advantages by an index": by_index,
    "ratios by a view": by_view, "beside a term": beside_a_term,
    "advantage of a critic": critic, "ratio times a value": ratio,
    "losses times a gate": gate, "losses over a variance": uncertainty,
}  # fmt: skip
HEALTHY: dict[str, Step] = {
    "cured critic": cured,
    "gate of the same shape": lambda m, b: (
        F.cross_entropy(m(b[0])[0], b[1], reduction="none") * m(b[0])[1].sigmoid()[:, 0]
    ).mean(),
    "each value with each other": lambda m, b: F.softplus(
        m(b[0])[1][:, 0][:, None] - m(b[0])[1][:, 0]
    ).mean(),
    "each with each by view": lambda m, b: F.softplus(
        m(b[0])[1].view(-1, 1) - m(b[0])[1].view(1, -1)
    ).mean(),
    "a column beside a row made by view": lambda m, b: F.softplus(
        m(b[0])[0][:, 0].view(-1, 1) - m(b[0])[0][:, 0]
    ).mean(),
    "less the mean of the batch": lambda m, b: (m(b[0])[1] - m(b[0])[1].mean(0)).square().mean(),
    "distances of embeddings": lambda m, b: (
        m(b[0])[0][:, None] - m(b[0])[0][None]
    ).square().sum(-1).mean(),
    "scores scaled by a gate": lambda m, b: F.cross_entropy(
        m(b[0])[0] * m(b[0])[1].sigmoid(), b[1]
    ),
    "products of pairs in a square": lambda m, b: (
        m(b[0])[1][:, 0][:, None] * m(b[0])[1][:, 0].detach()
    ).sub(1).square().mean(),
    "a weight for each row": lambda m, b: (
        m(b[0])[0] * b[2].unsqueeze(1)
    ).mean(),
    "advantages of the same shape": lambda m, b: -torch.mul(*rewarded(m, b)).mean(),
    "advantages in columns": lambda m, b: -(
        rewarded(m, b)[0].unsqueeze(1) * b[2].unsqueeze(1)
    ).mean(),
    "squared norms in a Gram matrix": lambda m, b: (
        m(b[0])[0].square().sum(1, keepdim=True) + m(b[0])[0].square().sum(1)
        - 2 * m(b[0])[0] @ m(b[0])[0].T
    ).mean(),
}  # fmt: skip


@pytest.mark.parametrize("name", SICK)
def test_outputs_of_other_samples_that_are_met_are_named(name: str) -> None:
    found = result_of("broadcast", Two(), (X, y, RETURNS), step_fn=SICK[name], batch_size=50)
    assert found.status == "fail", found.seen
    assert "(50, 50)" in found.seen
    assert ".py: " in found.seen


def parts(m: Any, b: Any) -> tuple[torch.Tensor, torch.Tensor]:
    hidden = m.body(b[0])
    return m.scores(hidden), m.value(hidden)


@pytest.mark.parametrize("name", ["advantage of a critic", "losses times a gate", "cured critic"])
def test_parts_that_a_step_calls_one_by_one_are_judged(name: str) -> None:
    def step(m: Any, b: Any) -> torch.Tensor:
        return (SICK | HEALTHY)[name](lambda _: parts(m, b), b)

    found = result_of("broadcast", Two(), (X, y, RETURNS), step_fn=step, batch_size=50)
    assert found.status == ("fail" if name in SICK else "pass"), found.seen


@pytest.mark.parametrize("name", HEALTHY)
def test_pairs_on_purpose_pass(name: str) -> None:
    found = result_of("broadcast", Two(), (X, y, RETURNS), step_fn=HEALTHY[name], batch_size=50)
    assert found.status == "pass", found.seen


def test_a_watched_loop_does_not_hide_it() -> None:
    for step, status in ((critic, "fail"), (cured, "pass")):
        found = watched(("broadcast",), Two(), (X, y, RETURNS), step)["broadcast"]
        assert found.status == status, found.seen
