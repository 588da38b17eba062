"""Layers, heads and losses of their own over plain networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tools.architectures.base import CE, MSE, Architecture, digits, flat_digits, generator, points


def mlp(inputs: int, out: int, act: type[nn.Module] = nn.ReLU, width: int = 32) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), act(), nn.Linear(width, width), act(), nn.Linear(width, out)
    )


class Highway(nn.Module):
    """Gates that begin mostly closed (Srivastava et al. 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 32), nn.Linear(32, 10)
        self.bodies = nn.ModuleList(nn.Linear(32, 32) for _ in range(4))
        self.gates = nn.ModuleList(nn.Linear(32, 32) for _ in range(4))
        for gate in self.gates:
            nn.init.constant_(gate.bias, -2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for body, gate in zip(self.bodies, self.gates, strict=True):
            opened = gate(x).sigmoid()
            x = opened * body(x).relu() + (1 - opened) * x
        return self.last(x)


def self_normalising() -> nn.Module:
    layers: list[nn.Module] = []
    for inputs in (64, 32, 32, 32):
        layers += [nn.Linear(inputs, 32), nn.SELU(), nn.AlphaDropout(0.05)]
    model = nn.Sequential(*layers, nn.Linear(32, 10))
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            nn.init.zeros_(module.bias)
    return model


class Maxout(nn.Module):
    def __init__(self, inputs: int, out: int) -> None:
        super().__init__()
        self.pieces = nn.Linear(inputs, 3 * out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pieces(x).view(len(x), -1, 3).amax(2)


class Radial(nn.Module):
    """Gaussian bumps around learnt centres."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(40, 8))
        self.width = nn.Parameter(torch.zeros(40))
        self.head = nn.Linear(40, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        apart = torch.cdist(x, self.centres) ** 2 / 8
        return self.head(torch.exp(-apart * self.width.exp()))


class Sines(nn.Module):
    """SIREN's first layers (Sitzmann et al. 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(8, 32), nn.Linear(32, 32), nn.Linear(32, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.sin(self.second(torch.sin(self.first(x)))))


def frozen_norm() -> nn.Module:
    """A body whose weights and BatchNorm stay, and a new head."""
    body = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    )
    with torch.no_grad():
        for _ in range(30):
            body(digits()[0][:200])
    body.requires_grad_(False).eval()
    model = nn.Sequential(body, nn.Linear(128, 10))
    body.train = lambda mode=True: body  # type: ignore[method-assign]
    return model


class MeanAndVariance(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 32), nn.ReLU())
        self.mean, self.variance = nn.Linear(32, 1), nn.Linear(32, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.body(x)
        return self.mean(x), functional.softplus(self.variance(x)) + 1e-4


def gaussian(outputs: tuple[torch.Tensor, torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
    return functional.gaussian_nll_loss(outputs[0], targets, outputs[1])


def quantiles(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Pinball loss of three quantiles [N, 3]."""
    levels = torch.tensor([0.1, 0.5, 0.9])
    missed = targets - outputs
    return torch.maximum(levels * missed, (levels - 1) * missed).mean()


class Mixture(nn.Module):
    """Logits, means and log-widths of three Gaussians."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(8, 9)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.body(x).chunk(3, 1)


def mixture(outputs: tuple[torch.Tensor, ...], targets: torch.Tensor) -> torch.Tensor:
    weight, mean, width = outputs
    each = torch.distributions.Normal(mean, width.exp()).log_prob(targets)
    return -(weight.log_softmax(1) + each).logsumexp(1).mean()


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 32), nn.ReLU())
        self.digit, self.ink = nn.Linear(32, 10), nn.Linear(32, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.body(x)
        return {"digit": self.digit(x), "ink": self.ink(x)[:, 0]}


def two_tasks() -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = flat_digits()
    ink = images.mean(1)
    return images, torch.stack([labels.float(), (ink - ink.mean()) / ink.std()], 1)


def both(outputs: dict[str, torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
    digit = functional.cross_entropy(outputs["digit"], targets[:, 0].long())
    return digit + functional.mse_loss(outputs["ink"], targets[:, 1])


def several_labels() -> tuple[torch.Tensor, torch.Tensor]:
    inputs, targets = points(5)
    return inputs, (targets > 0).float()


def ordinal() -> tuple[torch.Tensor, torch.Tensor]:
    """Four ordered grades as three answers: is it above this one?"""
    inputs, targets = points()
    limits = torch.tensor([-0.7, 0.0, 0.7])
    return inputs, (targets > limits).float()


def focal(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    each = functional.cross_entropy(outputs, targets, reduction="none")
    return ((1 - (-each).exp()) ** 2 * each).mean()


class Student(nn.Module):
    """A student beside a frozen teacher that stands in no module, on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(64, 10)
        self.teacher = [mlp(64, 10, width=48).requires_grad_(False).eval()]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            taught = self.teacher[0](x)
        return self.body(x), taught


def distilled(outputs: tuple[torch.Tensor, torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
    own, taught = (out / 2 for out in outputs)
    soft = functional.kl_div(own.log_softmax(1), taught.softmax(1), reduction="batchmean") * 4
    return 0.5 * soft + 0.5 * functional.cross_entropy(outputs[0], targets)


def mixup_step(model: nn.Module, batch: Any) -> torch.Tensor:
    inputs, targets = batch
    share, order = float(torch.rand(())), torch.randperm(len(inputs))
    out = model(share * inputs + (1 - share) * inputs[order])
    return share * functional.cross_entropy(out, targets) + (1 - share) * functional.cross_entropy(
        out, targets[order]
    )


def counts() -> tuple[torch.Tensor, torch.Tensor]:
    inputs, targets = points()
    return inputs, torch.poisson((targets * 0.5).exp(), generator=generator(13))


def heat_step(model: nn.Module, batch: Any) -> torch.Tensor:
    """u'' = -u with u(0) = 0 and u'(0) = 1, by the network's own derivatives."""
    time = batch[0].clone().requires_grad_(True)
    value = model(time)
    slope = torch.autograd.grad(value.sum(), time, create_graph=True)[0]
    bend = torch.autograd.grad(slope.sum(), time, create_graph=True)[0]
    zero = torch.zeros(1, 1, requires_grad=True)
    start = model(zero)
    begin = torch.autograd.grad(start.sum(), zero, create_graph=True)[0]
    return ((bend + value) ** 2).mean() + (start**2).sum() + ((begin - 1) ** 2).sum()


def times() -> tuple[torch.Tensor, torch.Tensor]:
    place = torch.linspace(0, 3, 200)[:, None]
    return place, torch.zeros(len(place))


class Values(nn.Module):
    """Values of actions, and the network's own copy from before as a target."""

    def __init__(self) -> None:
        super().__init__()
        self.online, self.target = mlp(4, 3), mlp(4, 3)
        self.target.load_state_dict(self.online.state_dict())
        self.target.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.online(x)


def moves() -> tuple[torch.Tensor, ...]:
    """States, actions, rewards, next states."""
    draw = generator(14)
    state = torch.randn(300, 4, generator=draw)
    action = torch.randint(0, 3, (300,), generator=draw)
    return state, action, state[:, 0] * (action - 1.0), state + 0.1 * action[:, None]


def q_step(model: Values, batch: Any) -> torch.Tensor:
    state, action, reward, after = batch
    with torch.no_grad():
        wanted = reward + 0.9 * model.target(after).max(1).values
    said = model(state).gather(1, action[:, None])[:, 0]
    return functional.smooth_l1_loss(said, wanted)


def policy_step(model: nn.Module, batch: Any) -> torch.Tensor:
    """Policy gradient with a bonus for entropy."""
    state, action, reward, _ = batch
    chosen = torch.distributions.Categorical(logits=model(state))
    gain = (reward - reward.mean()) / (reward.std() + 1e-6)
    return -(chosen.log_prob(action) * gain).mean() - 0.01 * chosen.entropy().mean()


HEADS: Mapping[str, Architecture] = {
    "MLP": Architecture(lambda: mlp(64, 10), flat_digits),
    "highway": Architecture(Highway, flat_digits),
    "self-normalising": Architecture(self_normalising, flat_digits),
    "maxout": Architecture(
        lambda: nn.Sequential(Maxout(64, 24), Maxout(24, 24), nn.Linear(24, 10)), flat_digits
    ),
    "radial": Architecture(Radial, points, MSE, {"lr": 1e-2}),
    "sines": Architecture(Sines, points, MSE),
    "frozen BatchNorm": Architecture(frozen_norm, digits),
    "mean and variance": Architecture(MeanAndVariance, points, gaussian),
    "quantiles": Architecture(lambda: mlp(8, 3), points, quantiles),
    "mixture of Gaussians": Architecture(Mixture, points, mixture),
    "two tasks": Architecture(TwoHeads, two_tasks, both),
    "several labels": Architecture(lambda: mlp(8, 5), several_labels, nn.BCEWithLogitsLoss()),
    "ordinal": Architecture(lambda: mlp(8, 3), ordinal, nn.BCEWithLogitsLoss()),
    "focal loss": Architecture(lambda: mlp(64, 10), flat_digits, focal),
    "label smoothing": Architecture(
        lambda: mlp(64, 10), flat_digits, nn.CrossEntropyLoss(label_smoothing=0.1)
    ),
    "margins": Architecture(lambda: mlp(64, 10), flat_digits, nn.MultiMarginLoss()),
    "distillation": Architecture(Student, flat_digits, distilled),
    "mixup": Architecture(lambda: mlp(64, 10), flat_digits, None, {"step_fn": mixup_step}),
    "Poisson": Architecture(lambda: mlp(8, 1), counts, nn.PoissonNLLLoss()),
    "Huber": Architecture(lambda: mlp(8, 1), points, nn.HuberLoss()),
    "PINN": Architecture(lambda: mlp(1, 1, nn.Tanh), times, None, {"step_fn": heat_step}),
    "Q-learning": Architecture(Values, moves, None, {"step_fn": q_step}),
    "policy gradient": Architecture(lambda: mlp(4, 3), moves, None, {"step_fn": policy_step}),
    "log-probabilities": Architecture(
        lambda: nn.Sequential(mlp(64, 10), nn.LogSoftmax(1)), flat_digits, nn.NLLLoss()
    ),
    "class weights": Architecture(
        lambda: mlp(64, 10), flat_digits, nn.CrossEntropyLoss(torch.linspace(0.5, 1.5, 10))
    ),
    "plain": Architecture(lambda: nn.Linear(64, 10), flat_digits, CE, {"optimizer": "sgd"}),
}
