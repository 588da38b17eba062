"""State that a dataset keeps in the workers of a DataLoader, each of which has its own copy."""

from __future__ import annotations

from typing import Any

from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.state.values.kept import (
    AsIs,
    Constant,
    Kept,
    KeptArray,
    KeptGenerator,
    KeptTensor,
)
from nbdebug.training.data.passes.written.indexed_copier import IndexedCopier
from nbdebug.training.data.passes.written.large_parts import LargeParts


class WorkerState:
    """Finds numbers and random generators of a dataset that move while a worker reads it.

    What is loaded or cached by the way, such as a file that the first item opens, is no state.
    """

    def __init__(self, *data: Any) -> None:
        self._data = list(data)
        self._asked, self._next = 0, 1
        # They are compared, and copied by nobody.
        self._large, self._parts = LargeParts(lambda value, _: AsIs(value)), dict[str, Any]()
        self.begin()

    def begin(self) -> None:
        """Compare with what is there now."""
        self._before = self._values()
        self._large.compare(self._parts)

    def moved(self) -> str:
        """Place of a value that has moved, such as `Images.count`; "" if none has.

        Looks after 1, 2, 4, 8 ... calls, since looking takes time.
        """
        self._asked += 1
        if self._asked < self._next:
            return ""
        self._next *= 2
        now = self._values()
        if self._large.compare(self._parts):
            return min(self._large.written).replace("[0]", type(self._data[0]).__name__)
        for (held, name), (place, value) in self._before.items():
            _, found = now.get((held, name), (place, value))
            if not bitwise_equal(value, found):
                return place
        return ""

    def _values(self) -> dict[tuple[int, str], tuple[str, Any]]:
        """Place and value by the id of the object and the name of the attribute."""
        copier = IndexedCopier()
        copier.keep(self._data)
        self._parts = copier.parts
        return {
            (held, name): (f"{kept.kind}.{name}", value)
            for held, kept in copier.objects().items()
            for name, part in kept.parts.items()
            if (value := _value_of(part)) is not None
        }


def _value_of(kept: Kept) -> Any:
    if isinstance(kept, Constant):
        # A flag says that something was loaded.
        return kept.value if type(kept.value) in (int, float) else None
    if isinstance(kept, KeptGenerator):
        return kept.state
    return kept.data if isinstance(kept, KeptTensor | KeptArray) else None
