"""Places in data that is read bit by bit, which a new process can find again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from nbdebug.core.attributes import attribute
from nbdebug.errors import DataError
from nbdebug.model.state.model_state import RngState
from nbdebug.model.state.values.copier import ValueCopier
from nbdebug.model.state.values.kept import MISSING, Kept
from nbdebug.model.state.values.plain import PlainReader, PlainWriter
from nbdebug.training.data.passes.held_state import HeldState

KEPT_MARKS = 4


OTHER_ORDER = (
    "The {} of the data does not give the same order as before when it is read again{}: training "
    "cannot go on from the checkpoint. Make the data again, as at the beginning of the training. "
    "An order repeats itself if it comes from generators with a fixed seed, or from the global "
    "ones, which are seeded for each pass."
)


class Place(NamedTuple):
    """Number of a pass, of the next item in it, and the fingerprint of the items before."""

    number: int = 0
    read: int = 0
    fingerprint: int = 0


class CachedItem(NamedTuple):
    """An item, its bytes, the place before it, and what reading it has moved."""

    item: Any
    size: int
    place: Place
    left: Any = ()


class Mark(NamedTuple):
    """A place where reading can begin again: the beginning of a pass, or one with a state dict.

    Attributes:
        item: number of the next item, over all passes; held: state of the data there.
        state: copy of the data's own state dict; rng: states of the global generators with it.
        written: plain data of the file that the mark comes from.
    """

    item: int
    place: Place
    held: HeldState
    state: Kept | None = None
    rng: RngState | None = None
    written: Mapping[str, Any] | None = None

    def plain(self, others: Sequence[HeldState]) -> dict[str, Any]:
        """The mark as plain data; other states of the data tell what changes."""
        if self.written is not None:
            return dict(self.written)
        rng = self.rng
        return {
            "item": self.item,
            "place": list(self.place),
            "held": self.held.plain(others),
            "state": None if self.state is None else [PlainWriter().plain(self.state)],
            "rng": None if rng is None else (rng.python, rng.numpy, rng.cpu),
        }


class Marks:
    """Marks of what was read so far: of the first pass, and the last ones."""

    def __init__(self, *first: Mark) -> None:
        self._passes, self._inside = list(first), list[Mark]()

    def add(self, mark: Mark) -> None:
        """Add a mark behind the others; the pass of the last one may begin again."""
        if mark.state is not None:
            self._inside = [*self._inside[1 - KEPT_MARKS :], mark]
            return
        if self._passes and self._passes[-1].item == mark.item:
            self._passes.pop()
        self._passes.append(mark)
        if len(self._passes) > KEPT_MARKS:
            del self._passes[1]

    def before(self, item: int) -> list[Mark]:
        """Marks from which an item can be read again, in the order to try them.

        If the data holds an iterator, or a large part of it has changed, only the first one.
        """
        if not self._passes:
            return []
        first, *others = [mark for mark in self._passes if mark.item <= item]
        fits = others and not others[-1].held.moving and others[-1].held.large == first.held.large
        # From a state dict at least one item is read again, for its fingerprint.
        inside = [mark for mark in self._inside if mark.item < item]
        return [*inside[-1:], *(others[-1:] if fits else ()), first]


def offers_state(data: Any) -> bool:
    """Tell if an object of data can go on from a state dict, as those of torchdata."""
    return all(callable(attribute(data, name, None)) for name in ("state_dict", "load_state_dict"))


def copied_state(data: Any) -> Kept | None:
    """Copy of the state dict that an object of data gives; None if it cannot be copied."""
    copier = ValueCopier()
    state = copier.keep(data.state_dict())
    return None if copier.uncopied else state


def load_state(data: Any, plain: Any) -> None:
    """Give an object of data the state dict of a file."""
    state = PlainReader(torch.device("cpu")).kept(plain[0])
    data.load_state_dict(state.restored(MISSING, {}))


def write_generators(states: Any) -> None:
    """Set the global generators to the states of a file, but for those of CUDA."""
    python, numpy, cpu = states
    RngState(python, numpy, cpu, ()).restore()


def check_bookmark(bookmark: Any, item: int) -> None:
    """Refuse a bookmark of a file that has another form.

    Raises:
        DataError: it has.
    """
    try:
        places = [bookmark["place"], *(mark["place"] for mark in bookmark["marks"])]
        items = [mark["item"] for mark in bookmark["marks"]]
        fits = bookmark["item"] == item and len(places) > 1 and all(map(_is_place, places))
        fits = fits and all(type(one) is int and 0 <= one <= item for one in items)
        fits = fits and all(isinstance(mark["held"], Mapping) for mark in bookmark["marks"])
    except (KeyError, TypeError):
        fits = False
    if not fits:
        raise DataError("The checkpoint does not say where in the data it stands.")


def _is_place(found: Any) -> bool:
    return len(found) == 3 and all(type(part) is int and part >= 0 for part in found)
