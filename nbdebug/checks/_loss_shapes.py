"""Shapes of outputs and targets inside a loss, operation by operation."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from nbdebug.checks._operations import bare_name
from nbdebug.model.module.forward import tensors_of
from nbdebug.model.origin.source_line import user_line

# PAIRED was given an axis to pair it along, COLUMN one of length 1 at its end.
OUTPUT, TARGET, PAIRED, COLUMN = 1, 2, 4, 8
# Elementwise functions, of which the criteria are meant for equal shapes.
ARITHMETIC = frozenset((
    "add", "sub", "subtract", "rsub", "mul", "multiply", "div", "divide", "true_divide", "pow",
    "maximum", "minimum", "fmax", "fmin", "where", "xlogy", "logaddexp", "atan2", "hypot", "lerp",
    "addcmul", "addcdiv",
))  # fmt: skip
CRITERIA = frozenset((
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "gaussian_nll_loss", "kl_div",
    "poisson_nll_loss", "soft_margin_loss", "hinge_embedding_loss",
))  # fmt: skip
COMPARISONS = frozenset((
    "eq", "ne", "lt", "le", "gt", "ge", "isclose", "logical_and", "logical_or", "logical_xor",
))  # fmt: skip
RESHAPING = frozenset(("view", "view_as", "reshape", "reshape_as", "unflatten"))
PAIRING = frozenset((
    "unsqueeze", "expand", "expand_as", "broadcast_to", "broadcast_tensors", "meshgrid", "tile",
    "repeat", "t", "T", "mT", "transpose", "permute", "swapaxes", "movedim",
))  # fmt: skip
# Functions that choose a column of what they are given.
KEPT = frozenset(
    ("getitem", "narrow", "gather", "index_select", "take_along_dim", "split", "chunk")
)


@dataclass(frozen=True)
class Clash:
    """An operation in which outputs and targets, or two outputs, of different shapes meet.

    Attributes:
        operation: name of the function; line: of the user's code that calls it.
        outputs, targets: shapes of its arguments; both: their common shape.
        crossed: both were expanded, so that an output meets targets of others.
        paired: one of them was given an axis for this inside the loss.
    """

    operation: str
    outputs: tuple[int, ...]
    targets: tuple[int, ...]
    both: tuple[int, ...]
    crossed: bool
    paired: bool
    line: str = ""


class LossShapes(TorchFunctionMode):
    """Follows outputs and targets through a loss and records where they are broadcast.

    Only results that the gradient flows through count, of a metric all. Two arguments of the same
    number of axes, of which one was given an axis inside the loss, are paired on purpose. So are
    two outputs of which one was made a column inside the loss.

    Attributes:
        products: lines of the user's code that multiply tensors, by the shape of the result where
            that is of neither.

    Args:
        outputs, targets: arguments of the loss, in any structure.
        metric: follow them through a metric, which may compare them and has no gradient.
    """

    def __init__(self, outputs: Any, targets: Any, metric: bool = False) -> None:
        super().__init__()
        self._metric = metric
        self._names = ARITHMETIC | CRITERIA | (COMPARISONS if metric else frozenset())
        self.clashes: list[Clash] = []
        self.products: dict[tuple[int, ...], str] = {}
        self._depth = self.calls = 0
        # Tensors are kept with their marks, so that no id is used twice.
        self._marks: dict[int, tuple[torch.Tensor, int]] = {}
        for value, mark in ((outputs, OUTPUT), (targets, TARGET)):
            for tensor in tensors_of(value):
                self._marks[id(tensor)] = tensor, mark

    def enter(self, *_: Any) -> None:
        """Note that the model is called: what it makes of its inputs is no target."""
        self._depth += 1

    def leave(self, _: Any, __: Any, outputs: Any) -> None:
        """Note what a call of the model, or of a part alone, returns."""
        self._depth -= 1
        if self._depth:
            return
        self.calls += 1
        for tensor in tensors_of(outputs):
            self._marks[id(tensor)] = tensor, OUTPUT

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if self._depth:
            return func(*args, **(kwargs or {}))
        given = list(tensors_of([args, kwargs or {}]))
        known = [(tuple(each.shape), self._marks.get(id(each), (each, 0))[1]) for each in given]
        result = func(*args, **(kwargs or {}))
        # Whatever a tensor of the user's own does here, the step goes on.
        with suppress(Exception):
            self._follow(_name(func), args, known, result)
        return result

    def _follow(
        self, name: str, args: Any, known: list[tuple[tuple[int, ...], int]], result: Any
    ) -> None:
        after = tuple(getattr(result, "shape", ()))
        if name in ("mul", "multiply") and all(after != shape for shape, _ in known):
            self.products.setdefault(after, user_line())
        mark = 0
        for _, each in known:
            mark |= each
        if not mark:
            return
        if name in self._names:
            self._compare(name, known, result)
        for tensor in tensors_of(result):
            after = tuple(tensor.shape)
            paired = PAIRED if _pairs(name, args, known[0][0], after) else 0
            if _is_column(name, known[0][0], after):
                paired |= COLUMN
            fits = any(each == OUTPUT and shape == after for shape, each in known)
            ended = fits or len(after) < max(len(shape) for shape, _ in known)
            # An axis that fits an output's own is no pairing; one that is gone is none now.
            kept = mark & ~(PAIRED | COLUMN) if ended else mark
            self._marks[id(tensor)] = tensor, kept | paired

    def _compare(self, name: str, known: list[tuple[tuple[int, ...], int]], result: Any) -> None:
        outputs = [shape for shape, mark in known if mark & OUTPUT]
        targets = [shape for shape, mark in known if mark & TARGET and not mark & OUTPUT]
        flows = self._metric or any(tensor.requires_grad for tensor in tensors_of(result))
        if not targets and not any(mark & (PAIRED | COLUMN) for _, mark in known):
            # Of one number of axes, each has its own.
            outputs, targets = outputs[:1], [o for o in outputs[1:] if len(o) != len(outputs[0])]
        if not (outputs and targets and flows) or outputs[0] == targets[0]:
            return
        try:
            both = tuple(torch.broadcast_shapes(outputs[0], targets[0]))
        except RuntimeError:
            return
        crossed = both not in (outputs[0], targets[0]) and _size(both) > max(
            _size(outputs[0]), _size(targets[0])
        )
        paired = any(mark & PAIRED for _, mark in known)
        if crossed or name in CRITERIA:
            self.clashes.append(
                Clash(name, outputs[0], targets[0], both, crossed, paired, user_line())
            )


def _name(func: Any) -> str:
    """Name of a function without that of an operator: `__rsub__` and `sub_` are `sub`."""
    name, bare = str(getattr(func, "__name__", "")), bare_name(func)
    for prefix in ("r", "i"):
        if name.startswith(f"__{prefix}") and bare[1:] in ARITHMETIC | {"truediv"}:
            bare = bare[1:]
    return {"truediv": "div", "getitem": "getitem"}.get(bare, bare)


def _pairs(name: str, args: Any, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """True if an operation gives its result an axis to pair it along."""
    if name == "getitem":
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        return any(part is None for part in index)
    if name in RESHAPING:
        # An axis at the end alone makes a column of numbers, which is no pairing yet.
        return after.count(1) > before.count(1) and after[-1:] != (1,)
    return name in PAIRING and before != after


def _is_column(name: str, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """True if a view or a reduction gives its result an axis of length 1 at its end."""
    made = name in RESHAPING or (len(before) == len(after) and name not in KEPT)
    return made and after[-1:] == (1,) and before[-1:] != (1,)


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for axis in shape:
        size *= axis
    return size
