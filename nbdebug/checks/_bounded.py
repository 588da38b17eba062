"""Numbers that cannot leave a range whatever the model gives, followed through operations."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from nbdebug.checks._operations import bare_name
from nbdebug.model.module.forward import tensors_of
from nbdebug.model.origin.source_line import user_line

TOLERANCE = 1e-3
RANGES = {
    "tanh": (-1.0, 1.0), "sin": (-1.0, 1.0), "cos": (-1.0, 1.0), "erf": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0), "cosine_similarity": (-1.0, 1.0),
}  # fmt: skip
# Operations that move numbers, or take some of them.
PASSING = frozenset((
    "getitem", "view", "view_as", "reshape", "reshape_as", "transpose", "swapaxes", "t", "T", "mT",
    "permute", "movedim", "contiguous", "clone", "float", "double", "half", "to", "type", "type_as",
    "squeeze", "unsqueeze", "flatten", "unflatten", "expand", "expand_as", "chunk", "split",
    "unbind", "narrow", "detach", "roll", "flip", "masked_fill", "diagonal", "diag", "gather",
    "index_select", "masked_select", "take_along_dim", "repeat", "tile",
))  # fmt: skip
JOINING = frozenset(("cat", "concat", "stack", "hstack", "vstack"))
PRODUCTS = frozenset(("matmul", "mm", "bmm", "einsum", "linear", "inner", "dot", "mv"))
NORMS = frozenset(("norm", "vector_norm"))
SINKS = frozenset((
    "cross_entropy", "log_softmax", "logsumexp", "binary_cross_entropy_with_logits",
))  # fmt: skip
METHODS = {"truediv": "div", "true_divide": "div", "divide": "div", "multiply": "mul",
           "subtract": "sub", "imul": "mul", "itruediv": "div", "iadd": "add", "isub": "sub",
           "rmul": "mul", "radd": "add"}  # fmt: skip
UNIT, SQUARES = "rows of length 1", "products of rows of length 1"


@dataclass(frozen=True)
class Range:
    """The smallest and the largest number that can come."""

    low: float
    high: float

    def scaled(self, factor: float) -> Range:
        """The range of the numbers times a factor."""
        return Range(*sorted((self.low * factor, self.high * factor)))

    def moved(self, by: float) -> Range:
        """The range of the numbers plus a number."""
        return Range(self.low + by, self.high + by)


@dataclass(frozen=True)
class Bounded:
    """Logits in a range that were given to a function.

    Attributes:
        function: its name; line: of the user's code; range: of the logits.
        logits: as they were, without their graph; dim: axis of the classes.
    """

    function: str
    line: str
    range: Range
    logits: torch.Tensor
    dim: int


class BoundedLogits(TorchFunctionMode):
    """Follows ranges through the operations of a step, to the functions that take logits.

    Attributes:
        found: logits in a range; seen: number of calls that took any logits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Bounded] = []
        self.seen = 0
        # A Range, UNIT, SQUARES, or the tensor of which this is the norm.
        self._marks = WeakIdKeyDictionary()

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = _name(function)
        given = list(tensors_of([args, kwargs]))
        marks = [self._marks.get(one) for one in given]
        result = function(*args, **kwargs)
        # Whatever a tensor of the user's own does here, the step goes on.
        with suppress(Exception):
            self._follow(name, given, marks, (args, kwargs), result)
        return result

    def _follow(
        self, name: str, given: list[torch.Tensor], marks: list[Any], call: Any, result: Any
    ) -> None:
        if name in SINKS and given and given[0].requires_grad:
            self.seen += 1
            if isinstance(marks[0], Range):
                dim = _dim(name, given[0], *call)
                self.found.append(
                    Bounded(name, user_line(), marks[0], given[0].detach().clone(), dim)
                )
        mark = self._mark(name, given, marks, call)
        for one in tensors_of(result):
            if mark is not None and _holds(mark, one):
                self._marks[one] = mark
            else:
                self._marks.pop(one, None)

    def _mark(self, name: str, given: list[torch.Tensor], marks: list[Any], call: Any) -> Any:
        """Mark of the result of an operation; None if nothing is known of it."""
        if name == "normalize":
            p = call[1].get("p", call[0][1] if len(call[0]) > 1 else 2.0)
            return UNIT if p == 2 else None
        if name in NORMS and given:
            return given[0]
        if name in RANGES:
            return Range(*RANGES[name])
        if not given or not any(mark is not None for mark in marks):
            return None
        if name in PASSING:
            return marks[0]
        if name in JOINING:
            return _joined(marks)
        if name in PRODUCTS:
            return Range(-1.0, 1.0) if marks == [UNIT, UNIT] else None
        if name == "sum":
            return Range(-1.0, 1.0) if marks[0] == SQUARES else None
        return _of_arithmetic(name, given, marks, call)


def _of_arithmetic(name: str, given: list[torch.Tensor], marks: list[Any], call: Any) -> Any:
    args, _ = call
    if name == "div" and len(given) == 2 and marks[1] is given[0]:
        return UNIT
    if name == "mul" and marks == [UNIT, UNIT]:
        return SQUARES
    if isinstance(marks[0], torch.Tensor):
        # A norm with something added, or cut from below, lest it be 0.
        return marks[0] if name in ("add", "clamp", "clamp_min", "maximum") else None
    if name == "neg" and isinstance(marks[0], Range):
        return marks[0].scaled(-1.0)
    ranges = [mark for mark in marks if isinstance(mark, Range)]
    numbers = [one for one in map(_number, args[:2]) if one is not None]
    if len(ranges) != 1 or len(numbers) != 1:
        return None
    range_, number = ranges[0], numbers[0]
    first = isinstance(args[0], torch.Tensor) and args[0] is given[marks.index(range_)]
    if name == "mul":
        return range_.scaled(number)
    if name == "div" and first and number:
        return range_.scaled(1.0 / number)
    if name == "add":
        return range_.moved(number)
    if name == "sub" and first:
        return range_.moved(-number)
    if name in ("rsub", "sub"):
        return range_.scaled(-1.0).moved(number)
    return None


def _joined(marks: list[Any]) -> Any:
    if all(mark == UNIT for mark in marks):
        return UNIT
    if all(isinstance(mark, Range) for mark in marks):
        return Range(min(m.low for m in marks), max(m.high for m in marks))
    return None


def _number(value: Any) -> float | None:
    """A number, or that of a tensor that is not learnt; None for anything else."""
    if isinstance(value, torch.Tensor):
        return float(value) if value.numel() == 1 and not value.requires_grad else None
    return float(value) if isinstance(value, int | float) else None


def _holds(mark: Any, result: torch.Tensor) -> bool:
    """True if the numbers are in the range; those far below are hidden by a mask."""
    if not isinstance(mark, Range):
        return True
    if not result.is_floating_point() or not result.numel():
        return False
    room = TOLERANCE * max(1.0, abs(mark.high), abs(mark.low))
    values = result.detach()
    return bool((values <= mark.high + room).all()) and bool((values >= mark.low - room).any())


def _name(function: Any) -> str:
    bare = bare_name(function)
    return METHODS.get(bare, bare)


def _dim(name: str, given: torch.Tensor, args: Any, kwargs: Any) -> int:
    if name in ("log_softmax", "logsumexp"):
        dim = kwargs.get("dim", args[1] if len(args) > 1 else -1)
        return dim if isinstance(dim, int) else -1
    return min(1, given.ndim - 1)
