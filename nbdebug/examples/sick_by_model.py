"""Trainings that are sick by their model: initial weights, layers, a forward or a step_fn."""

from __future__ import annotations

import os

import torch
from torch import nn

from nbdebug.debugger.debugger import Debugger
from nbdebug.examples.data import digits
from nbdebug.examples.networks import Wrapped, batchnorm_mlp, mlp, stack
from nbdebug.examples.sick_training import sick_training, train


@sick_training("deep sigmoids", "vanishing_gradients")
def deep_sigmoids(seed: int) -> Debugger:
    """Eight layers of sigmoids: the gradient shrinks at each of them."""
    return train(mlp(seed, 8, nn.Sigmoid), seed)


@sick_training("large weights", "exploding_gradients")
def large_weights(seed: int) -> Debugger:
    """Initial weights three times too large: the gradient grows at each of 24 layers.

    Poole et al. 2016 call such networks chaotic.
    """
    model = mlp(seed, 24, nn.Tanh)
    with torch.no_grad():
        for layer in model.children():
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(0.0, 3.0 / layer.in_features**0.5)
    return train(model, seed, lr=1e-4)


@sick_training("large weights before tanh", "saturated_units")
def saturated(seed: int) -> Debugger:
    """Weights 200 times too large in front of tanh: its units stay at -1 or 1."""
    model = mlp(seed, 3, nn.Tanh)
    with torch.no_grad():
        for layer in model[:-1].children():
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(200.0)
    return train(model, seed, lr=1e-3)


@sick_training("dead layer", "dead_units", "unchanged_parameters")
def dead_layer(seed: int) -> Debugger:
    """A bias of -30 in front of ReLU: the whole layer gives 0 for every sample."""
    model = mlp(seed)
    with torch.no_grad():
        nn.init.constant_(model.get_parameter("2.bias"), -30.0)
    return train(model, seed)


class Detached(Wrapped):
    """A second branch whose output is cut off from the gradient."""

    def __init__(self, seed: int) -> None:
        super().__init__(mlp(seed))
        self.spare = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(x) + self.spare(x).detach()
        return result


@sick_training("a layer cut off", "unchanged_parameters")
def detached(seed: int) -> Debugger:
    """A layer behind `detach()`: it never gets a gradient."""
    return train(Detached(seed), seed)


class Masked(Wrapped):
    """A mask that takes all inputs away."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(x * (x > 1e6))
        return result


@sick_training("a mask that takes everything", "constant_output")
def masked(seed: int) -> Debugger:
    """A mask sets all inputs to 0, so that every sample gets the same prediction."""
    return train(Masked(mlp(seed)), seed)


class WrongMask(Wrapped):
    """A mask that keeps what is to be masked: a corner of the digits."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pixel = torch.arange(x.shape[1], device=x.device)
        result: torch.Tensor = self.body(x * ((pixel % 8 >= 6) & (pixel < 24)))
        return result


@sick_training("a mask the wrong way round", "warned_check")
def wrongly_masked(seed: int) -> Debugger:
    """A mask keeps an almost empty corner of the digits and takes the rest."""
    return train(WrongMask(mlp(seed)), seed)


@sick_training("dropout of 0.85", "heavy_dropout", steps=2000)
def heavy_dropout(seed: int) -> Debugger:
    """Dropout of 85 % behind every hidden layer."""
    torch.manual_seed(seed)
    model = stack(64, 10, (64, 64), lambda width: [nn.ReLU(), nn.Dropout(0.85)])
    X, y = digits(seed)
    return train(
        model, seed, data=(X[300:], y[300:]), val_data=(X[:300], y[:300]), optimizer="adam", lr=3e-3
    )


@sick_training("dropout before BatchNorm", "variance_shift")
def dropout_before_batchnorm(seed: int) -> Debugger:
    """Dropout of 50 % in front of BatchNorm, whose running variance is too large in eval mode."""
    return train(batchnorm_mlp(seed, 0.5), seed)


@sick_training("batches of 2 with BatchNorm", "tiny_batchnorm")
def tiny_batches(seed: int) -> Debugger:
    """BatchNorm on batches of two samples."""
    return train(batchnorm_mlp(seed), seed, data=digits(seed, 1436), batch_size=2)


@sick_training("BatchNorm with a momentum of 0.0001", "stale_batchnorm")
def stale_batchnorm(seed: int) -> Debugger:
    """BatchNorm whose running statistics hardly follow the batches."""
    return train(batchnorm_mlp(seed, momentum=1e-4), seed)


class Unseeded(Wrapped):
    """Noise from the operating system, which no seed controls."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(x + 1e-3 * int.from_bytes(os.urandom(1), "big"))
        return result


@sick_training("noise from outside", "not_reproducible")
def not_reproducible(seed: int) -> Debugger:
    """A forward that draws random numbers without a seed; a rewind shows the difference."""
    dbg = train(Unseeded(mlp(seed)), seed)
    dbg.run(steps=60)
    dbg.rewind(50)
    return dbg


@sick_training("memory that grows", "memory_growth", steps=4000)
def leaking(seed: int) -> Debugger:
    """A `step_fn` that keeps half a megabyte of every step."""
    kept: list[torch.Tensor] = []

    def step_fn(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        kept.append(torch.ones(130_000))
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    return Debugger(
        mlp(seed), digits(seed), step_fn=step_fn, batch_size=32, optimizer="sgd", lr=0.05
    )


@sick_training("a failed check", "failed_check", "loss_stays_high")
def failed_check(seed: int) -> Debugger:
    """A softmax before cross-entropy: the checklist said so, and training went on."""
    dbg = train(nn.Sequential(mlp(seed), nn.Softmax(1)), seed)
    dbg.check("output_activation")
    return dbg


class Autoencoder(nn.Module):
    """A variational autoencoder of digits."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
        self.decoder = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, 1)
        code = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        return self.decoder(code), mean, log_variance


def negative_elbo(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Squared error, a mean, and the KL term, a sum over the code."""
    decoded, mean, log_variance = model(batch[0])
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
    loss: torch.Tensor = nn.functional.mse_loss(decoded, batch[0]) + kl
    return loss


@sick_training("a KL term of another scale", "constant_data_term", steps=2000)
def collapsed_posterior(seed: int) -> Debugger:
    """A variational autoencoder whose KL term is a sum and its error a mean: the code is noise."""
    torch.manual_seed(seed)
    X, y = digits(seed)
    return Debugger(
        Autoencoder(), (X, y), step_fn=negative_elbo, batch_size=32, optimizer="adam", lr=1e-3
    )


TRAININGS = (
    failed_check, deep_sigmoids, large_weights, saturated, dead_layer, detached, masked,
    wrongly_masked, heavy_dropout, dropout_before_batchnorm, tiny_batches, stale_batchnorm,
    not_reproducible, leaking, collapsed_posterior,
)  # fmt: skip
