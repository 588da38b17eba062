"""State of a training outside of the model, such as another network that step_fn trains."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from nbdebug.errors import CheckpointError
from nbdebug.model.state.attributes import registered, shared
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.state.copying import Copy, cloned
from nbdebug.model.state.reachable import Bind, Reached, forwards, reachable
from nbdebug.model.state.values.copier import ValueCopier
from nbdebug.model.state.values.kept import MISSING, AsIs, Kept
from nbdebug.model.state.values.likeness import Likeness
from nbdebug.model.state.values.plain import PlainReader, PlainWriter
from nbdebug.model.state.values.records import RecordCopier, Records

Root = tuple[str, Any] | tuple[str, Any, Bind | None]


class Surroundings:
    """Finds networks, optimizers, generators and tensors that the user's functions reach.

    Args:
        functions: loss, step function and metrics, by name.
        skip: returns objects that are copied elsewhere, such as the optimizer in force.
        state: objects that are copied wholly, by name.

    Attributes:
        more: returns more names and values from which the search begins, and what binds them.
        more_records: returns more copies of records, and what binds them.
        rebinds: True for a loop of the user's own, which runs on between two passes; its records
            are copied too.
    """

    def __init__(
        self,
        model: nn.Module,
        functions: Mapping[str, Any],
        skip: Callable[[], Iterable[object]],
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self._model, self._functions, self._skip = model, dict(functions), skip
        self._state = dict(state or {})
        self.more: Callable[[], Iterable[Root]] = lambda: ()
        self.more_records: Callable[[], Iterable[tuple[Kept, Bind]]] = lambda: ()
        self.rebinds = False

    def values(self) -> list[Any]:
        """Values with a state that are reached."""
        return [value for _, value in self.named()]

    def named(self) -> list[tuple[str, Any]]:
        """Values with a state that are reached, and their names."""
        return [(one.place, one.value) for one in self.reached()]

    def reached(self) -> list[Reached]:
        """Values with a state that are reached, with their names and what binds them."""
        return list(self._reached())

    def _reached(self, records: Records | None = None) -> Iterator[Reached]:
        for name, value in self._state.items():
            yield Reached(f"state[{name!r}]", value)
        roots: list[Root] = [*self._functions.items(), *forwards(self._model), *self.more()]
        yield from reachable(roots, records)

    def capture(self, copy: Copy = cloned, records: bool = False) -> SurroundingsCopy:
        """Copy the state as it is now.

        Args:
            records: copy the numbers, containers and iterators of a loop of the user's own too.
        """
        if records and self.rebinds:
            return self._with_records(RecordCopier(self._elsewhere(), shared(copy)))
        return self._copied(ValueCopier(self._elsewhere(), shared(copy)), self._reached())

    def capture_records(self) -> SurroundingsCopy:
        """Copy only the numbers, containers and iterators of a loop, and small tensors it binds."""
        return self._with_records(RecordCopier(self._elsewhere(), cloned, trained=False), _is_bound)

    def _elsewhere(self) -> set[int]:
        """Ids of what is copied elsewhere."""
        return registered(self._model) | {id(one) for one in self._skip()}

    def _copied(self, copier: ValueCopier, reached: Iterable[Reached]) -> SurroundingsCopy:
        kept: dict[str, tuple[Reached, Kept]] = {}
        for one in reached:
            found = copier.keep(one.value, one.place)
            if type(found) is not AsIs:
                kept[_free(one.place, kept)] = one, found
        return SurroundingsCopy(kept, copier.tensors, self.rebinds)

    def _with_records(
        self, copier: RecordCopier, wanted: Callable[[Reached], bool] = lambda one: True
    ) -> SurroundingsCopy:
        records = Records()
        made = self._copied(copier, filter(wanted, self._reached(records)))
        made.records = [
            *((copier.keep_record(one.value, one.place), one.bind) for one in records.found),
            *self.more_records(),
        ]
        return made

    def from_plain(self, data: Mapping[str, Any], device: torch.device) -> SurroundingsCopy:
        """Copies that a file holds, for functions of the same names.

        Raises:
            CheckpointError: the data has another form.
        """
        if not isinstance(data, Mapping):
            raise CheckpointError("What loss_fn and step_fn use is missing in the checkpoint.")
        reader, likeness = PlainReader(device), Likeness()
        # In the order of the file, since later values may refer to earlier ones.
        read = {place: reader.kept(value) for place, value in data.items()}
        now = self.capture()
        found = {}
        for place, kept in read.items():
            if place in now.places:
                reached, there = now.places[place]
                likeness.check(kept, there, place)
                found[place] = reached, kept
        return SurroundingsCopy(found, [])


class SurroundingsCopy:
    """Copies of what the user's functions reach.

    Attributes:
        places: what was reached, and its copy, by place.
        tensors: all copied tensors.
        rebound: places of variables that a loop of the user's binds anew between two passes.
        loose: those that nobody else can bind: a loop that runs on binds them with its next batch.
        records: numbers, containers and iterators of the loop, and what binds them.
    """

    def __init__(
        self, kept: Mapping[str, tuple[Reached, Kept]], tensors: list[torch.Tensor],
        rebinds: bool = False,
    ) -> None:  # fmt: skip
        self.places, self.tensors = dict(kept), tensors
        self.records: list[tuple[Kept, Bind | None]] = []
        loose = torch.Tensor, tuple
        self.rebound = {
            place
            for place, (reached, _) in self.places.items()
            if rebinds and isinstance(reached.value, loose)
        }

        self.loose = {place for place in self.rebound if self.places[place][0].bind is None}

    def restore(self) -> None:
        """Write the copies back."""
        done: dict[int, Any] = {}
        for reached, kept in self.places.values():
            value = kept.restored(reached.value, done)
            if reached.bind is not None:
                reached.bind(value)
        self.restore_records(done)

    def restore_records(self, done: dict[int, Any] | None = None) -> None:
        """Write only the copies of the loop's numbers, containers and iterators back."""
        done = {} if done is None else done
        for kept, bind in self.records:
            value = kept.restored(MISSING, done)
            if bind is not None and value is not MISSING:
                bind(value)

    def plain(self, identities: bool = False) -> dict[str, Any]:
        """The copies as plain data; see `PlainWriter`."""
        writer = PlainWriter(identities)
        return {place: writer.plain(kept) for place, (_, kept) in self.places.items()}

    def equals(self, other: SurroundingsCopy, variables: bool = True, loose: bool = True) -> bool:
        """True if both hold the same values to the bit, in the places that both have.

        The user's code may meanwhile have added a tensor to a list of its own.

        Args:
            variables: False leaves out the variables that a loop binds anew between two passes;
                loose: False only those of them that nobody else can bind.
        """
        both = self.places.keys() & other.places.keys()
        if not loose:
            both -= self.loose
        if not variables:
            both -= self.rebound
        return all(bitwise_equal(_alone(self, place), _alone(other, place)) for place in both)


def _is_bound(reached: Reached) -> bool:
    """True for a tensor, or a tuple of them, in a variable that code binds to another one."""
    return reached.bind is not None and isinstance(reached.value, torch.Tensor | tuple)


def _alone(copy: SurroundingsCopy, place: str) -> Any:
    """The plain form of one place, which does not depend on the others."""
    return PlainWriter(identities=True).plain(copy.places[place][1])


def _free(place: str, taken: Container[str]) -> str:
    """A place of its own: variables of two functions or modules may have the same name."""
    while place in taken:
        place += "'"
    return place


NO_SURROUNDINGS = SurroundingsCopy({}, [])
