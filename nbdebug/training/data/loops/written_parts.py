"""Containers, arrays and objects in batches that a loop keeps, and that its steps write into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nbdebug.errors import DataError
from nbdebug.training.data.loops.batch_parts import Content, Held
from nbdebug.training.data.loops.kept_batches import MAX_BYTES, KeptBatches

# So many parts are copied; from so many on those are let go that nobody else holds.
MAX_COPIED, MAX_HELD = 200_000, 1000
# An array of so many bytes is compared after each step.
MAX_SMALL = 2**16
TOO_LATE = (
    "The loop writes into its batches, and no copy holds what a {} held before: steps from there "
    "on cannot be made again. Write into a copy, such as batch = copy.deepcopy(batch)."
)


class PartCopy(NamedTuple):
    """Content of a part of a batch at a checkpoint."""

    held: Held
    content: Content


class _Met(NamedTuple):
    """A part that the loop was given, and what it held then; None for what was met too late."""

    held: Held
    first: Content | None


class WrittenParts:
    """Tells which parts of batches the steps of a loop write into, and puts them back.

    Attributes:
        written: True once a step wrote into one.
    """

    def __init__(self) -> None:
        self._met: dict[int, _Met] = {}
        # Bytes of copies, and of tensors and arrays that these keep alive.
        self._bytes = self._holding = 0
        self._let_go_at, self._let_go_bytes = MAX_HELD, MAX_BYTES
        self.written = False

    def begin(self, parts: Sequence[Any], arrays: bool) -> list[tuple[Any, Content]]:
        """Copy the parts of a batch before a step.

        Args:
            arrays: copy large arrays too.

        Returns:
            Those of which no copy is kept, and what they hold.
        """
        for one in parts:
            if self._known(one) is None and (arrays or not _is_large(one)):
                self._meet(one)
        unknown = [one for one in parts if self._known(one) is None]
        return [(one, Content(one)) for one in unknown if not isinstance(one, np.ndarray)]

    def end(self, parts: Sequence[Any], unknown: Sequence[tuple[Any, Content]]) -> None:
        """See if a step has written into parts of its batch."""
        for one in () if self.written else parts:
            met = self._known(one)
            if met is not None and met.first is not None and not met.first.is_in(one):
                self.written = True
        for one, content in unknown:
            if not content.is_in(one):
                self.written = True
                self._met[id(one)] = _Met(Held(one), None)

    def forget_arrays(self) -> None:
        """Take large arrays as data, which nothing is written into."""
        for key in [key for key, met in self._met.items() if _is_large(met.held.part)]:
            del self._met[key]
        self._count_bytes()

    def late(self) -> set[int]:
        """Parts of which no copy holds what they held before a step wrote into them, by id."""
        return {key for key, met in self._met.items() if met.first is None}

    def adopt(self, kept: KeptBatches, known: set[int]) -> None:
        """Take copies that were made before this step; see `WrittenBatches.adopt`."""
        for key in self.late() - known:
            if (content := kept.content_of(self._met[key].held.part)) is not None:
                self._met[key] = self._met[key]._replace(first=content)

    def capture(self) -> list[PartCopy]:
        """Copy what was written into."""
        return [
            PartCopy(met.held, Content(part))
            for met in (self._met.values() if self.written else ())
            if (part := met.held.get()) is not None
            and (met.first is None or not met.first.is_in(part))
        ]

    def check(self, copies: Sequence[PartCopy]) -> None:
        """Refuse to put back what no copy holds.

        Raises:
            DataError: there is a part of which none does.
        """
        known = {id(one.held.get()) for one in copies}
        for met in self._met.values():
            part = met.held.get()
            if part is not None and met.first is None and id(part) not in known:
                raise DataError(TOO_LATE.format(type(part).__name__))

    def restore(self, copies: Sequence[PartCopy]) -> None:
        """Put back what the parts held when these copies were made."""
        known = {id(one.held.get()): one.content for one in copies}
        for met in self._met.values() if self.written else ():
            part = met.held.get()
            content = known.get(id(part), met.first)
            if part is not None and content is not None and not content.is_in(part):
                content.write(part)

    def _known(self, part: Any) -> _Met | None:
        met = self._met.get(id(part))
        return met if met is not None and met.held.part is part else None

    def _meet(self, part: Any) -> None:
        if len(self._met) >= self._let_go_at or self._holding >= self._let_go_bytes:
            self._met = {key: met for key, met in self._met.items() if not met.held.let_go()}
            self._count_bytes()
            self._let_go_at = max(MAX_HELD, 2 * len(self._met))
            self._let_go_bytes = max(MAX_BYTES, 2 * self._holding)
        if len(self._met) < MAX_COPIED:
            content = Content(part)
            if self._bytes + content.nbytes <= MAX_BYTES:
                self._bytes += content.nbytes
                self._holding += content.holding
                self._met[id(part)] = _Met(Held(part), content)

    def _count_bytes(self) -> None:
        contents = [met.first for met in self._met.values() if met.first is not None]
        self._bytes = sum(one.nbytes for one in contents)
        self._holding = sum(one.holding for one in contents)


def _is_large(part: Any) -> bool:
    """True for an array that is compared with a copy only as long as it is not known as data."""
    return isinstance(part, np.ndarray) and part.nbytes > MAX_SMALL
