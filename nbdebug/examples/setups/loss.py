"""Faults of the loss and of what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from nbdebug.examples.data import CLASSES
from nbdebug.examples.setups.base import SickSetup, X, binary, mlp, regression, y


def huge_weights() -> nn.Module:
    model = mlp()
    for parameter in model.parameters():
        parameter.data.mul_(10)
    return model


def slope_residual(model: nn.Module, batch: Any) -> torch.Tensor:
    x = batch[0].clone().requires_grad_()
    outputs = model(x)
    (slope,) = torch.autograd.grad(outputs.sum(), x, retain_graph=True)
    return nn.functional.mse_loss(outputs + slope[:, :1], batch[1])


def cut(mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    sample: torch.Tensor = torch.distributions.Normal(mean, std).sample()
    return sample


class Coder(nn.Module):
    """An encoder of mean and deviation, a drawing, and a network that reads it."""

    def __init__(self, draw: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = cut) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.decoder = nn.Linear(X.shape[1], 6), nn.Linear(3, 1)
        self.draw = draw

    def code(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, logs = self.encoder(x).chunk(2, 1)
        return mean, torch.exp(0.5 * logs)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mean, std = self.code(x)
        return self.decoder(self.draw(mean, std)), mean, std


def coded(model: nn.Module, batch: Any) -> torch.Tensor:
    outputs, mean, std = model(batch[0])
    divergence = 0.5 * (mean**2 + std**2 - 2 * std.log() - 1).sum(1).mean()
    loss: torch.Tensor = nn.functional.mse_loss(outputs, batch[1]) + 0.1 * divergence
    return loss


def lifted() -> nn.Module:
    """A network whose output is above 0 for a start."""
    model = mlp(out=1)
    last = model[-1]
    assert isinstance(last, nn.Linear)
    nn.init.constant_(last.bias, 3.0)
    return model


def raw_rate(rate: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Likelihood of counts by a rate that is an output as it is."""
    return (rate - counts * rate.log()).mean()


def actor_and_critic(model: nn.Module, batch: Any) -> torch.Tensor:
    """Policy and value, whose error weighs the policy with its graph."""
    inputs, actions, returns = batch
    outputs = model(inputs)
    likely = outputs[:, 1:].log_softmax(1).gather(1, actions[:, None])
    advantage = returns - outputs[:, :1]
    loss: torch.Tensor = -(likely * advantage).mean() + 0.5 * advantage.square().mean()
    return loss


def sure_policy(model: nn.Module, batch: Any) -> torch.Tensor:
    """A policy gradient that is paid for a small entropy."""
    inputs, actions, gains = batch
    policy = torch.distributions.Categorical(logits=model(inputs))
    loss: torch.Tensor = -(policy.log_prob(actions) * gains[:, 0]).mean()
    loss = loss + 0.1 * policy.entropy().mean()
    return loss


def ratio_to_itself(model: nn.Module, batch: Any) -> torch.Tensor:
    """The clipped loss of a policy that is divided by itself."""
    inputs, actions, gains = batch
    new, old = (model(inputs).log_softmax(1).gather(1, actions[:, None]) for _ in range(2))
    ratio = torch.exp(new - old)
    loss: torch.Tensor = -torch.min(ratio * gains, ratio.clamp(0.8, 1.2) * gains).mean()
    return loss


def unheld_variance(model: nn.Module, batch: Any) -> torch.Tensor:
    """A likelihood without the logarithm of the variance that the model predicts."""
    inputs, targets = batch
    mean, log_variance = model(inputs).unbind(1)
    loss: torch.Tensor = (torch.exp(-log_variance) * (targets[:, 0] - mean) ** 2).mean()
    return loss


def index_bootstrap(model: nn.Module, batch: Any) -> torch.Tensor:
    now, then, actions, rewards = batch
    with torch.no_grad():
        wanted = rewards + 0.9 * model(then).max(1).indices
    return nn.functional.mse_loss(model(now).gather(1, actions[:, None])[:, 0], wanted)


