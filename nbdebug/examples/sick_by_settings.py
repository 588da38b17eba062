"""Trainings that are sick by their settings: learning rate, optimizer, clipping, edits."""

from __future__ import annotations

import torch
from torch import nn

from nbdebug.debugger.debugger import Debugger
from nbdebug.examples.data import digits
from nbdebug.examples.networks import mlp
from nbdebug.examples.sick_training import sick_training, train


@sick_training("learning rate far too large", "updates_too_large", "not_finite", "diverging")
def far_too_large(seed: int) -> Debugger:
    """Adam with a learning rate of 1.0."""
    return train(mlp(seed), seed, optimizer="adam", lr=1.0)


@sick_training(
    "learning rate far too large, SGD",
    "updates_too_large", "not_finite", "diverging", "dead_units",
)  # fmt: skip
def far_too_large_sgd(seed: int) -> Debugger:
    """SGD with a learning rate of 30."""
    return train(mlp(seed), seed, lr=30.0)


@sick_training("learning rate far too small", "updates_too_small")
def far_too_small(seed: int) -> Debugger:
    """SGD with a learning rate of 1e-6."""
    return train(mlp(seed), seed, lr=1e-6)


@sick_training("learning rate far too small, Adam", "updates_too_small")
def far_too_small_adam(seed: int) -> Debugger:
    """Adam with a learning rate of 1e-7."""
    return train(mlp(seed), seed, optimizer="adam", lr=1e-7)


@sick_training("learning rate too small", "too_slow", "updates_too_small", steps=2000)
def too_small(seed: int) -> Debugger:
    """SGD with a learning rate of 0.001: the loss falls, but far too slowly."""
    return train(mlp(seed), seed, lr=1e-3)


@sick_training("learning rate turned up", "harmful_change")
def turned_up(seed: int) -> Debugger:
    """SGD that learns well for 100 steps; then its learning rate is set to 3."""
    dbg = train(mlp(seed), seed, momentum=0.9)
    dbg.run(steps=100)
    dbg.set(lr=3.0)
    return dbg


@sick_training("an optimizer that maximizes", "climbing_updates")
def maximizing(seed: int) -> Debugger:
    """SGD with `maximize=True`, where the loss is to fall."""
    network = mlp(seed)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, maximize=True)
    return train(network, seed, optimizer=optimizer, lr=None)


@sick_training("raw outputs in nll_loss", "unbounded_loss", "failed_check")
def raw_outputs(seed: int) -> Debugger:
    """`nll_loss`, which takes log-probabilities, gets raw outputs."""
    return Debugger(mlp(seed), digits(seed), nn.NLLLoss(), optimizer="adam", lr=1e-3, batch_size=32)


@sick_training("a schedule of epochs at every step", "schedule_ended")
def schedule_at_every_step(seed: int) -> Debugger:
    """The learning rate is divided by 10 every 4 steps, where 4 epochs were meant."""
    network = mlp(seed)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 4, 0.1)
    return train(
        network, seed, optimizer=optimizer, schedule=schedule, schedule_every="step", lr=None
    )


@sick_training("learning rate up and down", "lr_edits_fight")
def turned_up_and_down(seed: int) -> Debugger:
    """The learning rate is set back and forth between 0.02 and 0.2 five times."""
    dbg = train(mlp(seed), seed)
    for lr in (0.2, 0.02, 0.2, 0.02, 0.2):
        dbg.run(steps=20)
        dbg.set(lr=lr)
    return dbg


@sick_training("turned down in the warm-up", "schedule_undoes_edit", steps=2000)
def turned_down_in_warm_up(seed: int) -> Debugger:
    """The learning rate is halved during a warm-up, which then raises it again."""
    dbg = train(mlp(seed), seed, warmup_steps=400)
    dbg.run(steps=100)
    dbg.set(lr=dbg.controls["lr"] / 2)
    return dbg


@sick_training("full batches and a long step", "oscillating", "updates_too_large")
def oscillating(seed: int) -> Debugger:
    """Linear regression on full batches, with a step just below the limit of stability."""
    X = torch.randn(200, 4, generator=torch.Generator().manual_seed(seed))
    X = X * torch.tensor([5.0, 1.0, 1.0, 1.0])
    y = X.sum(1, keepdim=True)
    torch.manual_seed(seed)
    lr = 0.97 / float((X.T @ X / len(X)).diagonal().max())
    return Debugger(nn.Linear(4, 1), (X, y), nn.MSELoss(), optimizer="sgd", lr=lr, batch_size=200)


class WithoutZeroGrad(torch.optim.SGD):
    """SGD whose `zero_grad` does nothing, so that gradients add up."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Keep the gradients."""


@sick_training("no zero_grad", "missing_zero_grad")
def no_zero_grad(seed: int) -> Debugger:
    """An optimizer whose `zero_grad` does nothing: gradients of all steps add up."""
    return train(mlp(seed), seed, optimizer=lambda p: WithoutZeroGrad(p, lr=1e-3), lr=None)


@sick_training("weight decay of 2", "weight_decay_dominates")
def weight_decay(seed: int) -> Debugger:
    """Weight decay of 2: it pulls the weights to zero more strongly than the data pulls back."""
    return train(mlp(seed), seed, weight_decay=2.0)


@sick_training("clipping at 1e6", "clipping_never_active", steps=2000)
def clipping_never(seed: int) -> Debugger:
    """A clip threshold of a million, which no gradient norm ever reaches."""
    return train(mlp(seed), seed, clip_mode="norm", clip_threshold=1e6)


@sick_training("clipping at 1e-4", "clipping_too_hard")
def clipping_always(seed: int) -> Debugger:
    """A clip threshold of 1e-4: every gradient is cut down to next to nothing."""
    return train(mlp(seed), seed, clip_mode="norm", clip_threshold=1e-4)


TRAININGS = (
    far_too_large, far_too_large_sgd, far_too_small, far_too_small_adam, too_small, turned_up,
    turned_up_and_down, turned_down_in_warm_up, schedule_at_every_step, oscillating, no_zero_grad,
    weight_decay, clipping_never, clipping_always, maximizing, raw_outputs,
)  # fmt: skip
