"""Losses that treat shapes in their own way, on small networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from tests.programs.program import Made, collector, rows

LOSSES, program = collector()


def mlp(out: int = 1, features: int = 8, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(features, 32), act(), nn.Linear(32, 32), act(), nn.Linear(32, out)
    )


def linear_target(x: torch.Tensor) -> torch.Tensor:
    """Numbers [N]."""
    return x @ torch.linspace(-1, 1, x.shape[1]) + 0.1 * torch.randn(len(x))


def classes(x: torch.Tensor, count: int = 3) -> torch.Tensor:
    return x[:, :count].argmax(1)


@program
def squeezed_in_the_loss() -> Made:
    x = rows()
    return mlp(), (x, linear_target(x)), {"loss_fn": lambda o, t: F.mse_loss(o.squeeze(1), t)}


@program
def targets_given_an_axis_in_the_loss() -> Made:
    x = rows()
    return mlp(), (x, linear_target(x)), {"loss_fn": lambda o, t: F.huber_loss(o, t[:, None])}


@program
def flattened_in_the_loss() -> Made:
    x = rows()
    y = (linear_target(x) > 0).float()

    def loss_fn(o: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(
            o.view(-1), t.view(-1), pos_weight=torch.tensor(2.0)
        )

    return mlp(), (x, y), {"loss_fn": loss_fn}


@program
def pinball() -> Made:
    x = rows()
    q = torch.tensor([0.1, 0.5, 0.9])

    def loss_fn(o: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.maximum(q * (t - o), (q - 1) * (t - o)).mean()

    return mlp(3), (x, linear_target(x)[:, None]), {"loss_fn": loss_fn}


@program
def pinball_of_flat_targets() -> Made:
    x = rows()

    def loss_fn(o: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        each = [F.relu(t - o[:, k]) * q + F.relu(o[:, k] - t) * (1 - q)
                for k, q in enumerate((0.1, 0.5, 0.9))]  # fmt: skip
        return torch.stack(each).mean()

    return mlp(3), (x, linear_target(x)), {"loss_fn": loss_fn}


@program
def quantile_regression_of_pairs() -> Made:
    """Every predicted quantile against every sampled target, as distributional agents do."""
    x = rows()
    t = linear_target(x)[:, None] + torch.randn(len(x), 8)
    taus = (torch.arange(5) + 0.5) / 5

    def loss_fn(o: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        apart = t.unsqueeze(1) - o.unsqueeze(2)
        weight = (taus[None, :, None] - (apart.detach() < 0).float()).abs()
        return (weight * F.huber_loss(apart, torch.zeros_like(apart), reduction="none")).mean()

    return mlp(5), (x, t), {"loss_fn": loss_fn}


class Siamese(nn.Module):
    """Two inputs through one network; the distance does not depend on the last bias."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(4)

    def forward(self, pair: torch.Tensor) -> torch.Tensor:
        one, other = self.body(pair[:, 0]), self.body(pair[:, 1])
        return (one - other).norm(dim=1, keepdim=True)


