"""Evaluation on held-out data, without a change to training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader

from nbdebug.model.module.forward import checked, to_device
from nbdebug.training.data.sources import StreamSource, TensorSource, as_source

VALIDATION_BATCH_SIZE = 256


class Validation:
    """Held-out data, evaluated in eval mode without gradients.

    Args:
        data: data as for training; a DataLoader is iterated directly.
        every: steps between two evaluations; None for once per epoch.

    Attributes:
        source: the held-out samples.
    """

    def __init__(self, data: Any, every: int | None, dtype: torch.dtype) -> None:
        self.every = every
        self._loader = data if isinstance(data, DataLoader) else None
        self.source = as_source(data, dtype, "val_data")

    def evaluate(self, session: Any) -> dict[str, float]:
        """Return mean loss and metrics over all samples, as `val_<name>`."""
        modules = [(module, module.training) for module in session.model.modules()]
        totals: dict[str, torch.Tensor] = {}
        count = 0
        try:
            session.model.eval()
            with torch.no_grad():
                for batch in self.batches():
                    moved = to_device(batch, session.device)
                    loss, outputs, targets = session.evaluate(moved)
                    size = samples_in(moved)
                    values = {"loss": checked(loss, session.loss_name)}
                    values.update(session.metrics.measure(outputs, targets))
                    for name, value in values.items():
                        part = torch.as_tensor(value).detach().cpu().double() * size
                        totals[name] = totals.get(name, torch.zeros((), dtype=torch.float64)) + part
                    count += size
        finally:
            # Module by module: a layer that the user set to eval mode stays in it.
            for module, training in modules:
                module.training = training
        return {f"val_{name}": float(total / max(count, 1)) for name, total in totals.items()}

    def batches(self) -> Iterator[Any]:
        """Yield all held-out samples, in the order of the data."""
        if self._loader is not None:
            yield from self._loader
        elif isinstance(self.source, StreamSource):
            waiting: list[Any] = []
            for sample in self.source:
                waiting.append(sample)
                if len(waiting) == VALIDATION_BATCH_SIZE:
                    yield self.source.collate(waiting)
                    waiting = []
            if waiting:
                yield self.source.collate(waiting)
        elif isinstance(self.source, TensorSource):
            parts = [tensor.split(VALIDATION_BATCH_SIZE) for tensor in self.source.tensors]
            yield from zip(*parts, strict=True)
        else:
            for indices in torch.arange(self.source.length).split(VALIDATION_BATCH_SIZE):
                yield self.source.fetch(indices)


def samples_in(batch: Any) -> int:
    """Number of samples in a batch: the length of its first tensor."""
    if isinstance(batch, torch.Tensor):
        return len(batch) if batch.ndim else 1
    parts = batch.values() if isinstance(batch, Mapping) else batch
    if isinstance(parts, tuple | list) or isinstance(batch, Mapping):
        return next((samples_in(part) for part in parts), 1)
    return 1
