"""State of data that is read by index: what a dataset, its transforms and its collate_fn hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch.utils.data import TensorDataset, default_collate

from nbdebug.errors import CheckpointError, DataError
from nbdebug.model.source_code import is_of_library
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.state.values.kept import AsIs, Done
from nbdebug.model.state.values.places import is_own
from nbdebug.model.state.values.plain import PlainWriter
from nbdebug.training.data.passes.function_records import FunctionRecords
from nbdebug.training.data.passes.held_state import HeldState
from nbdebug.training.data.passes.moved import moved
from nbdebug.training.data.passes.system_draws import is_seeded_by_system
from nbdebug.training.data.passes.written.indexed_copier import IndexedCopier
from nbdebug.training.data.passes.written.large_parts import LargeParts, SmallWriter
from nbdebug.training.data.passes.written.source_writes import told_by_source


class IndexedHeldState(HeldState):
    """Copy of the state of data that is read by index.

    What was loaded since, such as a file that the first item opens, stays when it is restored.

    Attributes:
        parts: large parts by place, copied only where reading writes into them.
        lengths: of all lists by place.
    """

    def __init__(
        self,
        data: Any,
        functions: FunctionRecords,
        large: LargeParts,
        written: Collection[str] | None = None,
    ) -> None:
        self._large, self._copied = large, frozenset(large.written if written is None else written)
        copier = IndexedCopier(self._copied)
        super().__init__(data, copier.keep(data), functions, copier)
        self.parts, self._objects = copier.parts, copier.objects()
        self._whole = copier.wholes
        self._containers = copier.containers()
        self.lengths = copier.lengths

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IndexedHeldState) or not super().__eq__(other):
            return False
        # A part without a copy was as when it was met.
        written = self._copied | other._copied
        return all(bitwise_equal(self._part(one), other._part(one)) for one in written)

    __hash__ = object.__hash__

    def _part(self, place: str) -> Any:
        kept = self._whole.get(place) or self._large.first(place)
        return kept and PlainWriter(identities=True).plain(kept)

    def _comparing(self) -> PlainWriter:
        parts = self.parts.items()
        return SmallWriter(
            {id(self._whole[at]): id(value) for at, value in parts if at in self._whole}
        )

    def restore(self) -> Done:
        now = IndexedHeldState(self._data, self._functions, self._large)
        if self._large.compare(now.parts):
            now = IndexedHeldState(self._data, self._functions, self._large)
        for place, there in now._objects.items():
            parts = self._objects[place].parts if place in self._objects else {}
            parts |= {
                name: part
                for name, part in there.parts.items()
                if type(part) is AsIs and id(part.value) not in self._containers
            }
        done = super().restore()
        uncopied = {place: self.parts[place] for place in self.parts.keys() - self._copied}
        self._large.restore_first(uncopied, done)
        return done

    def told_by_source(self) -> str:
        """Name of an attribute that reading writes into and no copy holds; "" for none."""
        copied = {id(self.parts[place]) for place in self._large.whole & self.parts.keys()}
        return told_by_source(self._objects.values(), copied)

    def without_form(self, first: IndexedHeldState) -> str:
        """Name of an attribute that has moved since and that no file can hold; "" for none."""
        for at, kept in self._objects.items():
            before = first._objects[at].parts if at in first._objects else {}
            for name, part in kept.parts.items():
                writer = PlainWriter()
                writer.plain(moved(part, [before.get(name)]))
                if writer.without_form:
                    return f"{kept.kind}.{name}"
        return ""


class IndexedState:
    """State of a dataset and its collate_fn, for positions of a sampler.

    Attributes:
        first: the state at the beginning.
        is_moving: a check looks at what several reads move; one alone is not put back.
    """

    is_moving = False

    def __init__(self, dataset: Any, collate: Any) -> None:
        # One list, so that copies of it are of the same object.
        # The code of the user's that reads a list is its collate_fn.
        plain = isinstance(dataset, list | tuple) and (is_of_library(collate) or is_own(collate))
        self._data = [] if plain else [dataset]
        self._data += [] if collate is default_collate else [collate]
        copier = IndexedCopier()
        copier.keep(self._data)
        self._functions = FunctionRecords(copier.kinds, copier.functions)
        self._large = LargeParts(lambda part, at: IndexedCopier().whole(part, at))
        self.first = self._held()
        self._large.compare(self.first.parts)
        self._told = self.first.told_by_source()

    def _held(self, written: Collection[str] | None = None) -> IndexedHeldState:
        return IndexedHeldState(self._data, self._functions, self._large, written)

    @property
    def unkept(self) -> str:
        """Place of a part that reading writes into and that is too large; "" if none was seen."""
        return self._told or self._large.unkept

    def now(self, *, sparing: bool = False) -> HeldState:
        """Copy the state as it is now.

        Args:
            sparing: take what is known of large parts; they are compared only now and then.
        """
        held = self._held()
        new = self._large.compare(held.parts, sparing=sparing)
        return self._held() if new else held

    def has_unseeded_generator(self) -> bool:
        """Tell if the data holds or reaches a random generator that nobody gave a seed."""
        copier = IndexedCopier()
        copier.keep(self._data)
        return any(
            map(is_seeded_by_system, (*copier.generators, *self._functions.generators.values()))
        )

    def plain(self, held: HeldState) -> Any:
        """Changes of a copy since the beginning, as plain data; None without any.

        Raises:
            DataError: a text has changed, which a file may not write.
        """
        if held == self.first:
            return None
        # Lists that reading writes texts into are compared with their first copies.
        parts = {id(value) for value in self.first.parts.values()}
        if new := held.texts(parts) - self.first.texts(parts) - self._large.texts():
            raise DataError(
                f"The dataset holds the text {min(map(repr, new)):.80} since training began, which "
                "is not restored from a file: training could not go on after a restart."
            )
        lengths = self.first.lengths
        grown = [place for place, size in held.large.items() if lengths.get(place) != size]
        if grown:
            raise DataError(
                f"The list {grown[0]} of the dataset has another length since training began, and "
                "is too long to be recorded: training could not go on after a restart."
            )
        if isinstance(held, IndexedHeldState) and (name := held.without_form(self.first)):
            raise DataError(
                f"{name} of the dataset is written into while samples are read, and no file can "
                "hold it: training could not go on after a restart."
            )
        return held.plain([self.first])

    def write(self, plain: Any) -> None:
        """Write the plain data of a file.

        Raises:
            DataError: the data is not as it was; nothing was changed.
        """
        before = self._held(self._large.whole)
        try:
            if not isinstance(plain, Mapping):
                raise CheckpointError("it has no form that is known")
            before.write(plain)
        except Exception as error:
            before.restore()
            raise DataError(
                f"What the dataset holds is not as in the checkpoint: {error}. Make the "
                "data again, as at the beginning of the training."
            ) from error


def state_of_dataset(dataset: Any, collate: Any) -> IndexedState | None:
    """State of a dataset and its collate_fn; None where no code of the user's reads it."""
    if type(dataset) is TensorDataset and collate is default_collate:
        return None
    return IndexedState(dataset, collate)
