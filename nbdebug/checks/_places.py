"""Places of the largest numbers, followed to where they are used as numbers."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from nbdebug.checks._bounded import JOINING, PASSING
from nbdebug.checks._detached_derivatives import SUMS
from nbdebug.checks._operations import bare_name
from nbdebug.checks._units import ELEMENTWISE, MIXING, Units, UnitsOfTensors
from nbdebug.model.module.forward import tensors_of
from nbdebug.model.module.hooks import after_any_forward
from nbdebug.model.origin.graph import graph_nodes
from nbdebug.model.origin.source_line import user_line

# Functions that give places of numbers, and where their `dim` is.
GIVING = {
    "argmax": 1, "argmin": 1, "argsort": 1, "max": 1, "min": 1, "sort": 1, "median": 1,
    "nanmedian": 1, "mode": 1, "topk": 2, "kthvalue": 2, "cummax": 1, "cummin": 1,
}  # fmt: skip
DIFFERENCES = frozenset(("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"))
# Losses of each sample, which a factor weighs.
LOSSES = DIFFERENCES | {
    "cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "kl_div",
}  # fmt: skip
KEEPING = frozenset((
    "sum", "mean", "neg", "negative", "abs", "square", "pow", "rpow", "sqrt", "clamp", "clip",
    "relu", "reciprocal", "round",
))  # fmt: skip
INTO = frozenset(("setitem", "index_put", "masked_scatter", "copy", "scatter"))


@dataclass(frozen=True)
class Place:
    """Mark of a tensor that places are part of.

    Attributes:
        function: that gave the places; line: of the user's code.
        units: of the numbers that they are places of; width: how many numbers there were.
        plain: True for the places themselves, in whatever shape.
    """

    function: str
    line: str
    units: Units
    width: int
    plain: bool = True


@dataclass(frozen=True)
class Misuse:
    """An operation on a place and on numbers of which it is one.

    Attributes:
        place: the places; line: of the operation; certain: False if it may be meant.
        node: of the graph of the result, None without one.
    """

    place: Place
    line: str
    certain: bool
    node: Any = None


class Places(TorchFunctionMode):
    """Follows places through the operations of one step.

    A place that is an index ends there; so does one of which a remainder, a quotient without rest
    or a comparison is taken. Places may be added to, subtracted from and multiplied with other
    numbers than those that they are places of.

    Attributes:
        seen: number of calls that gave places.
    """

    def __init__(
        self, model: nn.Module, trained: Iterable[torch.Tensor], batch: Iterable[torch.Tensor]
    ) -> None:
        super().__init__()
        self.seen = 0
        self._units = UnitsOfTensors(model, trained, batch)
        self._places, self._faulty = WeakIdKeyDictionary(), WeakIdKeyDictionary()
        self._losses = WeakIdKeyDictionary()
        self._misused: list[Misuse] = []
        self._open = ExitStack()

    def __enter__(self) -> Places:
        def leave(module: nn.Module, _: Any, outputs: Any) -> None:
            with suppress(Exception):
                self._units.enter_outputs(module, outputs)

        self._open.callback(after_any_forward(leave).remove)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._open.close()

    def of(self, loss: Any) -> Misuse | None:
        """The misuse that a loss contains, the surest first; None without one."""
        found = [self._faulty[one] for one in tensors_of(loss) if one in self._faulty]
        nodes = {node for one in tensors_of(loss) for node in graph_nodes(one)}
        found += [each for each in self._misused if each.node is not None and each.node in nodes]
        return min(found, key=lambda each: not each.certain, default=None)

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name, mark, fault, units = bare_name(function), None, None, []
        # Whatever a tensor of the user's own does here, the step goes on.
        with suppress(Exception):
            units = self._units.made(name, args, kwargs)
            mark = self._followed(name, args, kwargs)
            fault = self._carried(args, kwargs) or self._misuse(name, args, kwargs)
        result = function(*args, **kwargs)
        with suppress(Exception):
            made = list(tensors_of(args[0] if name == "setitem" else result))
            if name == "setitem":
                units = [self._units.of(made[0]) | units[0]]
            self._units.put(made, units or [frozenset()])
            if name in GIVING:
                mark = self._given(name, args, kwargs, made) or mark
            for one in made:
                self._note(one, name, mark, fault)
        return result

    def _given(self, name: str, args: Any, kwargs: Any, made: list[torch.Tensor]) -> Place | None:
        """Mark of the places that this call has given."""
        source = args[0]
        if not source.is_floating_point() or not any(_is_whole(one) for one in made):
            return None
        self.seen += 1
        at = GIVING[name]
        dim = kwargs.get("dim", kwargs.get("axis", args[at] if len(args) > at else None))
        dim = -1 if dim is None and name not in ("argmax", "argmin") else dim
        width = source.shape[dim] if isinstance(dim, int) and source.dim() else source.numel()
        return Place(name, user_line(), self._units.of_source(source), width)

    def _note(self, one: torch.Tensor, name: str, mark: Place | None, fault: Misuse | None) -> None:
        whole = _is_whole(one)
        if mark is None or (name in GIVING and mark.plain and not whole):
            self._places.pop(one, None)
        else:
            self._places[one] = mark
        if fault is not None and not whole and one.dtype != torch.bool:
            fault = self._faulty[one] = replace(fault, node=one.grad_fn)
            self._misused.append(fault)
        if name in LOSSES:
            self._losses[one] = True

    def _carried(self, args: Any, kwargs: Any) -> Misuse | None:
        given = tensors_of([args, kwargs])
        return next((self._faulty[one] for one in given if one in self._faulty), None)

    def _followed(self, name: str, args: Any, kwargs: Any) -> Place | None:
        """Mark of the result of an operation on places."""
        if name in INTO:
            return self._first([args[-1], *kwargs.values()])
        if name in PASSING or name in KEEPING:
            mark = self._first(args[:1])
            return mark if mark is None or name in PASSING else replace(mark, plain=False)
        if name in JOINING:
            marks = [self._places.get(one) for one in tensors_of(args)]
            return marks[0] if all(marks) else None
        if name == "where":
            return self._first(args[1:])
        if name in SUMS or name in MIXING or name in DIFFERENCES:
            mark = self._first([args, kwargs])
            return None if mark is None else replace(mark, plain=False)
        # A quotient without rest is a row of a map.
        if name in ELEMENTWISE and not kwargs.get("rounding_mode"):
            return self._first(args)
        return None

    def _first(self, values: Any) -> Place | None:
        return next((self._places[o] for o in tensors_of(values) if o in self._places), None)

    def _misuse(self, name: str, args: Any, kwargs: Any) -> Misuse | None:
        """The misuse that an operation is."""
        summed = name in SUMS or name in DIFFERENCES or name in MIXING
        if name in INTO:
            given = [args[0], *tensors_of([args[-1], *kwargs.values()])]
        elif summed or name in ELEMENTWISE:
            given = list(tensors_of([args, kwargs]))
        else:
            return None
        for one in given:
            place = self._places.get(one)
            others = [each for each in given if each is not one and each not in self._places]
            if place is None or not others:
                continue
            same = any(place.units & self._units.of(each) for each in others)
            # The larger one of two is a mask.
            if same and (name not in ELEMENTWISE or place.width > 2):
                return Misuse(place, user_line(), True)
            weighs = name in ELEMENTWISE and place.plain and place.width > 2
            if weighs and any(each in self._losses for each in others):
                return Misuse(place, user_line(), False)
        return None


def _is_whole(one: torch.Tensor) -> bool:
    return not one.is_floating_point() and not one.is_complex() and one.dtype != torch.bool
