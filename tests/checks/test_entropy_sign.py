"""The entropy of a policy in its loss: as a bonus, and with the wrong sign."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Categorical, Independent, Normal
from torch.nn import functional as F  # noqa: N812

from nbdebug.examples.setups.base import X, mlp, y
from tests.checks.result_of import result_of
from tests.checks.watched import watched

DRAW = torch.Generator().manual_seed(0)
GAINS = torch.randn(len(X), generator=DRAW)
MOVES = torch.randn(len(X), 2, generator=DRAW)
Parts = tuple[torch.Tensor, torch.Tensor]


def of_categorical(scores: torch.Tensor, chosen: torch.Tensor, gains: torch.Tensor) -> Parts:
    policy = Categorical(logits=scores)
    return -(policy.log_prob(chosen) * gains).mean(), policy.entropy().mean()


def of_probabilities(scores: torch.Tensor, chosen: torch.Tensor, gains: torch.Tensor) -> Parts:
    policy = Categorical(probs=scores.softmax(1))
    return -(policy.log_prob(chosen) * gains).mean(), policy.entropy().mean()


def by_hand(scores: torch.Tensor, chosen: torch.Tensor, gains: torch.Tensor) -> Parts:
    logs = scores.log_softmax(1)
    likely = logs.exp()
    picked = logs.gather(1, chosen[:, None])[:, 0]
    return (-picked * gains).mean(), -(likely * logs).sum(1).mean()


def with_floor(scores: torch.Tensor, chosen: torch.Tensor, gains: torch.Tensor) -> Parts:
    likely = F.softmax(scores, dim=1)
    picked = torch.log(likely.gather(1, chosen[:, None])[:, 0] + 1e-8)
    entropy = (likely * torch.log(likely + 1e-8)).sum(1).neg().mean()
    return F.cross_entropy(scores, chosen, reduction="none").mul(gains).mean() + 0 * picked.sum(), (
        entropy
    )


def clipped(scores: torch.Tensor, chosen: torch.Tensor, gains: torch.Tensor) -> Parts:
    policy = Categorical(logits=scores)
    ratio = (policy.log_prob(chosen) + 1.3).exp()
    worst = torch.min(ratio * gains, ratio.clamp(0.8, 1.2) * gains)
    return -worst.mean(), policy.entropy().mean()


def of_two(scores: torch.Tensor, chosen: torch.Tensor, gains: torch.Tensor) -> Parts:
    policy = Bernoulli(logits=scores[:, 0])
    return -(policy.log_prob((chosen > 1).float()) * gains).mean(), policy.entropy().mean()


def of_moves(scores: torch.Tensor, chosen: torch.Tensor, gains: torch.Tensor) -> Parts:
    policy = Independent(Normal(scores[:, :2], F.softplus(scores[:, 2:])), 1)
    return -(policy.log_prob(MOVES[: len(scores)]) * gains).mean(), policy.entropy().mean()


def of_entr(scores: torch.Tensor, chosen: torch.Tensor, gains: torch.Tensor) -> Parts:
    picked = scores.log_softmax(1)[torch.arange(len(scores)), chosen]
    return -(picked * gains).mean(), torch.special.entr(scores.softmax(1)).sum(1).mean()


POLICIES: dict[str, Callable[..., Parts]] = {
    "categorical": of_categorical, "probabilities": of_probabilities, "by hand": by_hand,
    "cross-entropy, a floor": with_floor, "clipped ratio": clipped, "two actions": of_two,
    "moves": of_moves, "entr": of_entr,
}  # fmt: skip
Sum = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
WRONG: dict[str, Sum] = {
    "added": lambda loss, entropy: loss + 0.1 * entropy,
    "a negative weight": lambda loss, entropy: loss - (-0.1) * entropy,
    "the sum turned": lambda loss, entropy: -(-loss - 0.1 * entropy) / 2,
}
RIGHT: dict[str, Sum] = {
    "subtracted": lambda loss, entropy: loss - 0.1 * entropy,
    "a negative weight": lambda loss, entropy: loss + entropy * -0.1,
    "a bonus in the gain": lambda loss, entropy: -(-loss + 0.1 * entropy),
    "a list": lambda loss, entropy: torch.stack([loss, -0.1 * entropy]).sum(),
}


def row(parts: Callable[..., Parts], total: Sum, gains: torch.Tensor = GAINS) -> str:
    def step(model: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return total(*parts(model(batch[0]), batch[1], batch[2]))

    found = result_of(
        "entropy_sign", mlp(), [(X[:40], y[:40], gains[:40])], step_fn=step
    )  # fmt: skip
    assert found.status in ("not_applicable", "pass") or "entropy of the policy" in found.seen
    return found.status


@pytest.mark.parametrize("parts", POLICIES)
@pytest.mark.parametrize("total", WRONG)
def test_an_entropy_that_is_added_fails(parts: str, total: str) -> None:
    assert row(POLICIES[parts], WRONG[total]) == "fail"


@pytest.mark.parametrize("parts", POLICIES)
@pytest.mark.parametrize("total", RIGHT)
def test_a_bonus_passes(parts: str, total: str) -> None:
    assert row(POLICIES[parts], RIGHT[total]) == "pass"


@pytest.mark.parametrize("parts", POLICIES)
def test_a_policy_without_entropy_is_not_judged(parts: str) -> None:
    assert row(POLICIES[parts], lambda loss, entropy: loss) == "not_applicable"


def entropy_of(scores: torch.Tensor) -> torch.Tensor:
    return Categorical(logits=scores).entropy().mean()


def unlabelled(model: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Samples without labels are to be told surely."""
    return F.cross_entropy(model(batch[0]), batch[1]) + 0.1 * entropy_of(model(batch[0] + 1))


def adapted(model: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return entropy_of(model(batch[0]))


def masked(model: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Cross-entropy of some samples, and surety for all."""
    scores = model(batch[0])
    each = F.cross_entropy(scores, batch[1], reduction="none") * (batch[1] > 1)
    return each.mean() + 0.1 * entropy_of(scores)


def discrete_actor(model: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The actor of a soft actor-critic."""
    logs = model(batch[0]).log_softmax(1)
    values = torch.randn(len(logs), logs.shape[1])
    return (logs.exp() * (0.2 * logs - values)).sum(1).mean()


def cloned_too(model: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """A policy gradient of moves, and the likelihood of those of an expert."""
    scores = model(batch[0])
    policy = Independent(Normal(scores[:, :2], F.softplus(scores[:, 2:])), 1)
    gain = (policy.log_prob(batch[0][:, :2]) * batch[2]).mean()
    return -gain - policy.log_prob(batch[0][:, 2:4]).mean() - 0.01 * policy.entropy().mean()


@pytest.mark.parametrize("step", [unlabelled, adapted, masked, discrete_actor, cloned_too])
def test_a_small_entropy_may_be_meant(step: Callable[..., torch.Tensor]) -> None:
    found = result_of("entropy_sign", mlp(), [(X[:40], y[:40], GAINS[:40])], step_fn=step)
    assert found.status in ("pass", "not_applicable"), found.seen


def test_it_is_told_of_a_loop_of_ones_own() -> None:
    def loss(model: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        policy, entropy = of_categorical(model(batch[0]), batch[1], batch[2])
        return policy + 0.1 * entropy

    found = watched(("entropy_sign",), mlp(), (X, y, GAINS), loss)
    assert found["entropy_sign"].status == "fail"
