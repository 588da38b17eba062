"""Memory of the process."""

from __future__ import annotations

import psutil
import torch

from nbdebug.model.training_state import TrainingState
from nbdebug.probes.base import Probe, Values

MEGABYTE = 2**20


class Memory(Probe):
    """Memory in MB: `memory_mb` of the process, without checkpoints; `gpu_memory_mb` of tensors.

    `memory_mb` is the resident size; `gpu_memory_mb` is measured only on a CUDA device.
    """

    name = "memory"
    cost = "cheap"
    every = 50
    order = 80

    def attach(self, session: TrainingState) -> None:
        self._session, self._process = session, psutil.Process()

    def read(self, step: int) -> Values:
        resident = self._process.memory_info().rss - self._session.checkpoint_bytes
        found: dict[str | tuple[str, ...], torch.Tensor | float] = {
            "memory_mb": resident / MEGABYTE
        }
        device = self._session.device
        if device.type == "cuda":
            found["gpu_memory_mb"] = torch.cuda.memory_allocated(device) / MEGABYTE
        return found