def partly_labelled() -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and classes, of which a third is not known: -100, as the loss leaves out."""
    return X, torch.where(torch.arange(len(y)) % 3 == 0, -100, y)


def share_of_all(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs.argmax(1) == targets).float().mean()


LOSS: Mapping[str, SickSetup] = {
    "a metric of unlabelled samples": SickSetup(
        "ignored_targets", mlp, partly_labelled, settings={"metrics": {"right": share_of_all}}
    ),
    "softmax before cross-entropy": SickSetup("output_activation", lambda: mlp(nn.Softmax(1))),
    "softmax before a summed cross-entropy": SickSetup(
        "output_activation", lambda: mlp(nn.Softmax(1)), loss=nn.CrossEntropyLoss(reduction="sum")
    ),
    "softmax over one unit": SickSetup(
        "output_activation", lambda: mlp(nn.Softmax(1), out=1), binary, nn.BCELoss()
    ),
    "sigmoid before the loss with logits": SickSetup(
        "output_activation", lambda: mlp(nn.Sigmoid(), out=1), binary, nn.BCEWithLogitsLoss()
    ),
    "tanh against wide targets": SickSetup(
        "output_activation", lambda: mlp(nn.Tanh(), out=1), lambda: regression(3.0), nn.MSELoss()
    ),
    "sigmoid against signed targets": SickSetup(
        "output_activation", lambda: mlp(nn.Sigmoid(), out=1), regression, nn.MSELoss()
    ),
    "relu against signed targets": SickSetup(
        "output_activation", lambda: mlp(nn.ReLU(), out=1), regression, nn.MSELoss()
    ),
    "(N, 1) against (N,)": SickSetup(
        "broadcast",
        lambda: mlp(out=1),
        lambda: (X, regression()[1][:, 0]),
        lambda out, target: ((out - target) ** 2).mean(),
    ),
    "targets of 0 and 1 for a loss of signs": SickSetup(
        "loss_inputs", lambda: mlp(out=1), binary, nn.SoftMarginLoss()
    ),
    "masks divided by 255 twice": SickSetup(
        "labels",
        lambda: mlp(out=1),
        lambda: (X, binary()[1] / 255),
        nn.BCEWithLogitsLoss(),
    ),
    "labels that are smoothed away": SickSetup(
        "labels", mlp, loss=nn.CrossEntropyLoss(label_smoothing=0.9)
    ),
    "a norm of one feature": SickSetup(
        "unit_axis", lambda: mlp(nn.LayerNorm(1), out=1), binary, nn.BCEWithLogitsLoss()
    ),
    "a tanh scaled down before cross-entropy": SickSetup(
        "logit_range",
        mlp,
        loss=lambda out, target: nn.functional.cross_entropy(0.1 * out.tanh(), target),
    ),
    "a derivative without its graph": SickSetup(
        "detached_gradients",
        lambda: mlp(out=1, act=nn.Tanh),
        regression,
        settings={"step_fn": slope_residual},
    ),
    "a sample that trains no encoder": SickSetup(
        "detached_samples", Coder, regression, settings={"step_fn": coded}
    ),
    "a variance that nothing holds": SickSetup(
        "unheld_outputs", lambda: mlp(out=2), regression, settings={"step_fn": unheld_variance}
    ),
    "indices in place of values": SickSetup(
        "index_arithmetic",
        mlp,
        lambda: (X, X.roll(1, 0), y, regression()[1][:, 0]),
        settings={"step_fn": index_bootstrap},
    ),
    "a rate that may be negative": SickSetup(
        "raw_logarithm", lifted, lambda: (X, binary()[1]), raw_rate
    ),
    "a value that the policy trains": SickSetup(
        "attached_advantage",
        lambda: mlp(out=CLASSES + 1),
        lambda: (X, y, regression()[1]),
        settings={"step_fn": actor_and_critic},
    ),
    "an entropy that is added": SickSetup(
        "entropy_sign",
        mlp,
        lambda: (X, y, regression()[1]),
        settings={"step_fn": sure_policy},
    ),
    "sum over the batch": SickSetup(
        "reduction", mlp, loss=nn.CrossEntropyLoss(reduction="sum")
    ),
    "weight decay of 10": SickSetup(
        "regularisation", mlp, settings={"optimizer": "sgd", "lr": 1e-3, "weight_decay": 10.0}
    ),
    "numbers far from 0": SickSetup(
        "prior_bias", lambda: mlp(out=1), lambda: regression(1.0, 9.0), nn.MSELoss()
    ),
    "huge initial weights": SickSetup("initial_loss", huge_weights),
    "a policy that is compared with itself": SickSetup(
        "cancelled_ratio",
        mlp,
        lambda: (X, y, regression()[1]),
        settings={"step_fn": ratio_to_itself},
    ),
}  # fmt: skip
