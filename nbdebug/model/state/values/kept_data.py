"""Copies of what may be data: frames of pandas, and containers of many small tensors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.state.copying import Copy, is_plain
from nbdebug.model.state.values.kept import MISSING, Done, Kept, KeptContainer
from nbdebug.model.state.values.written import data_parts

# A frame with more cells is data, which training only reads.
MAX_CELLS = 2**21


class KeptContent(KeptContainer):
    """A container whose parts are not copied."""

    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.keys = list(value) if isinstance(value, dict) else []
        self.values = list(value.values() if isinstance(value, dict) else value)
        self.simple = True


class KeptMany(KeptContent):
    """A container of many tensors and arrays, with copies of these in one piece.

    Attributes:
        tensors: the copies of the tensors.
    """

    def __init__(self, value: Any, copy: Copy) -> None:
        super().__init__(value)
        groups = defaultdict[Any, list[torch.Tensor]](list)
        parts = list({id(part): part for part in data_parts(value)}.values())
        for part in parts:
            if isinstance(part, torch.Tensor) and may_be_written(part):
                groups[part.dtype, part.device].append(part)
        self._groups = [_Group(held, copy(_joined(held))) for held in groups.values()]
        self.tensors = [group.data for group in self._groups]
        self._arrays = [
            (part, part.copy())
            for part in parts
            if isinstance(part, np.ndarray) and part.flags.writeable and not part.dtype.hasobject
        ]

    def restored(self, current: Any, done: Done) -> Any:
        if id(self) not in done:
            for group in self._groups:
                group.restore()
            for array, data in self._arrays:
                array[...] = data
        return super().restored(current, done)


@dataclass
class _Group:
    """Tensors of one type and device, and their values one after the other."""

    held: list[torch.Tensor]
    data: torch.Tensor

    @torch.no_grad()
    def restore(self) -> None:
        sizes = [one.numel() for one in self.held]
        if sum(sizes) != len(self.data) or bitwise_equal(_joined(self.held).cpu(), self.data.cpu()):
            return
        for one, part in zip(self.held, self.data.split(sizes), strict=True):
            values = part.view(one.shape)
            # One in a graph may be read again by its backward, if nothing wrote to it.
            if not bitwise_equal(one.detach().cpu(), values.cpu()):
                one.copy_(values)


def _joined(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([one.detach().reshape(-1) for one in tensors])


def may_be_written(tensor: torch.Tensor) -> bool:
    """False for a tensor that cannot be written to, or whose writes have no number."""
    if tensor.layout is not torch.strided or tensor.is_inference() or not tensor.is_leaf:
        return False
    strides = zip(tensor.shape, tensor.stride(), strict=True)
    return type(tensor) in (torch.Tensor, torch.nn.Parameter) and all(
        stride or size <= 1 for size, stride in strides
    )


def is_frame(value: Any) -> bool:
    """True for a frame or a series of pandas itself, which is no large data."""
    kind = type(value)
    if kind.__name__ not in ("DataFrame", "Series"):
        return False
    return str(kind.__module__).partition(".")[0] == "pandas" and bool(value.size <= MAX_CELLS)


class KeptFrame(Kept):
    """A frame or a series of pandas, which is written or grown in place.

    Args:
        keep: copies the objects in its cells.
    """

    def __init__(self, value: Any, keep: Callable[[Any], Kept]) -> None:
        self._held, self._copy = value, value.copy()
        self._cells = [keep(cell) for cell in _objects(value)]

    def restored(self, current: Any, done: Done) -> Any:
        if id(self) not in done:
            done[id(self)] = self._held
            # An older pandas keeps the columns that were asked for.
            getattr(self._held, "_clear_item_cache", bool)()
            self._held.__setstate__(self._copy.copy().__getstate__())
            for cell in self._cells:
                cell.restored(MISSING, done)
        return self._held


def _objects(value: Any) -> list[Any]:
    """Cells that hold no numbers and texts."""
    dtypes = value.dtypes if value.ndim > 1 else [value.dtype]
    columns = [number for number, dtype in enumerate(dtypes) if str(dtype) == "object"]
    held = (value.iloc[:, number] if value.ndim > 1 else value for number in columns)
    return [cell for column in held for cell in column if not is_plain(cell)]


def array_to_plain(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    """An array as a list; one of rows with names, or of times, as bytes."""
    if array.dtype.kind not in "VMm":
        return {"data": array.tolist(), "dtype": str(array.dtype)}
    descr = np.lib.format.dtype_to_descr(array.dtype)
    return {"data": array.tobytes(), "dtype": descr, "shape": list(array.shape)}


def array_from_plain(data: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """The array of such data.

    Raises:
        TypeError, ValueError: the data has another form, or names objects.
    """
    if "shape" not in data:
        return np.array(data["data"], dtype=data["dtype"])
    dtype = np.lib.format.descr_to_dtype(data["dtype"])
    return np.frombuffer(data["data"], dtype).reshape(data["shape"]).copy()
