"""Orders of a user-defined sampler: remembered for rewinds, recorded for a resume."""

from __future__ import annotations

import operator
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler

from nbdebug.core.attributes import attribute, has
from nbdebug.errors import CheckpointError, DataError
from nbdebug.model.state.reachable import generators_of
from nbdebug.model.state.values.copier import ValueCopier, attributes_of
from nbdebug.model.state.values.kept import MISSING, AsIs, Done, Kept, Unchanged
from nbdebug.model.state.values.places import functions_of
from nbdebug.model.state.values.plain import PlainReader, PlainWriter
from nbdebug.model.state.values.record_file import records_to_plain
from nbdebug.model.state.values.surroundings_copy import Record, restore_records
from nbdebug.training.data.passes.data_copier import FUNCTION_TYPES, DataCopier
from nbdebug.training.data.passes.function_records import FunctionRecords, moved_records
from nbdebug.training.data.passes.moved import moved
from nbdebug.training.data.seeding import derived_seed, seeded

MAX_REMEMBERED_INDICES = 8_000_000
State = list[dict[str, Kept]]
# The batches of a batch sampler, and the data that samplers of torch hold.
BATCHES, DATA_ATTRIBUTES = "_batches", ("data_source", "dataset")
FIXED_ORDERS = (list, tuple, range, np.ndarray)


class OwnOrder:
    """Draws the order of each epoch from a sampler of the user.

    The global generators are seeded for each epoch. What the sampler holds (generators, counters)
    is copied after each draw, so that a file can continue with the next epoch.

    Attributes:
        unrecordable: why a file cannot hold the state of the sampler, "" if it can.
        written: class of the sampler, if something else than drawing changed what it holds.
    """

    def __init__(
        self, sampler: Any, seed: int, begin_epoch: Callable[[int], None] = lambda epoch: None
    ) -> None:
        self._seed, self._tell_epoch = seed, begin_epoch
        self._sampler = sampler
        self._orders: dict[int, torch.Tensor] = {}
        self._states: dict[int, State] = {}
        # What the sampler held before `continue_from`, and what that has added.
        self._before: State | None = None
        self._counted_before = list[Record]()
        self._added: list[tuple[Any, str]] = []
        _, self.unrecordable = _captured(sampler)
        self._functions = _functions_of(sampler)
        self._first = self._counted()
        self._counts: dict[int, list[Record]] = {}
        self.written = ""

    def __contains__(self, epoch: int) -> bool:
        return epoch in self._orders

    def of(self, epoch: int) -> torch.Tensor:
        """Return the order of an epoch, drawn now if it is a new one."""
        known = self._orders.get(epoch)
        if known is not None:
            return known
        if not self.written and self._is_written(epoch - 1):
            self.written = type(self._sampler).__name__
        with seeded(derived_seed(self._seed, epoch)):
            self._tell_epoch(epoch)
            order = indices_in(list(self._sampler))
        self._orders[epoch] = order
        if not self.unrecordable:
            self._keep_state(epoch)
        while (
            len(self._orders) > 2 and sum(map(len, self._orders.values())) > MAX_REMEMBERED_INDICES
        ):
            oldest = min(self._orders)
            del self._orders[oldest]
            self._states.pop(oldest, None)
            self._counts.pop(oldest, None)
        return order

    def _is_written(self, epoch: int) -> bool:
        """True if the sampler does not hold any more what it held when an epoch was drawn."""
        state, now = self._states.get(epoch, []), _captured(self._sampler)[0]
        parts = zip(state, now, strict=False)
        held = [(one, new.get(name)) for before, new in parts for name, one in before.items()]
        counts = moved_records(self._counts.get(epoch, []), [self._counted()])
        return any(type(moved(one, [new])) is not AsIs for one, new in held) or any(counts)

    def _keep_state(self, epoch: int) -> None:
        self._states[epoch] = _captured(self._sampler)[0]
        self._counts[epoch] = self._counted()

    def _counted(self) -> list[Record]:
        return self._functions.copies(DataCopier())

    def record(self, epoch: int) -> dict[str, Any]:
        """Return the order of an epoch and the state after it, as plain data.

        Raises:
            DataError: the state cannot be recorded, or the epoch is no longer remembered.
        """
        if self.unrecordable or epoch not in self._states:
            raise DataError(self.unrecordable or f"The order of epoch {epoch} is not remembered.")
        writer = PlainWriter()
        state = [
            {name: writer.plain(kept) for name, kept in parts.items()}
            for parts in self._states[epoch]
        ]
        counted = records_to_plain(moved_records(self._counts[epoch], [self._first]), writer)
        return {"order": self._orders[epoch], "state": state, "counted": counted}

    def checked(self, record: Any, samples: int) -> torch.Tensor:
        """Return the order of a file, for data of so many samples.

        Raises:
            DataError: the record is not of this sampler and data.
        """
        order: Any = record.get("order") if isinstance(record, dict) else None
        state: Any = record.get("state") if isinstance(record, dict) else None
        whole = isinstance(order, torch.Tensor) and (order.ndim, order.dtype) == (1, torch.int64)
        if not whole or not len(order) or order.min() < 0 or order.max() >= samples:
            raise DataError("The order of the DataLoader's sampler does not fit the data.")
        if not isinstance(state, list) or len(state) != len(_parts(self._sampler)):
            raise DataError("The sampler of the DataLoader is not the one of the checkpoint.")
        checked: torch.Tensor = order
        return checked

    def continue_from(self, epoch: int, record: Any) -> None:
        """Continue after an epoch of a file.

        Raises:
            DataError: the record is not of this sampler.
        """
        order, state = record["order"], record["state"]
        parts, added = _parts(self._sampler), []
        reader = PlainReader(torch.device("cpu"))
        read: State = []
        for part, values in zip(parts, state, strict=True):
            missing = sorted(values.keys() - dict(attributes_of(part)).keys())
            if unknown := [name for name in missing if not _may_have(part, name)]:
                raise DataError(f"{type(part).__name__} has no {unknown[0]}, as in the checkpoint.")
            added += [(part, name) for name in missing]
            read.append({name: reader.kept(value) for name, value in values.items()})
        self._before, self._counted_before = _captured(self._sampler)[0], self._counted()
        self._added = added
        _write(parts, read)
        try:
            self._functions.write(record.get("counted", {}), self._counted_before, reader, {})
        except CheckpointError as error:
            raise DataError(f"The sampler {type(self._sampler).__name__}: {error}.") from error
        self._orders[epoch] = order
        self._keep_state(epoch)

    def take_back(self) -> None:
        """Undo `continue_from`, if there was one."""
        if self._before is not None:
            _write(_parts(self._sampler), self._before)
            restore_records(self._counted_before, {})
            for part, name in self._added:
                vars(part).pop(name, None)
            self._before, self._added = None, []
            self._orders.clear()
            self._states.clear()
            self._counts.clear()


