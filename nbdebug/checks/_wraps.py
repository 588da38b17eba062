"""Integer arithmetic beyond the range of its dtype, followed to where it is used as a number."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from nbdebug.checks._bounded import JOINING, PASSING
from nbdebug.checks._detached_derivatives import MATRICES, PRODUCTS, SUMS
from nbdebug.checks._operations import bare_name
from nbdebug.model.module.forward import tensors_of, with_leaves
from nbdebug.model.origin.source_line import user_line

NARROW = (torch.uint8, torch.int8, torch.int16, torch.int32)
ARITHMETIC = SUMS | MATRICES | {
    "mul", "multiply", "rmul", "imul", "neg", "negative", "pow", "rpow", "ipow", "square", "sum",
    "prod", "cumsum", "cumprod", "abs",
}  # fmt: skip
CASTS = frozenset((
    "to", "type", "type_as", "byte", "char", "short", "int", "float", "double", "half", "bfloat16",
))  # fmt: skip
KEEPING = ARITHMETIC | {
    "where", "clamp", "clip", "max", "min", "amax", "amin", "floordiv", "floor_divide",
}  # fmt: skip
NUMBERS = ARITHMETIC | PRODUCTS | CASTS | {"mean", "sqrt", "log", "exp"}
TENSORS = frozenset(("tensor", "as_tensor", "from_numpy"))
# A factor beyond this makes a hash of 32 bits.
MAX_FACTOR = 2**16


@dataclass(frozen=True)
class Wrap:
    """An operation whose result does not fit its dtype.

    Attributes:
        name: of the operation; line: of the user's code; dtype: name of that of the result.
        exact: one number that it should have given; given: the number that it gave.
        numbers: all of them, as they should be; None behind a further operation.
    """

    name: str
    line: str
    dtype: str
    exact: float
    given: float
    numbers: torch.Tensor | None = None


class Wraps(TorchFunctionMode):
    """Computes integer arithmetic again in 64 bits.

    A result that has wrapped is followed: it counts where it becomes a real number or leaves as
    data. It ends in a bitwise operation, a remainder, a comparison or an index, which are meant
    for such numbers, and in a cast that gives the right numbers again.

    Attributes:
        seen: number of operations that were computed again.
        used: the first wrap that was used as a number; None without one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self.used: Wrap | None = None
        self._marks = WeakIdKeyDictionary()

    def of(self, value: Any) -> Wrap | None:
        """The wrap that data contains; None without one."""
        found = (self._marks.get(one) for one in tensors_of(value))
        return self.used or next((one for one in found if one is not None), None)

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs, name, exact, mark = kwargs or {}, bare_name(function), None, None
        # Whatever the data does here, the step goes on.
        with suppress(Exception):
            exact = _exact(function, name, args, kwargs)
            mark = self._followed(name, args)
        result = function(*args, **kwargs)
        with suppress(Exception):
            if name in TENSORS and args:
                mark = getattr(args[0], "wrap", None)
            for one in tensors_of(result):
                self._note(one, name, exact, mark)
        return result

    def _followed(self, name: str, args: Any) -> Wrap | None:
        if name in PASSING or name in CASTS:
            args = args[:1]
        elif name == "where":
            args = args[1:]
        elif name not in KEEPING and name not in JOINING and name not in NUMBERS:
            return None
        found = (self._marks.get(one) for one in tensors_of(args))
        return next((one for one in found if one is not None), None)

    def _note(
        self, one: torch.Tensor, name: str, exact: torch.Tensor | None, mark: Wrap | None
    ) -> None:
        fresh = None
        if exact is not None and exact.shape == one.shape and one.dtype in NARROW:
            self.seen += 1
            fresh = wrap_of(name, exact, one)
        if mark is not None and one.is_floating_point():
            self.used = self.used or mark
        whole = not one.is_floating_point() and one.dtype != torch.bool
        if mark is not None and mark.numbers is not None and name in CASTS:
            # Such as 128 less in 8 bits, read with a sign.
            if mark.numbers.shape == one.shape and bool((mark.numbers == one).all()):
                mark = None
            fresh = None
        if fresh is not None:
            mark = fresh
        elif mark is not None and name not in PASSING:
            mark = replace(mark, numbers=None)
        if mark is None or not whole:
            self._marks.pop(one, None)
        else:
            self._marks[one] = mark


def wrap_of(name: str, exact: torch.Tensor, given: torch.Tensor) -> Wrap | None:
    """The wrap of an operation whose exact result is known; None if it has the same numbers."""
    wrong = (exact.trunc() if exact.is_floating_point() else exact) != given
    wrong &= exact.isfinite()
    if not bool(wrong.any()):
        return None
    dtype = str(given.dtype).removeprefix("torch.")
    first = float(exact[wrong].flatten()[0]), float(given[wrong].flatten()[0])
    return Wrap(name, user_line(), dtype, *first, exact)


def _exact(function: Any, name: str, args: Any, kwargs: Any) -> torch.Tensor | None:
    """Result of an operation in 64 bits; None for one that cannot wrap, or is meant to."""
    given = list(tensors_of([args, kwargs]))
    if not given or any(one.dtype == torch.bool for one in given):
        return None
    if name in CASTS:
        return given[0].detach()
    whole = all(not one.is_floating_point() and not one.is_complex() for one in given)
    if name not in ARITHMETIC or not whole or all(one.dtype == torch.int64 for one in given):
        return None
    factors = [abs(one) for one in args if isinstance(one, int)]
    if name in ("mul", "rmul", "imul", "multiply") and max(factors, default=0) >= MAX_FACTOR:
        return None

    def widened(leaf: Any) -> Any:
        return leaf.to(torch.int64, copy=True) if isinstance(leaf, torch.Tensor) else leaf

    wide = with_leaves(tuple(args), widened), with_leaves(dict(kwargs), widened)
    result: torch.Tensor = function(*wide[0], **wide[1])
    return result
