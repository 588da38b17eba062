"""Padding that enters a mean over the places of a sequence."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from nbdebug.checks._context import CheckContext
from nbdebug.checks._model_calls import ModelCall, watched_step
from nbdebug.checks._operations import bare_name
from nbdebug.checks._padding import Padding, padding_of
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import tensors_of, with_leaves
from nbdebug.model.origin.source_line import user_line
from nbdebug.model.precision import wide

MEANS = frozenset({"mean", "adaptive_avg_pool1d", "avg_pool1d", "embedding_bag"})
MIN_SAMPLES = 4
EXPECTED = "the same outputs with and without padding"


@dataclass(frozen=True)
class Pooled:
    """A mean or a sum of a tensor over some of its dimensions.

    Attributes:
        tensor: that is pooled; dims: over which; is_mean: False for a sum.
        line: that asked for it.
    """

    name: str
    tensor: torch.Tensor
    dims: tuple[int, ...]
    line: str

    @property
    def at(self) -> str:
        return f" ({self.line})" if self.line else ""

    @property
    def is_mean(self) -> bool:
        return self.name in MEANS


class PaddedMean(Check):
    """Checks that the padding of sequences does not enter a mean over their places.

    `x.mean(1)` divides by the length of the longest sequence and adds what stands at the padding,
    so that the answer for a sequence depends on how much it was filled up. Samples are given to
    the model with and without the places where all of them are padding: outputs are to be the
    same. Padding is found in the data: one value at the end of samples of several lengths.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "padded_mean"
    step = 3
    order = 44
    title = "Means leave padding out"
    source = "nbdebug; proof: outputs of the same samples with less padding"

    MIN_CHANGE = 0.1

    def examine(self, context: CheckContext) -> Outcome:
        step = watched_step(context)
        if isinstance(step, str):
            return Outcome("not_applicable", step)
        call = step.calls[0]
        found = next(((one, p) for one in call.inputs if (p := padding_of(one)) is not None), None)
        if found is None:
            return Outcome("not_applicable", "no input has padding of several lengths.")
        tokens, padding = found
        rows, places = _short(padding)
        if len(rows) < MIN_SAMPLES or bool(places.all()):
            return Outcome("not_applicable", "too few samples have the same padding.")
        try:
            long, before = _pooled(context, _cut(call, tokens, rows, None))
            short, after = _pooled(context, _cut(call, tokens, rows, places))
        except (RuntimeError, ValueError, IndexError, TypeError):
            return Outcome("not_applicable", "the model needs sequences of one length.")
        change = _change(long, short)
        if change is None:
            return Outcome("not_applicable", "it has an output for each place.")
        seen = f"without padding the outputs change by {change:.0%} of what they differ by"
        where = _of_places(before, after, padding.at[rows])
        if change < self.MIN_CHANGE or where is None:
            return Outcome("pass", seen, EXPECTED)
        return Outcome(
            "warning", f"the {where.name} over the places{where.at} takes in the padding: "
            f"with less padding the outputs of the same samples change by {change:.0%} of what "
            "they differ by", EXPECTED,
            "Leave padding out: m = (tokens != padding_idx).unsqueeze(-1), "
            "(x * m).sum(1) / m.sum(1).clamp(min=1).",
        )  # fmt: skip


def _short(padding: Padding) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples that are filled up most, and the places [L] that are no padding of all of them."""
    run = padding.at.sum(1)
    rows = (run >= run.float().quantile(0.5)).nonzero().flatten()
    rows = rows[run[rows] > 0]
    return rows, ~padding.at[rows].all(0)


def _cut(
    call: ModelCall, tokens: torch.Tensor, rows: torch.Tensor, places: torch.Tensor | None
) -> Any:
    """Arguments for some samples, with some places alone."""
    count, length = tokens.shape[:2]

    def cut(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or not leaf.ndim or len(leaf) != count:
            return leaf
        part = leaf[rows.to(leaf.device)]
        along = places is not None and leaf.ndim > 1 and leaf.shape[1] == length
        return part[:, places.to(leaf.device)] if along and places is not None else part

    return with_leaves(call.arguments, cut)


def _pooled(context: CheckContext, given: Any) -> tuple[list[torch.Tensor], list[Pooled]]:
    """Outputs of the model in eval mode, and the means and sums on the way."""
    args, named = given
    context.model.eval()
    watch = _Pools()
    with torch.no_grad(), watch:
        outputs = context.model(*args, **named)
    real = [one for one in tensors_of(outputs) if one.is_floating_point()]
    return real, watch.found


def _change(long: list[torch.Tensor], short: list[torch.Tensor]) -> float | None:
    """Change of the outputs [N, ...] of samples, as a share of how they differ from each other."""
    shares = []
    for one, other in zip(long, short, strict=True):
        if one.shape != other.shape:
            return None
        spread = float(wide(one).std(0).mean())
        moved = float(wide(one - other).abs().mean())
        shares.append(moved / max(spread, 1e-12))
    return max(shares, default=None)


def _of_places(before: list[Pooled], after: list[Pooled], padding: torch.Tensor) -> Pooled | None:
    """The first mean or sum over the places, which are fewer without padding, that takes it in."""
    for one, other in zip(before, after, strict=False):
        if one.name != other.name or one.tensor.ndim != other.tensor.ndim:
            return None
        for dim in one.dims:
            cut = one.tensor.shape[dim] == padding.shape[1] > other.tensor.shape[dim]
            if cut and (one.is_mean or _is_taken_in(one.tensor, dim, padding)):
                return one
    return None


def _is_taken_in(tensor: torch.Tensor, dim: int, padding: torch.Tensor) -> bool:
    """True if a tensor [N, ...] with places along a dimension is not 0 at the padding."""
    if not dim or len(tensor) != len(padding):
        return False
    return bool((tensor.movedim(dim, 1)[padding] != 0).any())


class _Pools(TorchFunctionMode):
    """Notes means and sums over dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Pooled] = []

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        with suppress(Exception):
            name = bare_name(function)
            if name in MEANS or name == "sum":
                self._note(name, args, kwargs)
        return function(*args, **kwargs)

    def _note(self, name: str, args: Any, kwargs: Any) -> None:
        tensor = args[0] if args else kwargs["input"]
        dims: Any = (-1,)
        if name == "embedding_bag":
            if kwargs.get("padding_idx") is not None or tensor.ndim != 2:
                return
        elif name in ("mean", "sum"):
            dims = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis"))
            dims = range(tensor.ndim) if dims is None else dims
            dims = (dims,) if isinstance(dims, int) else dims
        elif not tensor.is_floating_point():
            return
        dims = tuple(dim % tensor.ndim for dim in dims)
        self.found.append(Pooled(name, tensor, dims, user_line()))
