"""Variance shift of each BatchNorm layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from nbdebug.model.batchnorm import BatchNorms
from nbdebug.model.loss_kind import KNOWN_LOSSES, loss_name
from nbdebug.model.module.hooks import before_forward
from nbdebug.model.nonfinite import eager
from nbdebug.model.state.model_state import undisturbed
from nbdebug.model.training_state import TrainingState
from nbdebug.probes.base import Probe, Values

MAX_TRIES = 3


class VarianceShift(Probe):
    """Running variance of BatchNorm over the variance in eval mode: `variance_shift/<layer>`.

    The shift is the mean over channels of the running variance, divided by the mean over
    channels of the (unbiased) variance of the layer's input in eval mode, on the last training
    batch and with the updated weights. Above 1, the running variance is larger than the variance
    without dropout, and the outputs of the layer are too small. Dropout with probability p
    directly before the layer multiplies the variance of training by 1 / (1 - p) for inputs of
    mean zero, and by more for others: p = 0.5 gives about 2. The two variances are those of Li
    et al. 2018, "Understanding the Disharmony between Dropout and Batch Normalization by
    Variance Shift", who use the inverse ratio. A ratio of means is used so that a channel
    without variance in this batch does not dominate.

    `eval_loss` is the loss of this forward pass, for cross-entropy and the mean squared error: an
    eval loss far above the training loss means that the running statistics of BatchNorm do not
    match. `norm_values` is the smallest number of values over which a layer averages a channel.
    The probe costs one forward pass in eval mode, only in models with BatchNorm. A training with
    a `step_fn` is not measured.
    """

    name = "variance_shift"
    reads_weights = True
    every = 20
    order = 70

    def attach(self, session: TrainingState) -> None:
        self._session = session
        self._loss, self._tried = "", 0
        self.follow()

    def follow(self) -> None:
        session = self._session
        self._norms = BatchNorms(session.model).layers
        self._names = tuple(f"variance_shift/{name}" for name in self._norms)
        self.idle = not self._norms or session.loss_fn is None

    def read(self, step: int) -> Values:
        session = self._session
        if session.again is None:
            return {}
        met: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}
        handles = [
            before_forward(norm, _hook(name, met, self._counts))
            for name, norm in self._norms.items()
        ]
        try:
            with (
                undisturbed(session.model, session.surroundings),
                torch.no_grad(),
                eager(session.model),
            ):
                session.model.eval()
                outputs = session.again()
        finally:
            for handle in handles:
                handle.remove()
        shifts = torch.full((len(self._norms),), torch.nan, device=session.device)
        for place, (name, norm) in enumerate(self._norms.items()):
            if name in met and norm.running_var is not None:
                # A constant input has zero variance.
                ratio = norm.running_var.mean() / met[name]
                shifts[place] = torch.where(met[name] > 0, ratio, torch.nan)
        fewest = float(min(self._counts.values(), default=math.nan))
        found: dict[str | tuple[str, ...], torch.Tensor | float] = {
            self._names: shifts, "norm_values": fewest
        }  # fmt: skip
        return found | self._judged(outputs)

    def _judged(self, outputs: Any) -> dict[str | tuple[str, ...], torch.Tensor | float]:
        """Loss in eval mode, if the loss is a known PyTorch loss."""
        session = self._session
        trained, targets = session.outputs, session.targets
        if not all(isinstance(part, torch.Tensor) for part in (outputs, trained, targets)):
            return {}
        assert isinstance(trained, torch.Tensor)
        assert isinstance(targets, torch.Tensor)
        if not self._loss and self._tried < MAX_TRIES:
            self._tried += 1
            self._loss = loss_name(trained.detach(), targets, session.batch_loss)
        return {"eval_loss": KNOWN_LOSSES[self._loss](outputs, targets)} if self._loss else {}


def _hook(
    name: str, met: dict[str, torch.Tensor], counts: dict[str, int]
) -> Callable[[nn.Module, Any], None]:
    def hook(norm: nn.Module, inputs: Any) -> None:
        channels = inputs[0].transpose(0, 1).flatten(1)
        counts[name] = channels.shape[1]
        # For a layer that runs several times, the last call counts; one value has no variance.
        if channels.shape[1] > 1:
            met[name] = channels.float().var(1).mean()

    return hook
