"""Autoencoders, adversaries and diffusion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from tools.architectures.base import MSE, Architecture, digits, flat_digits, generator, pixels

ROWS = 64


def autoencoder(*end: nn.Module) -> nn.Module:
    return nn.Sequential(
        nn.Linear(ROWS, 32), nn.ReLU(), nn.Linear(32, 8), nn.ReLU(), nn.Linear(8, 32), nn.ReLU(),
        nn.Linear(32, ROWS), *end,
    )  # fmt: skip


def same_pixels() -> tuple[torch.Tensor, torch.Tensor]:
    images, _ = flat_digits()
    return images, images


def noisy_pixels() -> tuple[torch.Tensor, torch.Tensor]:
    images, _ = flat_digits()
    return images + 0.3 * torch.randn(images.shape, generator=generator()), images


def conv_autoencoder() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 2, stride=2), nn.ReLU(), nn.ConvTranspose2d(8, 1, 2, stride=2),
    )  # fmt: skip


def same_images() -> tuple[torch.Tensor, torch.Tensor]:
    images, _ = digits()
    return images, images


class Coded(NamedTuple):
    """Outputs of a variational autoencoder."""

    logits: torch.Tensor
    mean: torch.Tensor
    log_variance: torch.Tensor


class VAE(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(ROWS, 32), nn.ReLU(), nn.Linear(32, 8))
        self.decoder = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, ROWS))

    def forward(self, x: torch.Tensor) -> Coded:
        mean, log_variance = self.encoder(x).chunk(2, 1)
        code = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        return Coded(self.decoder(code), mean, log_variance)


def elbo(outputs: Coded, targets: torch.Tensor, beta: float = 1.0) -> torch.Tensor:
    """Sums over pixels and codes, mean over samples."""
    logits, mean, log_variance = outputs
    rebuilt = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1)
    return rebuilt.sum(1).mean() + beta * divergence.mean()


def vae_step(model: nn.Module, batch: Any) -> torch.Tensor:
    inputs, targets = batch
    return elbo(model(inputs), targets, beta=0.5)


class VectorQuantised(nn.Module):
    """Codes from a book, straight through; the loss of the book is an output."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(ROWS, 32), nn.ReLU(), nn.Linear(32, 16))
        self.book = nn.Parameter(0.5 * torch.randn(24, 4))
        self.decoder = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, ROWS))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        codes = self.encoder(x).view(-1, 4)
        chosen = self.book[torch.cdist(codes, self.book).argmin(1)]
        commit = functional.mse_loss(codes, chosen.detach())
        book = functional.mse_loss(chosen, codes.detach())
        passed = codes + (chosen - codes).detach()
        return {"image": self.decoder(passed.view(len(x), 16)), "book": book + 0.25 * commit}


def quantised_loss(outputs: dict[str, torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
    return functional.mse_loss(outputs["image"], targets) + outputs["book"]


class Adversaries(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, ROWS))
        self.critic = nn.Sequential(nn.Linear(ROWS, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))


def adversarial_step(model: Adversaries, batch: Any) -> torch.Tensor:
    """Both losses in one: each network gets the gradient of its own alone."""
    real = batch[0]
    made = model.generator(torch.randn(len(real), 8))
    said_real, said_made = model.critic(real), model.critic(made.detach())
    judged = functional.softplus(-said_real).mean() + functional.softplus(said_made).mean()
    frozen = {name: p.detach() for name, p in model.critic.named_parameters()}
    fooled = torch.func.functional_call(model.critic, frozen, (made,))
    return judged + functional.softplus(-fooled).mean()


class Critic(nn.Module):
    """A critic beside a generator that another step trains."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(ROWS, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def wasserstein_step(model: nn.Module, batch: Any) -> torch.Tensor:
    """Difference of the scores, and a penalty of the slope (Gulrajani et al. 2017)."""
    real = batch[0]
    made = 0.5 * torch.randn_like(real)
    mixed = (real + torch.rand(len(real), 1) * (made - real)).requires_grad_(True)
    slope = torch.autograd.grad(model(mixed).sum(), mixed, create_graph=True)[0]
    return model(made).mean() - model(real).mean() + 10 * ((slope.norm(2, 1) - 1) ** 2).mean()


class Denoiser(nn.Module):
    """Predicts the noise of an image, given the time."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Embedding(10, 16)
        self.first, self.last = nn.Linear(ROWS, 48), nn.Linear(64, ROWS)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return self.last(torch.cat([self.first(x), self.time(time)], 1).relu())


def diffusion_step(model: nn.Module, batch: Any) -> torch.Tensor:
    clean = batch[0]
    time = torch.randint(0, 10, (len(clean),))
    kept = (1 - (time.float() + 1) / 11)[:, None]
    noise = torch.randn_like(clean)
    return functional.mse_loss(model(kept.sqrt() * clean + (1 - kept).sqrt() * noise, time), noise)


class Coupling(nn.Module):
    """RealNVP: half of the numbers scale and shift the others; outputs and log-determinant."""

    def __init__(self) -> None:
        super().__init__()
        self.nets = nn.ModuleList(
            nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 4)) for _ in range(2)
        )
        for net in self.nets:
            nn.init.zeros_(net[-1].weight)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        total = torch.zeros(len(x))
        for net in self.nets:
            left, right = x.chunk(2, 1)
            scale, shift = net(left).chunk(2, 1)
            x = torch.cat([right * scale.tanh().exp() + shift, left], 1)
            total = total + scale.tanh().sum(1)
        return x, total


def flow_step(model: nn.Module, batch: Any) -> torch.Tensor:
    code, total = model(batch[0])
    return (0.5 * (code**2).sum(1) - total).mean()


def curve() -> tuple[torch.Tensor, torch.Tensor]:
    draw = generator(8)
    place = torch.randn(400, 4, generator=draw)
    place[:, 1] = place[:, 0] ** 2 / 2 + 0.3 * place[:, 1]
    return place, torch.zeros(len(place))


GENERATIVE: Mapping[str, Architecture] = {
    "autoencoder": Architecture(autoencoder, same_pixels, MSE),
    "autoencoder of pixels": Architecture(lambda: autoencoder(nn.Sigmoid()), pixels, nn.BCELoss()),
    "autoencoder, denoising": Architecture(autoencoder, noisy_pixels, MSE),
    "autoencoder, convolutional": Architecture(conv_autoencoder, same_images, MSE),
    "VAE": Architecture(VAE, pixels, elbo),
    "VAE by step": Architecture(VAE, pixels, None, {"step_fn": vae_step}),
    "VQ-VAE": Architecture(VectorQuantised, same_pixels, quantised_loss),
    "GAN": Architecture(Adversaries, flat_digits, None, {"step_fn": adversarial_step}),
    "WGAN critic": Architecture(Critic, flat_digits, None, {"step_fn": wasserstein_step}),
    "diffusion": Architecture(Denoiser, flat_digits, None, {"step_fn": diffusion_step}),
    "normalising flow": Architecture(Coupling, curve, None, {"step_fn": flow_step}),
}
