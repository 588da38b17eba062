"""Training programs in which some parameters rest, or a step does more than usual."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from tests.programs.losses import classes, linear_target, mlp
from tests.programs.program import Made, collector, images, rows

LOOPS, program = collector()


class MayRest(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.body, self.p = mlp(32, 32), p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and torch.rand(()) < self.p:
            return x
        return x + self.body(x)


@program
def stochastic_depth() -> Made:
    x = rows()
    blocks = [MayRest(0.5), MayRest(0.8), MayRest(0.9)]
    model = nn.Sequential(nn.Linear(8, 32), *blocks, nn.Linear(32, 3))
    return model, (x, classes(x)), {"loss_fn": nn.CrossEntropyLoss()}


class Experts(nn.Module):
    """Each sample goes to its best expert; the others rest."""

    def __init__(self, sparse: bool) -> None:
        super().__init__()
        self.gate, self.sparse = nn.Linear(8, 16), sparse
        self.experts = nn.ModuleList([mlp(3) for _ in range(16)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, best = self.gate(x).softmax(1).max(1)
        out = x.new_zeros(len(x), 3)
        for place, expert in enumerate(self.experts):
            mine = best == place
            if not self.sparse:
                out = out + expert(x) * (mine * weight)[:, None]
            elif mine.any():
                out = out.index_add(0, mine.nonzero()[:, 0], expert(x[mine]) * weight[mine, None])
        return out


@program
def mixture_of_experts() -> Made:
    x = rows()
    return Experts(True), (x, classes(x)), {"loss_fn": nn.CrossEntropyLoss(), "batch_size": 4}


@program
def mixture_of_experts_with_masks() -> Made:
    x = rows()
    options = {"loss_fn": nn.CrossEntropyLoss(), "batch_size": 4, "optimizer": "sgd", "lr": 0.05}
    return Experts(False), (x, classes(x)), options


class Accumulating(torch.optim.SGD):
    """Sums the gradients of some batches, then makes one update."""

    every = 4

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr)
        self.sums: list[torch.Tensor] = []
        self.count = 0

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        held = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not self.sums:
            self.sums = [torch.zeros_like(p) for p in held]
        for total, p in zip(self.sums, held, strict=True):
            total += p.grad / self.every
        self.count += 1
        if self.count % self.every == 0:
            for total, p in zip(self.sums, held, strict=True):
                p.grad = total.clone()
                total.zero_()
            super().step()


@program
def gradient_accumulation() -> Made:
    x = rows()
    options = {"loss_fn": nn.CrossEntropyLoss(), "optimizer": lambda p: Accumulating(p, 0.1)}
    return mlp(3), (x, classes(x)), options


@program
def accumulated_steps() -> Made:
    x = rows()
    model = nn.Sequential(
        nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3)
    )
    options = {"loss_fn": nn.CrossEntropyLoss(), "accumulate": 4, "batch_size": 8, "lr": 3e-3}
    return model, (x, classes(x)), options


class Adversaries(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = mlp(8, 4, nn.LeakyReLU)
        self.critic = mlp(1, 8, nn.LeakyReLU)
        self.turn = 0


def adversarial(generator_every: int) -> Made:
    """The critic learns at most steps, the generator at some; the other one rests."""

    def step_fn(model: Any, batch: tuple[torch.Tensor]) -> torch.Tensor:
        model.turn += 1
        made = model.generator(torch.randn(len(batch[0]), 4))
        if model.turn % generator_every:
            real, fake = model.critic(batch[0]), model.critic(made.detach())
            return F.softplus(-real).mean() + F.softplus(fake).mean()
        for p in model.critic.parameters():
            p.requires_grad_(False)
        loss = F.softplus(-model.critic(made)).mean()
        for p in model.critic.parameters():
            p.requires_grad_(True)
        return loss

    return Adversaries(), (rows() + 1,), {"step_fn": step_fn, "lr": 1e-3}


@program
def gan_by_turns() -> Made:
    return adversarial(2)


@program
def gan_with_five_critic_steps() -> Made:
    return adversarial(5)


class Tasks(nn.Module):
    """A head for each task; a batch belongs to one task."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(16)
        self.heads = nn.ModuleList([nn.Linear(16, 3) for _ in range(10)])


@program
def heads_that_take_turns() -> Made:
    x = rows()

    def step_fn(model: Any, batch: Any) -> torch.Tensor:
        model.turn = getattr(model, "turn", -1) + 1
        head = model.heads[model.turn % 10]
        return F.cross_entropy(head(F.relu(model.body(batch[0]))), batch[1])

    return Tasks(), (x, classes(x)), {"step_fn": step_fn, "optimizer": "sgd", "lr": 0.05}


@program
def warm_up_of_the_head() -> Made:
    """The body rests for the first 40 steps, then everything learns."""
    x = rows()

    def step_fn(model: Any, batch: Any) -> torch.Tensor:
        model.turn = getattr(model, "turn", -1) + 1
        hidden = model[:4](batch[0])
        return F.cross_entropy(model[4](hidden.detach() if model.turn < 40 else hidden), batch[1])

    return mlp(3), (x, classes(x)), {"step_fn": step_fn, "lr": 1e-2}


