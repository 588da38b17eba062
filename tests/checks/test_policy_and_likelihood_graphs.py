"""Advantages with a gradient, and logarithms of raw outputs, in losses that are made by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Categorical, Normal
from torch.nn import functional as F  # noqa: N812

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.checks.result_of import result_of

DRAW = torch.Generator().manual_seed(0)
N, ACTIONS = 32, 3
X = torch.randn(N, 6, generator=DRAW)
NEXT = torch.randn(N, 6, generator=DRAW)
CHOSEN = torch.randint(ACTIONS, (N,), generator=DRAW)
MOVES = torch.randn(N, 2, generator=DRAW)
RETURNS = X.sum(1)
OLD = -torch.rand(N, generator=DRAW) - 0.5
Loss = Callable[["ActorCritic"], torch.Tensor]


class ActorCritic(nn.Module):
    """Scores of actions, or means of moves, and a value."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(6, 16), nn.Tanh())
        self.actor, self.mover = nn.Linear(16, ACTIONS), nn.Linear(16, 2)
        self.critic, self.all = nn.Linear(16, 1), nn.Linear(16, ACTIONS + 1)
        self.log_width = nn.Parameter(torch.zeros(2))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.trunk(x)
        return self.actor(hidden), self.critic(hidden).squeeze(-1)


