"""Units of numbers: what is computed in the same way from the same network has the same one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

from nbdebug.checks._bounded import JOINING, PASSING
from nbdebug.checks._detached_derivatives import MATRICES, PRODUCTS, SUMS
from nbdebug.checks._operations import LIKE_ANOTHER, is_new
from nbdebug.model.module.forward import tensors_of

Units = frozenset[int]
NONE: Units = frozenset()
# Operations that choose among numbers, or average them.
CHOOSING = frozenset((
    "max", "min", "amax", "amin", "topk", "sort", "msort", "median", "nanmedian", "kthvalue",
    "mode", "cummax", "cummin", "mean", "nanmean", "sum", "nansum", "clamp", "clip", "neg",
    "negative", "scatter", "masked_scatter", "index_put", "abs",
))  # fmt: skip
# Operations of which each result is one of the arguments.
MIXING = frozenset(("where", "maximum", "minimum", "fmax", "fmin", "lerp"))
PARTS = frozenset(("split", "chunk", "unbind", "narrow", "select"))
MOVING = (PASSING | CHOOSING) - PARTS - {"getitem"}
ELEMENTWISE = PRODUCTS - MATRICES
MAX_UNITS, MAX_PARTS = 4, 64


class UnitsOfTensors:
    """Units of the tensors of one step, by the operations that made them.

    Sums have the units of all their terms; choices, averages, masks and factors keep them; any
    other operation makes a new unit. Columns of one tensor have a unit each. The outputs of a
    frozen network have those of the trained network of the same shape.

    Args:
        model: the network that is trained; trained: the parameters that the optimizer changes.
        batch: tensors of the data, each with a unit of its own.
    """

    def __init__(
        self, model: nn.Module, trained: Iterable[torch.Tensor], batch: Iterable[torch.Tensor]
    ) -> None:
        self._trained = {id(p) for p in trained if p.requires_grad}
        self._numbers: dict[Hashable, int] = {}
        self._units = WeakIdKeyDictionary()
        self._twins: dict[Hashable, list[nn.Module]] = {}
        for module in model.modules():
            if self._learns(module):
                self._twins.setdefault(_signature(module), []).append(module)
        for place, one in enumerate(batch):
            if one.is_floating_point():
                self._units[one] = self._one("batch", place)

    def of(self, tensor: torch.Tensor) -> Units:
        """Units of a tensor; none of one of which nothing is known."""
        if isinstance(tensor, nn.Parameter):
            return self._one("parameter", id(tensor))
        found: Units = self._units.get(tensor, NONE)
        return found

    def of_source(self, tensor: torch.Tensor) -> Units:
        """Units of a tensor of which places are taken; one of its own if it has none."""
        if not self.of(tensor):
            self._units[tensor] = self._one("source", len(self._numbers))
        return self.of(tensor)

    def enter_outputs(self, module: nn.Module, outputs: Any) -> None:
        """Give the outputs of a module with parameters their units."""
        if next(module.parameters(), None) is None:
            return
        twins = [] if self._learns(module) else self._twins.get(_signature(module), [])
        known = twins[0] if len(twins) == 1 else module
        for place, one in enumerate(tensors_of(outputs)):
            if one.is_floating_point():
                self._units[one] = self._one("outputs", id(known), place)

    def made(self, name: str, args: Any, kwargs: Any) -> list[Units]:
        """Units of the results of an operation: of each result, or one entry for all."""
        if is_new(name):
            return [NONE]
        given = list(tensors_of(args[:1] if name in LIKE_ANOTHER else [args, kwargs]))
        units = [self.of(one) for one in given]
        every = NONE.union(*units)
        if not every or name in MOVING or name in JOINING or name in SUMS or name in MIXING:
            return [self._capped(every)]
        if name == "getitem":
            return [self._part(args[0], args[1])]
        if name in PARTS:
            dim = _dim(name, args, kwargs)
            key = repr(args[2]) if name in ("narrow", "select") and len(args) > 2 else ""
            parts = [self._of(("part", key, place), units[0]) for place in range(MAX_PARTS)]
            return parts if dim else units[:1]
        if name in ELEMENTWISE:
            numbers = [u for one, u in zip(given, units, strict=True) if not _is_factor(one)]
            if len(numbers) == 1:
                return numbers
        return [self._of((name,), every)]

    def put(self, results: Sequence[torch.Tensor], units: list[Units]) -> None:
        """Note the units of the results of an operation."""
        for place, one in enumerate(results):
            found = units[min(place, len(units) - 1)]
            if one.is_floating_point() and found:
                self._units[one] = found
            else:
                self._units.pop(one, None)

    def _learns(self, module: nn.Module) -> bool:
        return any(id(p) in self._trained for p in module.parameters())

    def _one(self, *key: Hashable) -> Units:
        return frozenset((self._numbers.setdefault(key, len(self._numbers)),))

    def _of(self, key: tuple[Hashable, ...], units: Units) -> Units:
        return self._one(*key, units) if units else NONE

    def _capped(self, units: Units) -> Units:
        return units if len(units) <= MAX_UNITS else self._one("sum", units)

    def _part(self, tensor: torch.Tensor, index: Any) -> Units:
        """Units of what an index takes: a column alone has one of its own."""
        index = index if isinstance(index, tuple) else (index,)
        fixed = tuple(
            repr(part)
            for dim, part in enumerate(index)
            if dim and not _is_any(part) and tensor.shape[-1:] != (1,)
        )
        return self._of(("part", *fixed), self.of(tensor)) if fixed else self.of(tensor)


def _is_any(part: Any) -> bool:
    """True for an index that takes no fixed columns: all, chosen ones, or all but the ends."""
    if isinstance(part, slice):
        first, last = part.start or 0, part.stop
        plain = isinstance(first, int) and (last is None or isinstance(last, int))
        return plain and first >= 0 and (last is None or (last < 0 and not first))
    return not isinstance(part, int) or isinstance(part, bool)


def _dim(name: str, args: Any, kwargs: Any) -> int:
    place = 2 if name in ("split", "chunk") else 1
    found = kwargs.get("dim", args[place] if len(args) > place else 0)
    return found if isinstance(found, int) else 0


def _is_factor(one: torch.Tensor) -> bool:
    """True for a mask or a single number, which changes no unit."""
    if not one.dim() or one.dtype == torch.bool:
        return True
    return one.numel() > 2 and bool(((one == 0) | (one == 1)).all())


def _signature(module: nn.Module) -> Hashable:
    shapes = tuple((name, tuple(p.shape)) for name, p in module.named_parameters())
    return type(module).__qualname__, shapes