@program
def physics_informed() -> Made:
    """u' = -u with u(0) = 1: the step needs a derivative by the input."""

    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        t = batch[0].clone().requires_grad_(True)
        u = model(t)
        (du,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        start = model(torch.zeros(1, 1)) - 1
        return (du + u).square().mean() + start.square().mean()  # type: ignore[no-any-return]

    return mlp(1, 1, nn.Tanh), (3 * torch.rand(300, 1),), {"step_fn": step_fn}


@program
def gradient_penalty_in_the_loss() -> Made:
    """Double backward through the parameters, and an own backward of a small auxiliary."""
    x = rows()
    extra = nn.Linear(3, 1)

    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        outputs = model(batch[0])
        extra(outputs.detach()).square().mean().backward()
        extra.zero_grad()
        loss = F.cross_entropy(outputs, batch[1])
        grads = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
        return loss + 1e-2 * sum((g**2).sum() for g in grads)

    return mlp(3, act=nn.Tanh), (x, classes(x)), {"step_fn": step_fn}


class LowRank(nn.Module):
    """A frozen layer with an adapter whose second factor starts at 0."""

    def __init__(self, base: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.up(self.down(x))  # type: ignore[no-any-return]


@program
def adapters_of_low_rank() -> Made:
    x = rows()
    model = mlp(3)
    for place in (0, 2):
        model[place] = LowRank(model[place])  # type: ignore[arg-type]
    return model, (x, classes(x)), {"loss_fn": nn.CrossEntropyLoss(), "lr": 1e-2}


@program
def frozen_backbone_in_eval_mode() -> Made:
    """A backbone whose BatchNorm stays in eval mode, as detectors have it."""

    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
            self.body.requires_grad_(False)
            self.head = nn.Linear(8, 4)

        def train(self, mode: bool = True) -> Any:
            super().train(mode)
            self.body.eval()
            return self

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(x).mean((2, 3)))  # type: ignore[no-any-return]

    return Frozen().train(), images(8), {"loss_fn": nn.CrossEntropyLoss(), "lr": 1e-2}


class Momentum(nn.Module):
    """A student, and a teacher that is its moving average."""

    def __init__(self) -> None:
        super().__init__()
        self.student = nn.Sequential(mlp(16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16))
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)

    def forward(self, x: torch.Tensor) -> Any:
        one, other = x + 0.1 * torch.randn_like(x), x + 0.1 * torch.randn_like(x)
        with torch.no_grad():
            pairs = zip(self.teacher.parameters(), self.student.parameters(), strict=True)
            for old, new in pairs:
                old.lerp_(new, 0.01)
            target = self.teacher(other)
        return self.student(one), target


@program
def teacher_by_moving_average() -> Made:
    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        outputs, target = model(batch[0])
        return 1 - F.cosine_similarity(outputs, target).mean()

    return Momentum(), (rows(),), {"step_fn": step_fn}


class Recommender(nn.Module):
    """Factors and biases of users and items; most rows rest in a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(500, 8), nn.Embedding(300, 8)
        self.user_bias, self.item_bias = nn.Embedding(500, 1), nn.Embedding(300, 1)
        for module in self.children():
            nn.init.normal_(module.weight, 0, 0.1)  # type: ignore[arg-type]

    def forward(self, pair: torch.Tensor) -> torch.Tensor:
        user, item = pair.T
        score = (self.users(user) * self.items(item)).sum(1)
        return score + self.user_bias(user)[:, 0] + self.item_bias(item)[:, 0]


@program
def matrix_factors() -> Made:
    pairs = torch.stack([torch.randint(500, (400,)), torch.randint(300, (400,))], 1)
    y = (pairs[:, 0] % 5 - pairs[:, 1] % 3).float()
    return Recommender(), (pairs, y), {"loss_fn": nn.MSELoss(), "optimizer": "sgd", "lr": 0.1}


class Vae(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = mlp(8), mlp(8, 4)

    def forward(self, x: torch.Tensor) -> Any:
        mean, log_var = self.encoder(x).chunk(2, 1)
        z = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
        return self.decoder(z), mean, log_var


@program
def variational_autoencoder() -> Made:
    x = rows()

    def loss_fn(outputs: Any, t: torch.Tensor) -> torch.Tensor:
        made, mean, log_var = outputs
        kl = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(1).mean()
        return F.mse_loss(made, t, reduction="sum") / len(t) + 0.1 * kl

    return Vae(), (x, x), {"loss_fn": loss_fn}


@program
def weights_in_bfloat16() -> Made:
    x = rows()
    model = mlp(3).bfloat16()
    options = {"loss_fn": nn.CrossEntropyLoss(), "lr": 1e-2}
    return model, (x.bfloat16(), classes(x)), options


@program
def regression_by_plain_sgd() -> Made:
    x = rows()
    y = linear_target(x)[:, None]
    return mlp(act=nn.Tanh), (x, y), {"loss_fn": nn.MSELoss(), "optimizer": "sgd", "lr": 0.05}
