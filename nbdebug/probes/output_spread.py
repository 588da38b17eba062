"""Spread of the outputs over the samples of a batch."""

from __future__ import annotations

import torch

from nbdebug.model.training_state import TrainingState
from nbdebug.probes.base import Probe, Values

MAX_OUTPUTS = 256


class OutputSpread(Probe):
    """Spread of the outputs over the samples of a batch: `output_spread`.

    The spread is the largest standard deviation of an output over the batch divided by
    1 + |mean|, among at most 256 outputs. A spread of 0 means that the model gives the same
    output for every sample. In a loop or a `step_fn` the outputs are those that the one loss of
    torch takes, see `model.origin.compared`.
    """

    name = "output_spread"
    cost = "cheap"
    every = 50
    order = 44
    reads_outputs = True

    def attach(self, session: TrainingState) -> None:
        self._session = session

    def read(self, step: int) -> Values:
        outputs, _ = self._session.in_loss()
        if not isinstance(outputs, torch.Tensor) or not outputs.is_floating_point():
            return {}
        if outputs.ndim < 1 or len(outputs) < 2 or not outputs.numel():
            return {}
        flat = outputs.detach().reshape(len(outputs), -1)
        flat = flat[:, :: -(-flat.shape[1] // MAX_OUTPUTS)]
        spread, mean = torch.std_mean(flat.float(), 0)
        return {"output_spread": (spread / (1 + mean.abs())).max()}
