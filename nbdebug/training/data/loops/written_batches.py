"""Batches that a loop keeps, such as those of a list, and that its steps write into."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch

from nbdebug.core.contexts import contextmanager
from nbdebug.errors import DataError
from nbdebug.model.module.forward import tensors_of
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.state.copying import Copy
from nbdebug.model.state.values.kept_data import may_be_written
from nbdebug.training.data.loops.kept_batches import MAX_BYTES, makes_anew

# Batches of a loader after which one that nothing was written into is data, and which tensors are
# compared so long, since a write by way of `.data` has no number.
FIRST_BATCHES, MAX_COMPARED_BYTES = 9, 2**24
TOO_LATE = (
    "The loop writes into its batches, and no copy holds what a tensor of {:,.1f} MB held before: "
    "steps from there on cannot be made again. Write into a copy, such as x = x.clone()."
)


class BatchCopy(NamedTuple):
    """Content of a tensor at a checkpoint."""

    tensor: Callable[[], torch.Tensor | None]
    data: torch.Tensor


class _Met:
    """A tensor that the loop was given, what it held then, and its number of writes."""

    def __init__(self, tensor: torch.Tensor, copied: bool) -> None:
        self.tensor = weakref.ref(tensor)
        self.first = tensor.detach().clone() if copied else None
        self.version = tensor._version


class WrittenBatches:
    """Tells which batches the steps of a loop write into, and puts them back.

    A DataLoader puts its batches together anew. Of others, copies are made before the first steps;
    they are dropped where these write nothing. Nothing is kept alive.

    Args:
        loader: returns what the loop iterates over; trying: if its steps are on trial.
    """

    def __init__(self, loader: Callable[[], Any], trying: Callable[[], bool]) -> None:
        self._loader, self._trying = loader, trying
        self._met: dict[int, _Met] = {}
        self._given, self._written, self._unseen = 0, False, False
        self._last: Any = None

    @contextmanager
    def seen(self, batch: Any) -> Iterator[None]:
        """Context in which a step of the loop works with a batch."""
        loader = self._loader()
        if loader is not self._last:
            self._last, self._given = loader, 0
        held = [] if makes_anew(loader) else _whole(batch)
        for one in held:
            self._meet(one)
        versions = [one._version for one in held]
        try:
            yield
        finally:
            for one, version in zip(held, versions, strict=True):
                self._compare(one, version)
            self._given += 1
            if self._given == FIRST_BATCHES and not self._written:
                self._met.clear()

    def capture(self, copy: Copy) -> list[BatchCopy]:
        """Copy what was written into."""
        found = []
        for met in self._met.values() if self._written else ():
            one = met.tensor()
            moved = self._unseen or met.first is None
            if one is not None and (moved or one._version != met.version):
                found.append(BatchCopy(met.tensor, copy(one.detach())))
        return found

    def check(self, copies: Sequence[BatchCopy]) -> None:
        """Refuse to put back what no copy holds.

        Raises:
            DataError: there is a tensor of which none does.
        """
        known = {id(one.tensor()) for one in copies}
        for met in self._met.values():
            one = met.tensor()
            if one is not None and met.first is None and id(one) not in known:
                raise DataError(TOO_LATE.format(one.nbytes / 2**20))

    def restore(self, copies: Sequence[BatchCopy]) -> None:
        """Put back what the tensors held when these copies were made."""
        known = {id(one.tensor()): one.data for one in copies}
        for met in self._met.values():
            one = met.tensor()
            if one is None:
                continue
            data = known.get(id(one), met.first)
            if data is not None and one.shape == data.shape and not _equal(one, data):
                with torch.no_grad():
                    one.copy_(data)
            if data is met.first:
                met.version = one._version

    def _meet(self, one: torch.Tensor) -> None:
        """Copy a tensor before it is written into for the first time."""
        met = self._met.get(id(one))
        if met is not None and met.tensor() is one:
            return
        self._met = {key: met for key, met in self._met.items() if met.tensor() is not None}
        if self._given < FIRST_BATCHES or self._written or self._trying():
            used = sum(met.first.nbytes for met in self._met.values() if met.first is not None)
            if used + one.nbytes <= MAX_BYTES:
                self._met[id(one)] = _Met(one, True)

    def _compare(self, one: torch.Tensor, version: int) -> None:
        """See if a step has written into a tensor."""
        met = self._met.get(id(one))
        if one._version != version:
            self._written = True
            self._met[id(one)] = met or _Met(one, False)
        elif met is not None and met.first is not None and self._given < FIRST_BATCHES:
            unwritten = met.version == version and one.nbytes <= MAX_COMPARED_BYTES
            if unwritten and not _equal(one, met.first):
                self._written = self._unseen = True


def _whole(batch: Any) -> list[torch.Tensor]:
    """Tensors of a batch, each once; of a part of a tensor the tensor."""
    found = {}
    for one in tensors_of(batch):
        whole = one if one._base is None else one._base
        if may_be_written(whole):
            found[id(whole)] = whole
    return list(found.values())


def _equal(one: torch.Tensor, data: torch.Tensor) -> bool:
    return bitwise_equal(one.detach().cpu(), data.cpu())