def written_sampler(sampler: Any) -> str:
    """Class of a sampler of the user's that something else than drawing changes; "" if none.

    Args:
        sampler: the live sampler of a training.
    """
    indices = getattr(getattr(sampler, "inner", sampler), "indices", None)
    own = getattr(indices, "own", None)
    return own.written if isinstance(own, OwnOrder) else ""


def _write(parts: list[Any], state: State) -> None:
    done: Done = {}
    for part, values in zip(parts, state, strict=True):
        for name, kept in values.items():
            if isinstance(kept, Unchanged):
                continue
            now = attribute(part, name, MISSING)
            restored = kept.restored(now, done)
            if restored is not now and restored is not MISSING:
                setattr(part, name, restored)


def _captured(sampler: Any) -> tuple[State, str]:
    """Copies of what a sampler and those inside it hold, and why that is not all, or ""."""
    copier, parts = ValueCopier(), _parts(sampler)
    state: State = []
    for part in parts:
        kept = {name: copier.keep(value, name) for name, value in _held(part)}
        state.append({name: one for name, one in kept.items() if type(one) is not AsIs})
    if not copier.uncopied and (parts or isinstance(sampler, FIXED_ORDERS)):
        return state, ""
    place, kind = next(iter(copier.uncopied.items()), ("", type(sampler).__name__))
    where = f"its {place} is a {kind}" if place else f"it is a {kind}"
    return state, (
        f"The state of the sampler {type(sampler).__name__} cannot be recorded ({where}): its "
        "order could not go on after a restart."
    )


def _functions_of(sampler: Any) -> FunctionRecords:
    """Records of the functions of a sampler and of those inside it."""
    parts = list(_samplers(sampler))
    held = [pair for part in parts for pair in attributes_of(part)]
    functions = [(name, value) for name, value in held if isinstance(value, FUNCTION_TYPES)]
    return FunctionRecords({type(part) for part in parts}, functions)


def _may_have(part: Any, name: str) -> bool:
    """Tell if an object gets an attribute of a name only when it is read, from its own code."""
    codes = (function.__code__ for _, function in functions_of([type(part)]))
    return has(part, name) or any(name in code.co_names for code in codes)


def _parts(sampler: Any) -> list[Any]:
    """A sampler, the samplers that it holds, and the generators that their functions draw from."""
    parts = list(_samplers(sampler))
    generators = generators_of({type(part) for part in parts}, ())
    return [*parts, types.SimpleNamespace(**generators)] if generators else parts


def _samplers(sampler: Any) -> Iterator[Any]:
    if not has(sampler, "__dict__"):
        return
    yield sampler
    for name, value in attributes_of(sampler):
        if _is_part(name, value):
            yield from _samplers(value)


def _is_part(name: str, value: Any) -> bool:
    return isinstance(value, Sampler) or name == BATCHES


def _held(part: Any) -> Iterator[tuple[str, Any]]:
    for name, value in attributes_of(part):
        if name not in DATA_ATTRIBUTES and not _is_part(name, value):
            yield name, value


def indices_in(found: Sequence[Any]) -> torch.Tensor:
    """Indices [N] that a sampler gave.

    Raises:
        DataError: these are no whole numbers.
    """
    try:
        return torch.tensor([operator.index(index) for index in found], dtype=torch.int64)
    except TypeError:
        raise DataError(
            f"The DataLoader's sampler gave {found[0]!r:.80}: expected indices, whole numbers."
        ) from None
