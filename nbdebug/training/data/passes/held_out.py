"""State of held-out data: validations move it, looks do not, and it goes back with a rewind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader

from nbdebug.errors import CheckpointError, DataError
from nbdebug.training.data.passes.held_state import HeldState
from nbdebug.training.data.passes.indexed_state import IndexedState
from nbdebug.training.data.passes.loader_state import order_of

States = tuple[HeldState, ...]
# States after validations that are kept; before them a rewind takes that of its checkpoint.
MAX_KEPT = 1000


@dataclass(frozen=True)
class HeldOut:
    """A copy of what held-out data hold.

    Attributes:
        after: states after the validations up to then that moved them, by step.
    """

    states: States
    after: Mapping[int, States]


NOTHING_HELD = HeldOut((), {})


class HeldOutState:
    """State of held-out data: dataset, transforms, collate_fn, and what decides their order.

    Args:
        data: as given, None without any; indexed: the state of a dataset that is read by index.
    """

    def __init__(self, data: Any, indexed: IndexedState | None) -> None:
        self._data, self._indexed = data, indexed
        self._first = self._latest = self._now()
        self._after: dict[int, States] = {}

    def _now(self) -> States:
        order = order_of(self._data) if isinstance(self._data, DataLoader) else None
        indexed = None if self._indexed is None else self._indexed.now()
        return tuple(one for one in (indexed, order) if one is not None)

    def capture(self) -> HeldOut:
        """Copy the state as it is now."""
        return HeldOut(self._now(), dict(self._after))

    def validated(self, step: int) -> None:
        """Keep the state after the validation of a step, if that has moved it."""
        now = self._now()
        if now != self._latest:
            self._latest = self._after[step] = now
            if len(self._after) > MAX_KEPT:
                del self._after[min(self._after)]

    def restore(self, held: HeldOut) -> None:
        """Write a copy back."""
        for one in held.states:
            one.restore()
        self._after, self._latest = dict(held.after), held.states

    def go_on(self, step: int, known: HeldOut) -> None:
        """Go on from a copy that was restored to the last validation up to a step.

        Steps that are made again validate only for a schedule that listens.

        Args:
            known: a later copy, which knows the states after these validations.
        """
        found = {at: states for at, states in known.after.items() if at <= step}
        if found.keys() - self._after.keys():
            self.restore(HeldOut(found[max(found)], found))

    def plain(self, held: HeldOut) -> list[Any]:
        """Changes of copies since the beginning, as plain data; empty without any.

        Raises:
            DataError: the state cannot be restored from a file.
        """
        if held.states == self._first:
            return []
        pairs = list(zip(held.states, self._first, strict=True))
        if self._indexed is None:
            return [None, *(one.plain([first]) for one, first in pairs)]
        rest = (one.plain([first]) for one, first in pairs[1:])
        return [self._indexed.plain(held.states[0]), *rest]

    def read(self, plain: Sequence[Any]) -> HeldOut:
        """The copy that a file holds; the data stay as they are.

        Raises:
            DataError: the data are not as they were.
        """
        before = self._now()
        try:
            self._write(plain, before)
            return HeldOut(self._now(), {})
        finally:
            for one in before:
                one.restore()

    def _write(self, plain: Sequence[Any], before: States) -> None:
        indexed, *rest = plain or [None]
        if indexed is not None and self._indexed is not None:
            self._indexed.write(indexed)
        for one, held in zip(rest, before[len(before) - len(rest) :], strict=False):
            try:
                held.write(one)
            except CheckpointError as error:
                raise DataError(f"val_data is not as in the checkpoint: {error}.") from error