def a2c(
    log_probability: torch.Tensor, advantage: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    return -(log_probability * weight).mean() + 0.5 * advantage.pow(2).mean()


def categorical(model: ActorCritic, detach: bool = False) -> torch.Tensor:
    scores, value = model(X)
    policy, advantage = Categorical(logits=scores), RETURNS - value
    weight = advantage.detach() if detach else advantage
    return a2c(policy.log_prob(CHOSEN), advantage, weight) - 0.01 * policy.entropy().mean()


def chosen_rows(model: ActorCritic, detach: bool = False) -> torch.Tensor:
    scores, value = model(X)
    advantage = RETURNS - value
    log_probability = scores.log_softmax(1)[torch.arange(N), CHOSEN]
    weight = advantage.detach() if detach else advantage
    return a2c(log_probability, advantage, weight)


def cross_entropy(model: ActorCritic, detach: bool = False) -> torch.Tensor:
    scores, value = model(X)
    weight = RETURNS - (value.detach() if detach else value)
    losses = F.cross_entropy(scores, CHOSEN, reduction="none") * weight
    return losses.mean() + F.smooth_l1_loss(value, RETURNS)


def normal(model: ActorCritic, detach: bool = False) -> torch.Tensor:
    hidden = model.trunk(X)
    policy = Normal(model.mover(hidden), model.log_width.exp())
    advantage = RETURNS - model.critic(hidden)[:, 0]
    weight = advantage.detach() if detach else advantage
    return a2c(policy.log_prob(MOVES).sum(1), advantage, weight)


def clipped_ratio(model: ActorCritic, detach: bool = False) -> torch.Tensor:
    scores, value = model(X)
    ratio = (Categorical(logits=scores).log_prob(CHOSEN) - OLD).exp()
    gain = RETURNS - value
    gain = (gain - gain.mean()) / (gain.std() + 1e-8)
    gain = gain.detach() if detach else gain
    policy = torch.min(ratio * gain, ratio.clamp(0.8, 1.2) * gain)
    return -policy.mean() + F.mse_loss(value, RETURNS)


def one_layer(model: ActorCritic, detach: bool = False) -> torch.Tensor:
    both = model.all(model.trunk(X))
    advantage = RETURNS - both[:, -1]
    log_probability = both[:, :-1].log_softmax(1).gather(1, CHOSEN[:, None])[:, 0]
    return a2c(log_probability, advantage, advantage.detach() if detach else advantage)


def temporal_difference(model: ActorCritic, detach: bool = False) -> torch.Tensor:
    (scores, value), (_, later) = model(X), model(NEXT)
    error = RETURNS + 0.9 * later.detach() - value
    log_probability = Categorical(logits=scores).log_prob(CHOSEN)
    return a2c(log_probability, error, error.detach() if detach else error)


def two_actions(model: ActorCritic, detach: bool = False) -> torch.Tensor:
    scores, value = model(X)
    advantage = RETURNS - value
    log_probability = Bernoulli(logits=scores[:, 0]).log_prob((CHOSEN > 0).float())
    return a2c(log_probability, advantage, advantage.detach() if detach else advantage)


def focal(model: ActorCritic) -> torch.Tensor:
    log_probability = model(X)[0].log_softmax(1).gather(1, CHOSEN[:, None])[:, 0]
    return -((1 - log_probability.exp()).pow(2) * log_probability).mean()


def focal_of_a_column(model: ActorCritic) -> torch.Tensor:
    scores, value = model(X)
    log_probability = F.log_softmax(scores, 1).gather(1, CHOSEN[:, None]).squeeze(1)
    weight = 0.25 * (1 - log_probability.exp()) ** 2
    return -(weight * log_probability).mean() + F.mse_loss(value, RETURNS)


def uncertain_classes(model: ActorCritic) -> torch.Tensor:
    """A loss that is weighed by an uncertainty, which is learnt."""
    scores, doubt = model(X)
    losses = F.cross_entropy(scores, CHOSEN, reduction="none")
    return (losses * (-doubt).exp() + doubt).mean()


def chosen_confidence(model: ActorCritic) -> torch.Tensor:
    scores, doubt = model(X)
    sure = doubt.sigmoid()
    losses = F.cross_entropy(scores, CHOSEN, reduction="none")
    return (losses * (1 - sure)).mean() - 0.1 * (1 - sure).log().mean()


def learnt_confidence(model: ActorCritic) -> torch.Tensor:
    scores, doubt = model(X)
    wrong = (scores.argmax(1) != CHOSEN).float()
    losses = F.cross_entropy(scores, CHOSEN, reduction="none")
    return (losses * (1 - doubt.sigmoid())).mean() + F.mse_loss(doubt.sigmoid(), wrong)


def discrete_soft_actor(model: ActorCritic) -> torch.Tensor:
    hidden = model.trunk(X)
    scores, values = model.actor(hidden), model.all(hidden)[:, :ACTIONS]
    likely = scores.softmax(1)
    return (likely * (0.1 * scores.log_softmax(1) - values)).sum(1).mean()


def reinforce(model: ActorCritic) -> torch.Tensor:
    return -(Categorical(logits=model(X)[0]).log_prob(CHOSEN) * RETURNS).mean()


def preference(model: ActorCritic) -> torch.Tensor:
    one, other = model(X)[0].log_softmax(1), model(NEXT)[0].log_softmax(1)
    return -F.logsigmoid(one[:, 0] - other[:, 0] - OLD).mean()


ACTORS = [
    categorical, chosen_rows, cross_entropy, normal, clipped_ratio, one_layer,
    temporal_difference, two_actions,
]  # fmt: skip
OTHERS = [
    focal, focal_of_a_column, uncertain_classes, chosen_confidence, learnt_confidence,
    discrete_soft_actor, reinforce, preference,
]  # fmt: skip


def network() -> ActorCritic:
    torch.manual_seed(0)
    return ActorCritic()


def in_steps(check: str, model: nn.Module, loss_of: Callable[[nn.Module], torch.Tensor]) -> str:
    """Status of a check after some blocks of a loop without data."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in range(3):
            with dbg.step():
                optimizer.zero_grad()
                loss_of(model).backward()
                optimizer.step()
        return dbg.check(check)[check].status


def in_a_step_fn(check: str, model: nn.Module, loss_of: Callable[..., torch.Tensor]) -> str:
    return result_of(check, model, [(X, X)], step_fn=lambda own, batch: loss_of(own)).status


LOOKS = pytest.mark.parametrize("look", [in_steps, in_a_step_fn])


@pytest.mark.parametrize("loss_of", ACTORS)
@LOOKS
def test_an_advantage_with_a_gradient_fails(look: Callable[..., str], loss_of: Loss) -> None:
    assert look("attached_advantage", network(), loss_of) == "fail"


@pytest.mark.parametrize("loss_of", ACTORS)
@LOOKS
def test_a_detached_advantage_passes(
    look: Callable[..., str], loss_of: Callable[..., torch.Tensor]
) -> None:
    found = look("attached_advantage", network(), lambda model: loss_of(model, detach=True))
    assert found in ("pass", "not_applicable")


@pytest.mark.parametrize("loss_of", OTHERS)
@LOOKS
def test_other_products_of_outputs_pass(look: Callable[..., str], loss_of: Loss) -> None:
    assert look("attached_advantage", network(), loss_of) in ("pass", "not_applicable")


class Widths(nn.Module):
    """A mean and a number that stands for the width of its error."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 16), nn.Tanh())
        self.both, self.rate = nn.Linear(16, 2), nn.Linear(16, 1)
        with torch.no_grad():
            self.both.bias[1] = self.rate.bias[0] = 4.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both: torch.Tensor = self.both(self.body(x))
        return both


def nll(mean: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    return 0.5 * (variance.log() + (RETURNS - mean).square() / variance).mean()


RAW: dict[str, Callable[[Widths], torch.Tensor]] = {
    "a raw variance": lambda m: nll(*m(X).unbind(1)),
    "with a small number": lambda m: nll(m(X)[:, 0], m(X)[:, 1] + 1e-6),
    "columns": lambda m: nll(*m(X).split(1, 1)),
    "a rate": lambda m: (m.rate(m.body(X)) - CHOSEN[:, None] * m.rate(m.body(X)).log()).mean(),
    "a root": lambda m: ((RETURNS - m(X)[:, 0]) / m(X)[:, 1].sqrt()).square().mean(),
    "a power of a half": lambda m: (m(X)[:, 1] ** 0.5 - RETURNS).square().mean(),
    "a precision": lambda m: ((RETURNS - m(X)[:, 0]) * m(X)[:, 1].rsqrt()).square().mean(),
    "a logarithm of 1 more": lambda m: (m(X)[:, 1].log1p() - RETURNS).square().mean(),
    "gaussian_nll_loss": lambda m: F.gaussian_nll_loss(m(X)[:, 0], RETURNS, m(X)[:, 1]),
    "two decimal logarithms": lambda m: (
        (m(X)[:, 1].log10() - RETURNS.abs().log10()).square().mean()
    ),
}
POSITIVE: dict[str, Callable[[Widths], torch.Tensor]] = {
    "softplus": lambda m: nll(m(X)[:, 0], F.softplus(m(X)[:, 1]) + 1e-6),
    "exp": lambda m: nll(m(X)[:, 0], m(X)[:, 1].exp()),
    "a clamp": lambda m: nll(m(X)[:, 0], m(X)[:, 1].clamp_min(1e-3)),
    "a square": lambda m: nll(m(X)[:, 0], m(X)[:, 1].square() + 1e-3),
    "a sigmoid": lambda m: -(m(X)[:, 0].sigmoid().log()).mean(),
    "elu and 1": lambda m: nll(m(X)[:, 0], F.elu(m(X)[:, 1]) + 1 + 1e-3),
    "a distance": lambda m: (m(X) - MOVES).square().sum(1).sqrt().mean(),
    "mixed probabilities": lambda m: -(
        m(X).softmax(1) @ torch.full((2, 2), 0.5, requires_grad=True)
    ).log().mean(),
    "the logarithm itself": lambda m: (
        m(X)[:, 1] + (RETURNS - m(X)[:, 0]).square() * (-m(X)[:, 1]).exp()
    ).mean(),
}  # fmt: skip


def widths() -> nn.Module:
    torch.manual_seed(0)
    return Widths()


@pytest.mark.parametrize("name", RAW)
@LOOKS
def test_a_logarithm_of_a_raw_output_is_named(look: Callable[..., str], name: str) -> None:
    assert look("raw_logarithm", widths(), RAW[name]) == "warning"


@pytest.mark.parametrize("name", POSITIVE)
@LOOKS
def test_a_logarithm_of_a_positive_number_passes(look: Callable[..., str], name: str) -> None:
    assert look("raw_logarithm", widths(), POSITIVE[name]) in ("pass", "not_applicable")


def test_to_look_at_the_graph_changes_nothing() -> None:
    plain, watched = network(), network()
    in_steps("attached_advantage", watched, categorical)
    optimizer = torch.optim.SGD(plain.parameters(), lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        categorical(plain).backward()
        optimizer.step()
    assert bitwise_equal(plain.state_dict(), watched.state_dict())
