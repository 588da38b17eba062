"""Finds the operation that made the first NaN or Inf, in the forward or the backward pass."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from nbdebug.model.module.forward import leaves
from nbdebug.model.nonfinite import eager, is_finite
from nbdebug.model.origin.graph import graph_nodes
from nbdebug.model.origin.source_line import user_line, users_entry
from nbdebug.model.state.model_state import undisturbed
from nbdebug.model.state.surroundings import Surroundings

ROOTS = frozenset({
    "sqrt", "sqrt_", "rsqrt", "norm", "linalg_norm", "vector_norm", "linalg_vector_norm", "std",
    "var", "pow", "pow_", "__pow__", "float_power", "cdist", "pairwise_distance", "pdist", "dist",
    "cosine_similarity",
})  # fmt: skip
LOGARITHMS = frozenset({
    "log", "log_", "log2", "log10", "log1p", "logit", "xlogy", "special_xlogy",
    "binary_cross_entropy",
})  # fmt: skip
DIVISIONS = frozenset({
    "div", "div_", "true_divide", "__truediv__", "__rtruediv__", "__rdiv__", "rdiv", "reciprocal",
})  # fmt: skip
READS = frozenset({"__get__", "isfinite", "isnan", "isinf", "nan_to_num", "where", "masked_fill"})


@dataclass(frozen=True)
class NonFiniteOperation:
    """The operation that made the first NaN or Inf.

    Attributes:
        name: of the function, such as "sqrt"; line: of the user's code, "" if it is not known.
        backward: whether its gradient is meant.
        zeros, values: how many of the numbers that it worked on are 0, and their count.
        low, high: smallest and largest of them.
        rows: rows [R] of the result with NaN or Inf, empty where all or none are known.
        length: number of rows.
    """

    name: str
    line: str
    backward: bool
    zeros: int = 0
    values: int = 0
    low: float = 0.0
    high: float = 0.0
    rows: tuple[int, ...] = ()
    length: int = 0

    def __str__(self) -> str:
        what = f"the gradient of {self.name}" if self.backward else self.name
        text = f"{what} ({self.line})" if self.line else what
        if self.zeros:
            are = "is" if self.zeros == 1 else "are"
            text += f": {self.zeros:,} of the {self.values:,} numbers that it takes {are} 0"
        elif self.values:
            text += f", which takes numbers from {self.low:.3g} to {self.high:.3g}"
        return text

    @property
    def advice(self) -> str:
        """Recommended action, "" where only the step size may be the reason."""
        if not self.zeros and not (self.low < 0 and self.name in LOGARITHMS | ROOTS):
            return ""
        if self.name in ROOTS and self.low < 0:
            return "A root takes no negative numbers: clamp them to at least 0."
        if self.name in ROOTS:
            return (
                "Add a small constant, such as 1e-8, before the root: its slope at 0 is infinite."
            )
        if self.name in LOGARITHMS and self.low < 0:
            return (
                "A logarithm takes no negative numbers: use a softmax or sigmoid before it, or "
                "a loss that takes logits."
            )
        if self.name in LOGARITHMS:
            return "Clamp what the logarithm takes to at least 1e-8, or work with logits."
        if self.name in DIVISIONS:
            return "Add a small constant, such as 1e-8, to the divisor."
        return ""


def first_in_forward(
    model: nn.Module, forward: Callable[[], Any], around: Surroundings | None = None
) -> NonFiniteOperation | None:
    """Run `forward` once more and name the first operation whose result is NaN or Inf.

    Its arguments were finite. Everything is restored, as by `first_nonfinite`. None where only
    functions of the user's own, which are not seen, made it.
    """
    watch = _Forward()
    try:
        with undisturbed(model, around), torch.no_grad(), eager(model), watch:
            forward()
    except BaseException:
        if watch.found is None:
            raise
    return watch.found


class _Forward(TorchFunctionMode):
    """Looks at the result of each operation until one is NaN or Inf."""

    def __init__(self) -> None:
        super().__init__()
        self.found: NonFiniteOperation | None = None

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = str(getattr(function, "__name__", function))
        if self.found is not None or name in READS:
            return function(*args, **kwargs)
        given = [one.detach() for one in leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        # In-place operations write over what they are given.
        given = [one.clone() for one in given] if name.endswith("_") else given
        finite = all(map(is_finite, given))
        result = function(*args, **kwargs)
        made = [one for one in leaves(result) if isinstance(one, torch.Tensor)]
        if finite and not all(map(is_finite, made)):
            divides = name in DIVISIONS and len(given) > 1
            worked_on = given[-1 if divides else 0] if given else None
            bad = next(one for one in made if not is_finite(one))
            self.found = _operation(name, user_line(), False, worked_on, bad)
        return result


def first_in_backward(
    model: nn.Module, forward: Callable[[], torch.Tensor], around: Surroundings | None = None
) -> NonFiniteOperation | None:
    """Make the backward pass once more and name the first operation with a NaN or Inf gradient.

    The gradient that came to it was finite. Everything is restored.

    Args:
        forward: returns the loss.
    """
    found: list[NonFiniteOperation] = []
    with undisturbed(model, around), torch.enable_grad(), eager(model):
        with torch.autograd.set_detect_anomaly(True, check_nan=False):
            loss = forward()
        hooks = [
            node.register_hook(_note(node, found))
            for node in graph_nodes(loss)
            if not hasattr(node, "variable")
        ]
        try:
            loss.backward()
        finally:
            for hook in hooks:
                hook.remove()
    return found[0] if found else None


def _note(node: Any, found: list[NonFiniteOperation]) -> Callable[[Any, Any], None]:
    def note(made: Any, given: Any) -> None:
        if found or not all(is_finite(one) for one in given if one is not None):
            return
        bad = next((one for one in made if one is not None and not is_finite(one)), None)
        if bad is None:
            return
        name = re.sub(r"(Backward\d*|\d+)$", "", str(node.name()))
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("::")[-1]
        line = users_entry(node.metadata.get("traceback_", ()))
        found.append(_operation(name, line, True, _saved(node, name), bad))

    return note


def _saved(node: Any, name: str) -> torch.Tensor | None:
    """The numbers that an operation worked on: the divisor, else its argument or its result."""
    order = ("other", "self", "result") if name in DIVISIONS else ("self", "input", "result")
    for part in order:
        try:
            value = getattr(node, f"_saved_{part}", None)
        except RuntimeError:
            # The backward pass has freed it.
            value = None
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            return value.detach()
    return None


def _operation(
    name: str, line: str, backward: bool, worked_on: torch.Tensor | None, bad: torch.Tensor
) -> NonFiniteOperation:
    rows = _bad_rows(bad)
    length = len(bad) if bad.ndim else 0
    if worked_on is None or not _is_plain(worked_on):
        return NonFiniteOperation(name, line, backward, rows=rows, length=length)
    low, high = float(worked_on.min()), float(worked_on.max())
    zeros = int((worked_on == 0).sum())
    return NonFiniteOperation(
        name, line, backward, zeros, worked_on.numel(), low, high, rows, length
    )


def _is_plain(tensor: torch.Tensor) -> bool:
    """True for real numbers in the usual layout, of which smallest and largest are known."""
    plain = tensor.layout is torch.strided and not tensor.is_nested
    return plain and tensor.numel() > 0 and tensor.is_floating_point()


def _bad_rows(tensor: torch.Tensor) -> tuple[int, ...]:
    """Rows of a tensor [N, ...] with NaN or Inf, () if all are such."""
    if not tensor.ndim or tensor.layout is not torch.strided or tensor.is_nested:
        return ()
    bad = ~torch.isfinite(tensor.detach()).reshape(len(tensor), -1).all(1)
    rows = tuple(bad.nonzero().flatten().tolist())
    return rows if len(rows) < len(tensor) else ()
