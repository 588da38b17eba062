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
from nbdebug.training.data.loops.batch_parts import Parts, parts_of
from nbdebug.training.data.loops.kept_batches import (
    MAX_BYTES,
    MAX_COMPARED_BYTES,
    KeptBatches,
    makes_anew,
)
from nbdebug.training.data.loops.written_parts import PartCopy, WrittenParts

# Batches of a loader after which one that nothing was written into is data. So long tensors are
# compared, since a write by way of `.data` has no number.
FIRST_BATCHES = 9
# Parts of a batch that are looked at in each step, though nothing was written into the first ones.
MAX_WALKED = 500
TOO_LATE = (
    "The loop writes into its batches, and no copy holds what a tensor of {:,.1f} MB held before: "
    "steps from there on cannot be made again. Write into a copy, such as x = x.clone()."
)


class BatchCopy(NamedTuple):
    """Content of a tensor at a checkpoint."""

    tensor: Callable[[], torch.Tensor | None]
    data: torch.Tensor


class BatchCopies(NamedTuple):
    """Content of what steps have written into, at a checkpoint."""

    tensors: Sequence[BatchCopy] = ()
    parts: Sequence[PartCopy] = ()


NO_COPIES = BatchCopies()


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
        self._parts, self._is_data = WrittenParts(), False

    @contextmanager
    def seen(self, batch: Any) -> Iterator[None]:
        """Context in which a step of the loop works with a batch."""
        loader = self._loader()
        if loader is not self._last:
            self._last, self._given, self._is_data = loader, 0, False
        parts = Parts([], []) if makes_anew(loader) else self._parts_of(batch)
        held = _whole(parts.tensors)
        for one in held:
            self._meet(one)
        versions = [one._version for one in held]
        unknown = self._parts.begin(parts.others, self._is_early(self._parts.written))
        try:
            yield
        finally:
            for one, version in zip(held, versions, strict=True):
                self._compare(one, version)
            self._parts.end(parts.others, unknown)
            self._given += 1
            if self._given == FIRST_BATCHES:
                self._see_data()

    def _parts_of(self, batch: Any) -> Parts:
        if self._is_data and not self._trying():
            # Nobody wrote into the first of them, and a walk through one takes long.
            return Parts(list(tensors_of(batch)), [])
        parts = parts_of(batch)
        early = self._is_early(self._parts.written)
        self._is_data = not early and len(parts.others) > MAX_WALKED
        return parts

    @property
    def may_be(self) -> bool:
        """False once it is known that no step writes into its batch, as far as was seen."""
        return self._is_early(self._written or self._parts.written)

    def _see_data(self) -> None:
        """Take what nothing was written into for data."""
        if not self._written:
            self._met.clear()
        if not self._parts.written:
            self._parts.forget_arrays()

    def _is_early(self, written: bool) -> bool:
        """True if what is met now is copied, since a step may write into it."""
        return self._given < FIRST_BATCHES or written or self._trying()

    def late(self) -> set[int]:
        """Ids of what was written into, where no copy holds what it held before."""
        return {key for key, met in self._met.items() if met.first is None} | self._parts.late()

    def adopt(self, kept: KeptBatches, known: set[int]) -> None:
        """Take copies that were made before this step of what it was the first to write into.

        Args:
            known: what was `late` before it.
        """
        for key in self._met.keys() - known:
            met = self._met[key]
            if met.first is None and (copy := kept.copy_of(met.tensor())) is not None:
                met.version, met.first = copy
        self._parts.adopt(kept, known)

    def capture(self, copy: Copy) -> BatchCopies:
        """Copy what was written into."""
        found = []
        for met in self._met.values() if self._written else ():
            one = met.tensor()
            moved = self._unseen or met.first is None
            if one is not None and (moved or one._version != met.version):
                found.append(BatchCopy(met.tensor, copy(one.detach())))
        return BatchCopies(found, self._parts.capture())

    def check(self, copies: BatchCopies) -> None:
        """Refuse to put back what no copy holds.

        Raises:
            DataError: there is a tensor, or another part of a batch, of which none does.
        """
        self._parts.check(copies.parts)
        known = {id(one.tensor()) for one in copies.tensors}
        for met in self._met.values():
            one = met.tensor()
            if one is not None and met.first is None and id(one) not in known:
                raise DataError(TOO_LATE.format(one.nbytes / 2**20))

    def restore(self, copies: BatchCopies) -> None:
        """Put back what the batches held when these copies were made."""
        self._parts.restore(copies.parts)
        known = {id(one.tensor()): one.data for one in copies.tensors}
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
        if self._is_early(self._written):
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


def _whole(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Tensors that may be written into, each once; of a part of a tensor the tensor."""
    found = {}
    for one in tensors:
        whole = one if one._base is None else one._base
        if may_be_written(whole):
            found[id(whole)] = whole
    return list(found.values())


def _equal(one: torch.Tensor, data: torch.Tensor) -> bool:
    return bitwise_equal(one.detach().cpu(), data.cpu())
