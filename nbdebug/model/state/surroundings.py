"""State of a training outside of the model, such as another network that step_fn trains."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from nbdebug.errors import CheckpointError
from nbdebug.model.state.attributes import registered, shared
from nbdebug.model.state.copying import SIMPLE_TYPES, Copy, cloned
from nbdebug.model.state.reachable import reachable
from nbdebug.model.state.values.copier import ValueCopier
from nbdebug.model.state.values.kept import AsIs, Kept
from nbdebug.model.state.values.kept_records import KeptHooks, KeptNames
from nbdebug.model.state.values.likeness import Likeness
from nbdebug.model.state.values.places import attributes_of_parameters, forwards
from nbdebug.model.state.values.plain import Hides, PlainReader, PlainWriter
from nbdebug.model.state.values.reached import Bind, Reached
from nbdebug.model.state.values.record_file import records_from_plain, records_to_plain
from nbdebug.model.state.values.records import RecordCopier, Records
from nbdebug.model.state.values.surroundings_copy import Record, SurroundingsCopy
from nbdebug.model.state.values.written import Wanted, WrittenData, is_large, none_of_them

Root = tuple[str, Any] | tuple[str, Any, Bind | None]


class Surroundings:
    """Finds networks, optimizers, generators and tensors that the user's functions reach.

    Args:
        functions: loss, step function and metrics, by name.
        skip: returns objects that are copied elsewhere, such as the optimizer in force.
        state: objects that are copied wholly, by name.
        training: name of the function that trains; the others only judge.

    Attributes:
        others: returns objects that another thread trains, which are left alone.
        more: returns more names and values from which the search begins, and what binds them.
        more_records: returns more copies of records, and what binds them.
        behind: is called when copies were written back.
        filled: names of cached functions whose caches were filled by what was taken back.
        rebinds: True for a loop of the user's own, which runs on between two passes.
    """

    def __init__(
        self,
        model: nn.Module,
        functions: Mapping[str, Any],
        skip: Callable[[], Iterable[object]],
        state: Mapping[str, Any] | None = None,
        training: str = "",
    ) -> None:
        self._model, self._functions, self._skip = model, dict(functions), skip
        self._state = dict(state or {})
        self.others: Callable[[], Iterable[object]] = lambda: ()
        self.more: Callable[[], Iterable[Root]] = lambda: ()
        self.more_records: Callable[[], Iterable[tuple[Kept, Bind]]] = lambda: ()
        self.behind: Callable[[], None] = lambda: None
        self.filled = set[str]()
        self.rebinds, self._training, self._written = False, training, WrittenData()

    def values(self) -> list[Any]:
        """Values with a state that are reached."""
        return [value for _, value in self.named()]

    def named(self) -> list[tuple[str, Any]]:
        """Values with a state that are reached, and their names."""
        return [(one.place, one.value) for one in self.reached()]

    def reached(self) -> list[Reached]:
        """Values with a state that are reached, with their names and what binds them."""
        others = set(map(id, self.others()))
        return [one for one in self._reached() if id(one.value) not in others]

    def _reached(
        self, records: Records | None = None, large: Wanted | None = None
    ) -> Iterator[Reached]:
        for name, value in self._state.items():
            yield Reached(f"state[{name!r}]", value)
        roots: list[Root] = [*self._functions.items(), *forwards(self._model), *self.more()]
        roots += attributes_of_parameters(self._model)
        if records is not None:
            records.spaces.append(self._model)
        yield from reachable(roots, records, large or self._written.holds)

    def of_model(self) -> set[int]:
        """Ids of the modules and tensors of the model."""
        tensors = (*self._model.parameters(), *self._model.buffers())
        return {id(one) for one in (*self._model.modules(), *tensors)}

    def everything(self) -> tuple[list[Reached], list[Reached]]:
        """Values with a state, and numbers, containers and objects of the user's, in one search."""
        records = Records()
        return list(self._reached(records)), records.found

    def capture(
        self, copy: Copy = cloned, records: bool = False, unknown: int = 0
    ) -> SurroundingsCopy:
        """Copy the state as it is now.

        Args:
            records: copy the numbers, containers, iterators and objects of the user's too.
            unknown: copy so many bytes of large tensors and arrays too of which nobody knows yet if
                a step writes into them.
        """
        large = self._written.wanted(unknown)
        if records:
            copier = RecordCopier(self._elsewhere(), shared(copy), large=large)
            return self._with_records(copier, large=large)
        return self._copied(ValueCopier(self._elsewhere(), shared(copy)), self._reached())

    def capture_records(self) -> SurroundingsCopy:
        """Copy only numbers, containers and iterators of a loop, and tensors nobody trains."""
        large = self._written.wanted()
        copier = RecordCopier(self._elsewhere(), shared(cloned), trained=False, large=large)
        return self._with_records(copier, _is_bound, large)

    def capture_for_validation(self) -> SurroundingsCopy:
        """Copy the state, and what only the loss counts.

        What the user collects in a metric or in a hook of the model stays.
        """
        training, judging = Records(), Records()
        reachable(attributes_of_parameters(self._model), training)
        for name, function in self._functions.items():
            reachable([(name, function)], training if name == self._training else judging)
        passed = {_identity(one) for one in judging.found}
        copier = RecordCopier(self._elsewhere(), cloned)
        made = self._copied(copier, self._reached())
        made.records = _copies(copier, (r for r in training.found if _identity(r) not in passed))
        return made

    def _elsewhere(self) -> set[int]:
        """Ids of what is copied elsewhere."""
        return registered(self._model) | {id(one) for one in (*self._skip(), *self.others())}

    def _copied(self, copier: ValueCopier, reached: Iterable[Reached]) -> SurroundingsCopy:
        kept: dict[str, tuple[Reached, Kept]] = {}
        for one in reached:
            found = copier.keep(one.value, one.place)
            # A batch belongs to who gives it; a name beside the loop's own is bound to it again, as
            # is that of a network or an optimizer, which the loop may exchange.
            bound = self.rebinds and one.bind is not None
            exchanged = not isinstance(one.value, torch.Tensor | tuple)
            if type(found) is not AsIs or (bound and (one.shared or exchanged)):
                kept[_free(one.place, kept)] = one, found
        made = SurroundingsCopy(kept, copier.tensors, self.rebinds)
        made.large = {place for place, (one, _) in kept.items() if is_large(one.value)}
        return made

    def _with_records(
        self,
        copier: RecordCopier,
        wanted: Callable[[Reached], bool] = lambda one: True,
        large: Wanted | None = None,
    ) -> SurroundingsCopy:
        records = Records(large or none_of_them)
        made = self._copied(copier, filter(wanted, self._reached(records, large)))
        more = [Record("", kept, bind) for kept, bind in self.more_records()]
        more += [Record("", KeptNames(space), None) for space in records.spaces]
        more.append(Record("", KeptHooks(records.spaces), None))
        made.records = [*_copies(copier, records.found), *more]
        made.large |= copier.large
        made.caches = [(one, one.cache_info().misses) for one in records.caches]
        made.filled, made.behind = self.filled, self.behind
        # A loop is refused for it before, by name.
        made.moving = {} if self.rebinds else records.moving | records.shared
        return made

    def to_plain(self, copies: SurroundingsCopy, hides: Hides) -> dict[str, Any]:
        """Copies as plain data for a file; the records of a loop are those of its run only."""
        writer = PlainWriter(hides=hides)
        places = {place: writer.plain(kept) for place, (_, kept) in copies.places.items()}
        records = () if self.rebinds else copies.records
        return {"surroundings": places, "records": records_to_plain(records, writer)}

    def from_plain(
        self, data: Mapping[str, Any], records: Any, device: torch.device
    ) -> SurroundingsCopy:
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
        made = SurroundingsCopy(found, [])
        made.behind = self.behind
        seen, copier = Records(), RecordCopier(self._elsewhere(), cloned)
        if records and not self.rebinds:
            list(self._reached(seen))
        now_there = [(one, copier.keep_record(one.value, one.place)) for one in seen.found]
        known = [kept for _, kept in found.values()]
        made.records, made.left = records_from_plain(records, reader, known, now_there)
        # What a list or an object holds comes back with it.
        inside = tuple(f"{one.place}{sign}" for one in made.records for sign in ".[")
        made.dropped = sorted(p for p in read.keys() - found.keys() if not p.startswith(inside))
        return made


def _copies(copier: RecordCopier, found: Iterable[Reached]) -> list[Record]:
    # The environment is in no file.
    named = (("" if one.value is os.environ else one.place, one) for one in found)
    return [Record(place, copier.keep_record(r.value, r.place), r.bind) for place, r in named]


def _identity(reached: Reached) -> object:
    """Key of a record: the object itself, or the place of a value that is bound again."""
    value = reached.value
    return reached.place if type(value) in SIMPLE_TYPES else id(value)


def _is_bound(reached: Reached) -> bool:
    """True for a tensor, or a tuple of them, that a step binds anew or writes into.

    Without gradient code writes into it, under whichever name it reads it.
    """
    value = reached.value
    if isinstance(value, torch.Tensor) and not value.requires_grad:
        return True
    return reached.bind is not None and isinstance(value, torch.Tensor | tuple)


def _free(place: str, taken: Container[str]) -> str:
    """A place of its own: variables of two functions or modules may have the same name."""
    while place in taken:
        place += "'"
    return place
