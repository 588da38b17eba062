"""NumPy arrays that tell if arithmetic on them leaves the range of their dtype."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Subset

from nbdebug.checks._wraps import Wrap, wrap_of
from nbdebug.core.contexts import contextmanager
from nbdebug.model.module.forward import leaves, with_leaves

KINDS = ("uint8", "int8", "int16", "uint16", "int32")
ARITHMETIC = (np.add, np.subtract, np.multiply, np.negative, np.square, np.power)
# Results of these are numbers that were meant to wrap, or no numbers.
ENDS = (np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.left_shift, np.right_shift,
        np.remainder, np.fmod)  # fmt: skip


class WatchedArray(np.ndarray[Any, Any]):
    """View of an array that computes integer arithmetic again in 64 bits.

    Attributes:
        wrap: the operation by which its numbers have wrapped, None without one.
        used: list that is told of a wrap which becomes a real number.
    """

    wrap: Wrap | None = None
    used: list[Wrap]

    def __array_finalize__(self, other: Any) -> None:
        self.wrap, self.used = getattr(other, "wrap", None), getattr(other, "used", [])

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Call a function of NumPy on the plain arrays, and compare."""
        plain = [_plain(one) for one in inputs]
        named = {
            key: tuple(map(_plain, value)) if key == "out" else value
            for key, value in kwargs.items()
        }
        exact = _exact(ufunc, plain) if method == "__call__" and ufunc in ARITHMETIC else None
        result = getattr(ufunc, method)(*plain, **named)
        marks = [one.wrap for one in inputs if isinstance(one, WatchedArray) and one.wrap]
        mark = marks[0] if marks and ufunc not in ENDS else None
        if not isinstance(result, np.ndarray) or result.dtype == bool:
            return result
        return self._watched(result, exact, mark, str(ufunc.__name__))

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        """Cast, and compare the numbers."""
        plain = self.view(np.ndarray)
        return self._watched(plain.astype(dtype, *args, **kwargs), plain, self.wrap, "astype")

    def _watched(self, result: Any, exact: Any, mark: Wrap | None, name: str) -> Any:
        if result.dtype.kind == "f" and mark is not None:
            self.used.append(mark)
            mark = None
        if result.dtype.name in KINDS and exact is not None and exact.shape == result.shape:
            with suppress(TypeError):
                wide = torch.from_numpy(np.ascontiguousarray(exact))
                mark = wrap_of(name, wide, torch.from_numpy(np.array(result))) or mark
        found = result.view(WatchedArray)
        found.wrap, found.used = mark, self.used
        return found


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, WatchedArray) else value


def _exact(ufunc: Any, inputs: list[Any]) -> Any:
    """Result in 64 bits; None unless all are integers that are no factor of a hash."""
    arrays = [np.asarray(one) for one in inputs]
    if any(one.dtype.kind not in "iu" or one.dtype.itemsize > 4 for one in arrays if one.ndim):
        return None
    if any(one.dtype.kind not in "iu" or abs(int(one)) >= 2**16 for one in arrays if not one.ndim):
        return None
    return ufunc(*(one.astype(np.int64) for one in arrays))


@contextmanager
def arrays_watched(dataset: Any) -> Iterator[list[Wrap]]:
    """Context in which a dataset reads views of its arrays; wraps that are used are listed."""
    used: list[Wrap] = []
    holders: list[dict[str, Any]] = []
    while isinstance(dataset, Dataset):
        holders.append(vars(dataset))
        dataset = dataset.dataset if isinstance(dataset, Subset) else None
    replaced = [
        (holder, name, value, watched)
        for holder in holders
        for name, value in holder.items()
        if (watched := _watched(value, used)) is not None
    ]
    for holder, name, _, watched in replaced:
        holder[name] = watched
    try:
        yield used
    finally:
        for holder, name, value, watched in replaced:
            if holder.get(name) is watched:
                holder[name] = value
        for holder in holders:
            _unwatch(holder)


def _unwatch(holder: dict[str, Any]) -> None:
    """Make plain arrays of the views that a dataset has kept, such as in a cache."""
    for name, value in list(holder.items()):
        if isinstance(value, dict):
            _unwatch(value)
        elif any(isinstance(one, WatchedArray) for one in leaves(value)):
            holder[name] = with_leaves(value, _plain)


def _watched(value: Any, used: list[Wrap]) -> Any:
    """A view of an array, or a list of views; None for others."""
    if isinstance(value, list) and value and all(type(one) is np.ndarray for one in value):
        found = [_watched(one, used) for one in value]
        return None if any(one is None for one in found) else found
    if type(value) is not np.ndarray or value.dtype.name not in KINDS:
        return None
    view = value.view(WatchedArray)
    view.used = used
    return view
