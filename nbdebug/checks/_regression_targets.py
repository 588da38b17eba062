"""Numbers of a batch that losses of torch compare outputs with, wherever they are called."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional

from nbdebug.checks._context import CheckContext
from nbdebug.checks._loss_calls import loss_calls
from nbdebug.checks._model_calls import batch_tensors

LOSSES = (
    functional.mse_loss, functional.l1_loss, functional.smooth_l1_loss, functional.huber_loss,
)  # fmt: skip


class RegressionTargets(NamedTuple):
    """Targets [N, ...] of a call, its function, and the line of the user's code."""

    targets: torch.Tensor
    function: str
    line: str


def regression_targets(context: CheckContext) -> list[RegressionTargets]:
    """Targets of each call that are numbers of the batch as it came."""
    given = [one for one in batch_tensors(context) if one.is_floating_point()]
    return [
        RegressionTargets(target, call.name, call.line)
        for call in loss_calls(context, LOSSES)
        for target in [call.numbers("target")]
        if any(_same(target, one) for one in given)
    ]


def _same(target: torch.Tensor, given: torch.Tensor) -> bool:
    return target.numel() == given.numel() and torch.equal(
        target.flatten(), given.detach().to(target).flatten()
    )
