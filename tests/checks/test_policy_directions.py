"""Losses that lower the score of a class for a while, and the sign of the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributions import Categorical
from torch.nn import functional

from tests.checks.result_of import result_of

Step = Callable[[nn.Module, Any], torch.Tensor]


def problem(classes: int, gain: float) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A model that knows its classes, as surely as `gain` is large, with the data."""
    torch.manual_seed(0)
    x = functional.one_hot(torch.randint(classes, (256,)), classes) + 0.1 * torch.randn(
        256, classes
    )
    model = nn.Linear(classes, classes)
    with torch.no_grad():
        model.weight.copy_(gain * torch.eye(classes))
        model.bias.zero_()
    return model, x, x.argmax(1)


def rewarded(model: nn.Module, batch: Any) -> torch.Tensor:
    """A policy gradient with a bonus: where all actions are right, the bonus alone is left."""
    policy = Categorical(logits=model(batch[0]))
    action = policy.sample()
    reward = (action == batch[1]).float()
    gain = policy.log_prob(action) * (reward - reward.mean())
    return -gain.mean() - 0.01 * policy.entropy().mean()


def bonus(model: nn.Module, batch: Any) -> torch.Tensor:
    """The bonus alone, of a pass over what is known already."""
    return -Categorical(logits=model(batch[0])).entropy().mean()


def confident(model: nn.Module, batch: Any) -> torch.Tensor:
    """Cross-entropy of those that are not known yet, and a penalty on what is too sure."""
    scores = model(batch[0])
    sure = scores.log_softmax(1).gather(1, batch[1][:, None])[:, 0]
    spread = (scores.softmax(1) * scores.log_softmax(1)).sum(1)
    return -(sure * (sure < -1.0)).mean() + 0.1 * spread.mean()


def uniform(model: nn.Module, batch: Any) -> torch.Tensor:
    """Divergence from equal shares, as for samples of no class."""
    return -model(batch[0]).log_softmax(1).mean()


def punished(model: nn.Module, batch: Any) -> torch.Tensor:
    """Rewards of -1 and 0 without a baseline: early, all actions of a batch may be wrong."""
    policy = Categorical(logits=model(batch[0]))
    action = policy.sample()
    reward = (action == batch[1] + 100).float() - 1.0
    return -(policy.log_prob(action) * reward).mean()


HEALTHY: dict[str, tuple[Step, int, float]] = {
    "a bonus is left": (rewarded, 10, 20.0), "a bonus": (bonus, 10, 6.0),
    "a bonus of two": (bonus, 2, 4.0), "a penalty": (confident, 10, 6.0),
    "equal shares": (uniform, 10, 3.0), "equal shares of two": (uniform, 2, 3.0),
    "all are wrong": (punished, 10, 0.1), "all are wrong, sure ones": (punished, 10, 3.0),
}  # fmt: skip


@pytest.mark.parametrize("kind", HEALTHY)
def test_a_score_that_is_lowered_for_its_own_sake_is_no_wrong_sign(kind: str) -> None:
    step, classes, gain = HEALTHY[kind]
    model, x, label = problem(classes, gain)
    found = result_of("loss_direction", model, (x, label), step_fn=step, batch_size=32)
    assert found.status in ("pass", "not_applicable"), found.seen


def likelihood(model: nn.Module, batch: Any) -> torch.Tensor:
    return model(batch[0]).log_softmax(1).gather(1, batch[1][:, None]).mean()


def with_bonus(model: nn.Module, batch: Any) -> torch.Tensor:
    return 20 * likelihood(model, batch) + 0.01 * bonus(model, batch)


def crossed(model: nn.Module, batch: Any) -> torch.Tensor:
    return -functional.cross_entropy(model(batch[0]), batch[1])


def of_others(model: nn.Module, batch: Any) -> torch.Tensor:
    """Labels that the step makes from those of the batch."""
    scores = model(batch[0])
    return -functional.cross_entropy(scores, (batch[1] + 1) % scores.shape[1])


@pytest.mark.parametrize("step", [likelihood, with_bonus, crossed, of_others])
@pytest.mark.parametrize("gain", [0.1, 2.0])
@pytest.mark.parametrize("classes", [2, 10])
def test_a_wrong_sign_is_named_of_new_models_and_of_trained_ones(
    step: Step, gain: float, classes: int
) -> None:
    if classes == 2 and step is of_others:
        pytest.skip("the other one of two classes is the sign turned round")
    model, x, label = problem(classes, gain)
    found = result_of("loss_direction", model, (x, label), step_fn=step, batch_size=32)
    assert found.status == "fail"
    assert "the score of the target class" in found.seen
