"""Fixed samples that views inside the network are made of, chosen once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from nbdebug.errors import DataError, ModelError
from nbdebug.model.module.forward import (
    arguments_of,
    detached,
    leaves,
    some_samples,
    split,
    to_device,
    with_leaves,
)
from nbdebug.model.module.hooks import before_forward
from nbdebug.model.predicting.loss_calls import LossCalls
from nbdebug.training.data.parts import column_names
from nbdebug.training.data.sources import DatasetSource, TensorSource
from nbdebug.training.data.validation import Validation
from nbdebug.training.engine.session import Session
from nbdebug.training.tasks.checking.check_data import some_batches
from nbdebug.training.tasks.inside.looking import copied, looking, reading

MAX_SAMPLES = 256
NO_CALL = "No call of the model was seen: make a step first."


@dataclass(frozen=True)
class FixedSamples:
    """Samples on the device of the model.

    Attributes:
        arguments: positional and named arguments of the model for all samples.
        targets: of the samples; None where nobody says them.
        count: number of samples; cut: False if single samples cannot be taken out.
        origin: "val_data", "train_data", "given", or "a training step".
        indices: of the samples in that data, None where samples have none.
        batch: as the loss takes it; None where it is unknown.
        whole: False if step_fn calls only modules inside of the model, so that it has no
            arguments.
        loss: name of the loss of torch that a step_fn calls, "" if none was seen.
        names: of the features of a sample, () where they have none.
    """

    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    targets: Any
    count: int
    cut: bool
    origin: str
    indices: tuple[int, ...] | None = None
    batch: Any = None
    whole: bool = True
    loss: str = ""
    names: tuple[str, ...] = ()

    @property
    def fresh(self) -> FixedSamples:
        """The same samples in copies, since a model may write to its inputs."""
        return replace(
            self,
            arguments=with_leaves(self.arguments, copied),
            batch=with_leaves(self.batch, copied),
        )

    def only(self, index: int) -> FixedSamples:
        """One of the samples, as a batch of one; all of them where they cannot be cut.

        Raises:
            DataError: there is no such sample.
        """
        if not 0 <= index < max(self.count, 1):
            raise DataError(
                f"There is no sample {index}: samples are numbered from 0 to {self.count - 1}."
            )
        if not self.cut:
            return self
        which = slice(index, index + 1)
        return replace(
            self,
            arguments=some_samples(self.arguments, which),
            targets=some_samples(self.targets, which),
            count=1,
            indices=None if self.indices is None else self.indices[which],
            batch=some_samples(self.batch, which),
        )


class FixedData:
    """Keeper of the fixed samples of a training.

    They come from validation if there is any, else from training data; of a loop of the user's
    own from the first call of the model that was seen. The order of training data and random
    numbers stay as they are.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._chosen: FixedSamples | None = None
        # The one that `of_index` read last.
        self._single: tuple[int, FixedSamples] | None = None

    def of_training(self) -> FixedSamples:
        """The samples; chosen at the first call.

        Raises:
            ModelError: no call of the model was seen yet.
            DataError: there is no data.
            Exception: whatever the user's data raised.
        """
        if self._chosen is None:
            self._chosen = self._choose()
        return self._chosen

    def of_index(self, index: int) -> FixedSamples:
        """One sample of the training data; the fixed samples stay.

        Raises:
            DataError: there is no such sample, or samples have no index.
            Exception: whatever the user's data raised.
        """
        if self._single is not None and self._single[0] == index:
            return self._single[1]
        session, source = self._session, self._session.source
        if not isinstance(source, TensorSource | DatasetSource) or source.ready or session.body:
            raise DataError("Samples of a stream or a loop of your own have no index.")
        if not 0 <= index < source.length:
            last = source.length - 1
            raise DataError(f"There is no sample {index} in train_data: they end at {last}.")
        with reading(session):
            batch = to_device(source.fetch(torch.tensor([index])), session.device)
            names = self._names(source)
            found = replace(self._read(batch, "train_data", None), indices=(index,), names=names)
        self._single = index, found
        return found

    def exchange(self, data: Any) -> FixedSamples:
        """Take other samples: a batch as training reads it, or inputs alone."""
        tensors = with_leaves(data, partial(_as_tensor, dtype=self._dtype))
        moved = to_device(tensors, self._session.device)
        try:
            inputs, targets = split(moved)
        except DataError:
            inputs, targets = moved, None
        batch = None if targets is None else moved
        arguments = _arguments(self._session.model, inputs)
        found = made(arguments, targets, "given", batch=batch)
        first = data[0] if isinstance(data, tuple | list) and len(data) else data
        self._chosen = replace(found, names=column_names(first))
        return self._chosen

    @property
    def can_choose(self) -> bool:
        """False in a loop of the user's own before its first step."""
        return self._chosen is not None or self._session.body is None

    @property
    def chosen(self) -> FixedSamples | None:
        """The samples, None before they are chosen."""
        return self._chosen

    def put_back(self, before: FixedSamples | None) -> None:
        """Take earlier samples again, as where the model refuses those of `exchange`."""
        self._chosen = before

    @property
    def _dtype(self) -> torch.dtype:
        floating = (p.dtype for p in self._session.model.parameters() if p.is_floating_point())
        return next(floating, torch.get_default_dtype())

    def note_call(self, arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
        """Keep the arguments of a call of the model, where no data tell them."""
        if self._chosen is None and self._is_unknown():
            found = made(arguments, None, "a training step")
            self._chosen = replace(found, arguments=with_leaves(found.arguments, copied))

    def _is_unknown(self) -> bool:
        session = self._session
        return session.step_fn is not None or session.body is not None

    def _choose(self) -> FixedSamples:
        session = self._session
        if session.body is not None:
            raise ModelError(NO_CALL)
        held_out = session.validation
        source = held_out.source if isinstance(held_out, Validation) else session.source
        with reading(session):
            return replace(self._read(*self._batch()), names=self._names(source))

    def _read(self, batch: Any, origin: str, indices: tuple[int, ...] | None) -> FixedSamples:
        session = self._session
        if session.step_fn is not None:
            return self._as_called(batch, origin)
        inputs, targets = split(batch)
        return made(_arguments(session.model, inputs), targets, origin, indices, batch)

    def _names(self, source: Any) -> tuple[str, ...]:
        """Names of the columns of X; a step_fn may give the model others."""
        direct = isinstance(source, TensorSource) and self._session.step_fn is None
        return source.parts[0].names if direct else ()

    def _batch(self) -> tuple[Any, str, tuple[int, ...] | None]:
        session, validation = self._session, self._session.validation
        origin, source = "train_data", session.source
        if isinstance(validation, Validation):
            origin, source = "val_data", validation.source
        if isinstance(source, TensorSource | DatasetSource) and not source.ready:
            order = torch.randperm(source.length, generator=torch.Generator().manual_seed(0))
            chosen = order[:MAX_SAMPLES].sort().values
            return to_device(source.fetch(chosen), session.device), origin, tuple(chosen.tolist())
        batches = validation.batches() if isinstance(validation, Validation) else None
        found = next(some_batches(session) if batches is None else iter(batches), None)
        if found is None:
            raise DataError(f"{origin} gave no batch: there are no samples to look at.")
        return to_device(found, session.device), origin, None

    def _as_called(self, batch: Any, origin: str) -> FixedSamples:
        """The arguments with which step_fn calls the model."""
        session, calls = self._session, list[Any]()
        hook = before_forward(
            session.model, lambda _, args, named: calls.append((args, named)), with_kwargs=True
        )
        try:
            with looking(session), torch.enable_grad(), LossCalls() as loss:
                targets = session.evaluate(batch)[2]
        finally:
            hook.remove()
        if not calls:
            found = made(batch, targets, origin)
            return replace(found, arguments=((), {}), batch=found.arguments, whole=False)
        targets = loss.targets if targets is None else targets
        return replace(made(detached(calls[0]), targets, origin, batch=batch), loss=loss.name)


def made(
    arguments: Any,
    targets: Any,
    origin: str,
    indices: tuple[int, ...] | None = None,
    batch: Any = None,
) -> FixedSamples:
    """Samples of a batch, as many as there may be."""
    tensors = [one for one in leaves(arguments) if isinstance(one, torch.Tensor) and one.ndim]
    sizes = {len(one) for one in tensors}
    cut = len(sizes) == 1
    if cut:
        # Rows of different numbers may refer to each other, as nodes and edges of a graph do.
        try:
            arguments, targets, batch = map(first_rows, (arguments, targets, batch))
        except DataError:
            cut = False
    count = min(max(sizes, default=1), MAX_SAMPLES)
    kept = None if indices is None else indices[:count]
    return FixedSamples(arguments, targets, count if cut else 1, cut, origin, kept, batch)


def first_rows(value: Any) -> Any:
    """The first samples of a batch, as many as there may be."""
    return some_samples(value, slice(MAX_SAMPLES))


def _arguments(model: torch.nn.Module, inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of the model for inputs, as `call` gives them."""
    args, named = arguments_of(model, inputs)
    return tuple(args), dict(named)


def _as_tensor(value: Any, dtype: torch.dtype) -> Any:
    """Arrays as tensors, numbers of floating point in the type of the model."""
    if callable(getattr(value, "to_numpy", None)):
        value = value.to_numpy()
    if not isinstance(value, np.ndarray):
        return value
    found = torch.as_tensor(value)
    return found.to(dtype) if found.is_floating_point() else found
