"""Trainings that are sick by their data: samples, labels, the loader."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from nbdebug.debugger.debugger import Debugger
from nbdebug.examples.data import digits
from nbdebug.examples.networks import mlp
from nbdebug.examples.sick_training import sick_training, train


@sick_training("a sample with NaN or Inf", "not_finite")
def broken_sample(seed: int) -> Debugger:
    """One pixel of one sample is NaN."""
    X, y = digits(seed)
    X = X.clone()
    X[700, 3] = torch.nan
    return train(mlp(seed), seed, data=(X, y))


@sick_training("an outlier among the samples", "gradient_spike")
def outlier(seed: int) -> Debugger:
    """Batches in order; the 163rd has a sample 3,000 times too large, with a wrong label."""
    X, y = digits(seed)
    X, y = X.clone(), y.clone()
    X[1300] *= 3000.0
    y[1300] = (y[1300] + 1) % 10
    loader = DataLoader(TensorDataset(X, y), batch_size=8)
    return train(mlp(seed), seed, data=loader, lr=0.05, batch_size=8)


@sick_training("labels learnt by heart", "overfitting", steps=2000)
def overfitting(seed: int) -> Debugger:
    """A hundred training samples, half of them with a random label."""
    X, y = digits(seed, 300)
    at_random = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(y), generator=at_random) < 0.5
    y = torch.where(wrong, torch.randint(0, 10, y.shape, generator=at_random), y)
    held_out = (X[100:], y[100:])
    return train(
        mlp(seed), seed, data=(X[:100], y[:100]), val_data=held_out, optimizer="adam", lr=3e-3
    )


@sick_training("inputs without a signal", "not_learning", "no_better_than_constant", steps=1500)
def no_signal(seed: int) -> Debugger:
    """Random inputs with random labels."""
    X = torch.randn(3_200, 64, generator=torch.Generator().manual_seed(seed))
    y = torch.randint(0, 10, (3_200,), generator=torch.Generator().manual_seed(seed + 1))
    return train(mlp(seed), seed, data=(X, y), optimizer="adam", lr=1e-4)


@sick_training("a class of one sample in fifty", "missed_class", steps=2000)
def rare_class(seed: int) -> Debugger:
    """Points of two classes that overlap; one in fifty belongs to the second."""
    draw = torch.Generator().manual_seed(seed)
    y = (torch.rand(3_000, generator=draw) < 0.02).long()
    X = torch.randn(3_000, 8, generator=draw) + 0.5 * y[:, None]
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
    return train(network, seed, data=(X, y), lr=0.05)


@sick_training("two updates an epoch", "few_updates", steps=1200)
def huge_batches(seed: int) -> Debugger:
    """Batches of 700 of 1,400 digits: an epoch has two updates."""
    return train(mlp(seed), seed, data=digits(seed, 1_400), batch_size=700)


@sick_training("labels of other samples", "no_better_than_constant", steps=1500)
def mixed_up(seed: int) -> Debugger:
    """Digits with the labels in another order than the pictures."""
    X, y = digits(seed)
    wrong = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))]
    return train(mlp(seed), seed, data=(X, wrong), lr=0.01)


@sick_training("wrong labels in training alone", "suspicious_validation", steps=3000)
def noisy_training(seed: int) -> Debugger:
    """A third of the training labels is wrong; the validation labels are right."""
    X, y = digits(seed)
    at_random = torch.Generator().manual_seed(seed)
    bad = torch.rand(len(y), generator=at_random) < 0.35
    y = torch.where(bad, torch.randint(0, 10, y.shape, generator=at_random), y)
    X_val, y_val = digits(seed + 1, 300)
    return train(mlp(seed), seed, data=(X, y), val_data=(X_val, y_val), lr=0.1)


class SlowSamples(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Samples that take long to prepare."""

    def __init__(self, seed: int) -> None:
        self.X, self.y = digits(seed)
        self.work = torch.rand(6_000)

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.work.sort()
        return self.X[index], self.y[index]


@sick_training("slow samples", "loader_bound")
def slow_samples(seed: int) -> Debugger:
    """A dataset that takes longer for a batch than the model takes for a step."""
    return train(mlp(seed), seed, data=DataLoader(SlowSamples(seed), batch_size=32))


TRAININGS = (
    broken_sample, outlier, overfitting, no_signal, mixed_up, noisy_training, slow_samples,
    rare_class, huge_batches,
)  # fmt: skip