@program
def siamese_contrastive() -> Made:
    x = torch.randn(400, 2, 8)
    same = (torch.arange(400) % 2).float()
    x[:, 1] = torch.where(same[:, None] > 0, x[:, 0] + 0.1 * torch.randn(400, 8), x[:, 1])

    def loss_fn(o: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        d = o.squeeze(-1)
        return (t * d**2 + (1 - t) * F.relu(1 - d) ** 2).mean()

    return Siamese(), (x, same), {"loss_fn": loss_fn, "optimizer": "sgd", "lr": 0.05}


class Towers(nn.Module):
    """Embeddings of both sides, as a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = mlp(8), mlp(8)
        self.scale = nn.Parameter(torch.tensor(2.6))

    def forward(self, pair: torch.Tensor) -> Any:
        one = F.normalize(self.one(pair[:, 0]), dim=1)
        other = F.normalize(self.other(pair[:, 1]), dim=1)
        return self.scale.exp() * one @ other.T


@program
def clip_with_all_pairs() -> Made:
    x = torch.randn(400, 8)
    pair = torch.stack([x, x.roll(1, 1) + 0.1 * torch.randn_like(x)], 1)

    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        scores = model(batch[0])
        here = torch.arange(len(scores))
        return (F.cross_entropy(scores, here) + F.cross_entropy(scores.T, here)) / 2

    return Towers(), (pair,), {"step_fn": step_fn}


@program
def supervised_contrastive() -> Made:
    x = rows()

    def loss_fn(o: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        z = F.normalize(o, dim=1)
        labels = t.contiguous().view(-1, 1)
        mask = torch.eq(labels, labels.T).float()
        logits = z @ z.T / 0.1
        logits = logits - logits.max(1, keepdim=True).values.detach()
        mask = mask * (1 - torch.eye(len(z)))
        log_prob = logits - logits.exp().sum(1, keepdim=True).log()
        return -((mask * log_prob).sum(1) / mask.sum(1).clamp(min=1)).mean()

    return mlp(8), (x, classes(x)), {"loss_fn": loss_fn, "batch_size": 32}


@program
def survival_with_risk_sets() -> Made:
    """Partial likelihood of Cox: every risk against the risks of all that live longer."""
    x = rows()
    times = torch.exp(-linear_target(x)) * torch.rand(len(x))
    seen = (torch.rand(len(x)) < 0.7).float()

    def loss_fn(o: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        time, event = t[:, 0], t[:, 1]
        at_risk = time[None, :] >= time[:, None]
        risk = o.reshape(-1)
        total = (risk.exp()[None, :] * at_risk).sum(1).log()
        return -((risk - total) * event).sum() / event.sum().clamp(min=1)

    data = x, torch.stack([times, seen], 1)
    return mlp(), data, {"loss_fn": loss_fn, "batch_size": 64}


@program
def ranking_of_pairs() -> Made:
    x = rows()

    def loss_fn(o: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        scores = o.view(-1, 1)
        higher = (t.view(-1, 1) > t.view(1, -1)).float()
        return (F.softplus(scores.T - scores) * higher).sum() / higher.sum().clamp(min=1)

    return mlp(), (x, linear_target(x)), {"loss_fn": loss_fn, "batch_size": 32}


@program
def class_weights() -> Made:
    x = rows()
    weight = torch.tensor([1.0, 2.0, 0.5])
    return mlp(3), (x, classes(x)), {"loss_fn": nn.CrossEntropyLoss(weight=weight)}


@program
def focal_loss_of_one_hot_targets() -> Made:
    x = rows()
    y = F.one_hot(classes(x), 3).float()
    alpha = torch.tensor([0.2, 0.3, 0.5])

    def loss_fn(o: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        p = o.softmax(1).clamp(1e-6)
        return -(alpha * t * (1 - p) ** 2 * p.log()).sum(1).mean()

    return mlp(3), (x, y), {"loss_fn": loss_fn}


@program
def weights_of_samples() -> Made:
    """The weight of each sample comes with the targets."""
    x = rows()
    t = torch.stack([linear_target(x), torch.rand(len(x))], 1)

    def loss_fn(o: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        each = F.mse_loss(o.squeeze(-1), t[:, 0], reduction="none")
        return (each * t[:, 1]).sum() / t[:, 1].sum()

    return mlp(), (x, t), {"loss_fn": loss_fn}


@program
def ordinal_thresholds() -> Made:
    x = rows()
    level = (linear_target(x)[:, None] > torch.tensor([-1.0, 0.0, 1.0])).sum(1)

    def loss_fn(o: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        above = (t[:, None] > torch.arange(3)).float()
        return F.binary_cross_entropy_with_logits(o, above)

    return mlp(3), (x, level), {"loss_fn": loss_fn}


@program
def mixture_density() -> Made:
    x = rows()

    def loss_fn(o: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        logit, mean, spread = o.chunk(3, 1)
        mix = torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(logits=logit),
            torch.distributions.Normal(mean, spread.exp()),
        )
        return -mix.log_prob(t).mean()

    return mlp(9), (x, linear_target(x)), {"loss_fn": loss_fn}


@program
def gaussian_likelihood() -> Made:
    x = rows()

    def loss_fn(o: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return F.gaussian_nll_loss(o[:, 0], t, F.softplus(o[:, 1]) + 1e-3)

    return mlp(2, act=nn.Tanh), (x, linear_target(x)), {"loss_fn": loss_fn}


@program
def segmentation_with_dice() -> Made:
    x = torch.randn(96, 1, 12, 12)
    y = (F.avg_pool2d(x, 3, 1, 1) > 0).float()[:, 0]
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))

    def loss_fn(o: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        p = o.sigmoid().flatten(1)
        t = t.flatten(1)
        dice = (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)
        return 1 - dice.mean() + F.binary_cross_entropy(p, t)

    return net, (x, y), {"loss_fn": loss_fn, "lr": 1e-2}


@program
def forecast_with_a_mask() -> Made:
    """Sequences of different lengths; the mask comes from the targets."""
    x = torch.randn(300, 10, 2)
    y = x.cumsum(1)[:, :, 0]
    y = y.masked_fill(torch.rand(y.shape) < 0.2, float("nan"))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.GRU(2, 24, batch_first=True), nn.Linear(24, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(x)[0])  # type: ignore[no-any-return]

    def loss_fn(o: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        known = ~t.isnan()
        return ((o.squeeze(2) - t.nan_to_num()) ** 2 * known).sum() / known.sum()

    return Net(), (x, y), {"loss_fn": loss_fn, "lr": 1e-2}
