"""Evaluation on held-out data, without a change to training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from nbdebug.errors import DataError
from nbdebug.model.module.forward import checked, to_device
from nbdebug.model.precision import wide
from nbdebug.model.state.model_state import undisturbed
from nbdebug.training.data.batch import CountSamples, count_samples
from nbdebug.training.data.passes.held_out import HeldOutState
from nbdebug.training.data.passes.indexed_state import IndexedState, state_of_dataset
from nbdebug.training.data.sources import DatasetSource, StreamSource, as_source
from nbdebug.training.data.val_function import grad_enabled

VALIDATION_BATCH_SIZE = 256


class Validation:
    """Held-out data, evaluated in eval mode.

    Args:
        data: data as for training; a DataLoader is iterated directly.
        every: steps between two evaluations; None for once per epoch.
        gradients: True for a loss that needs gradients, as of inputs.
        count: returns the number of samples in a batch; None for the number that was read for
            it, and for ready batches the common length of its tensors.

    Attributes:
        source: the held-out samples; state: what the data hold.
    """

    def __init__(
        self,
        data: Any,
        every: int | None,
        dtype: torch.dtype,
        gradients: bool = False,
        count: CountSamples | None = None,
    ) -> None:
        self.every, self._gradients, self._count = every, gradients, count
        self.source = as_source(data, dtype, "val_data", count or count_samples)
        self.state = HeldOutState(data, _with_state(self.source))
        self._loader = data if isinstance(data, DataLoader) else None
        self._counted = self._loader is not None and not self.source.ready
        if self._loader is not None and self._counted:
            self._loader = _counting(self._loader)

    def due(self, step: int, last: bool) -> bool:
        """Tell if an evaluation is due after `step` steps; `last`: at the end of an epoch."""
        return last if self.every is None else step % self.every == 0

    def evaluate(self, session: Any) -> dict[str, float]:
        """Return mean loss and metrics over all samples, as `val_<name>`.

        Weights, gradients, buffers, attributes and random numbers stay as they are. What the
        loss counts and writes into its batches does too; what a metric collects is the user's.

        Raises:
            LossError: the loss takes a gradient, and the validation runs without.
        """
        position = session.rng.position()
        # Draws from NumPy and Python are those of training, and come back with the position.
        session.rng.detect_host_draws()
        try:
            with (
                session.rng,
                undisturbed(session.model, session.surroundings, validates=True),
                session.ready.validating(),
            ):
                session.model.eval()
                with grad_enabled(self._gradients, session.loss_name):
                    return self._means(session)
        finally:
            session.rng.seek(position)

    def _means(self, session: Any) -> dict[str, float]:
        totals: dict[str, torch.Tensor] = {}
        count = 0
        for batch, size in self._counted_batches():
            loss, outputs, targets = session.evaluate(to_device(batch, session.device))
            values = {"loss": checked(loss, session.loss_name)}
            values.update(session.metrics.measure(outputs, targets))
            for name, value in values.items():
                part = wide(torch.as_tensor(value).detach().cpu()) * size
                totals[name] = totals.get(name, torch.zeros((), dtype=torch.float64)) + part
            count += size
        if not count:
            raise DataError(
                "val_data gave no batch. A generator can be read only once: give an object whose "
                "iter() begins again, such as a list or a DataLoader."
            )
        return {f"val_{name}": float(total / count) for name, total in totals.items()}

    def batches(self) -> Iterator[Any]:
        """Yield all held-out samples, in the order of the data."""
        return (batch for batch, _ in self._read())

    def _counted_batches(self) -> Iterator[tuple[Any, int]]:
        count = self._count
        for batch, size in self._read():
            yield batch, size if count is None else count(batch)

    def _read(self) -> Iterator[tuple[Any, int]]:
        """Yield batches, each with the number of samples that were read for it."""
        source = self.source
        if self._loader is not None and self._counted:
            for size, batch in self._loader:
                yield batch, size
        elif source.ready:
            for batch in self._ready_batches():
                yield batch, count_samples(batch)
        elif isinstance(source, StreamSource):
            waiting: list[Any] = []
            for sample in source:
                waiting.append(sample)
                if len(waiting) == VALIDATION_BATCH_SIZE:
                    yield source.collate(waiting), len(waiting)
                    waiting = []
            if waiting:
                yield source.collate(waiting), len(waiting)
        else:
            for start in range(0, source.length, VALIDATION_BATCH_SIZE):
                indices = torch.arange(start, min(start + VALIDATION_BATCH_SIZE, source.length))
                yield source.fetch(indices), len(indices)

    def _ready_batches(self) -> Iterable[Any]:
        source: Any = self.source
        if isinstance(source, StreamSource):
            return source.samples
        return source.dataset if self._loader is None else self._loader


def _with_state(source: Any) -> IndexedState | None:
    """Give a dataset that is read in this process, by code of the user's, a state."""
    if not isinstance(source, DatasetSource) or source.workers is not None:
        return None
    source.state = state_of_dataset(source.dataset, source.own_collate)
    return source.state


class _CountingCollate:
    """collate_fn that also returns the number of samples; it travels to workers."""

    def __init__(self, collate: Callable[[list[Any]], Any]) -> None:
        self._collate = collate

    def __call__(self, samples: list[Any]) -> tuple[int, Any]:
        return len(samples), self._collate(samples)


def _counting(loader: DataLoader[Any]) -> DataLoader[Any]:
    """A copy of a loader that yields the number of samples with each batch."""
    counting = copy.copy(loader)
    # Workers that stay alive have the other collate_fn.
    vars(counting)["_iterator"] = None
    counting.collate_fn = _CountingCollate(loader.collate_fn)
    return counting
