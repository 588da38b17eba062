"""Parts of a copy that differ from other copies of the same object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.state.values.kept import AsIs, Kept, KeptContainer, KeptObject
from nbdebug.model.state.values.plain import PlainWriter


def moved(kept: Kept, others: Sequence[Kept | None]) -> Kept:
    """Return a copy in which all that is the same in all others is left as it is."""
    return _Moved().of(kept, others)


class _Moved:
    def __init__(self) -> None:
        self._done: dict[int, Kept] = {}

    def of(self, kept: Kept, others: Sequence[Kept | None]) -> Kept:
        if id(kept) in self._done:
            return self._done[id(kept)]
        if isinstance(kept, KeptObject):
            if all(isinstance(one, KeptObject) and one.held is kept.held for one in others):
                return self._object(kept, others)
        elif isinstance(kept, KeptContainer) and all(_alike(kept, one) for one in others):
            return self._container(kept, others)
        same = all(one is not None and _same(kept, one) for one in others)
        return self._done.setdefault(id(kept), AsIs(None) if same else kept)

    def _object(self, kept: KeptObject, others: Sequence[Any]) -> Kept:
        made = self._done[id(kept)] = KeptObject(kept.held, kept.kind)
        for name, part in kept.parts.items():
            made.parts[name] = self.of(part, [one.parts.get(name) for one in others])
        return made

    def _container(self, kept: KeptContainer, others: Sequence[Any]) -> Kept:
        made = self._done[id(kept)] = KeptContainer(None, kept.kind)
        made.keys, made.maxlen = kept.keys, kept.maxlen
        for place, part in enumerate(kept.values):
            made.values.append(self.of(part, [one.values[place] for one in others]))
        return made


def _alike(kept: KeptContainer, other: Kept | None) -> bool:
    """Tell if two containers have the same keys, and the same objects in the same places."""
    if not isinstance(other, KeptContainer) or kept.simple or other.simple:
        return False
    if (kept.kind, kept.keys, len(kept.values)) != (other.kind, other.keys, len(other.values)):
        return False
    pairs = zip(kept.values, other.values, strict=True)
    return all(_identity(one) == _identity(there) for one, there in pairs)


def _identity(kept: Any) -> int:
    return id(getattr(kept, "held", None))


def _same(one: Kept, other: Kept) -> bool:
    left, right = (PlainWriter(identities=True).plain(kept) for kept in (one, other))
    return bitwise_equal(left, right)
