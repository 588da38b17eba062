"""Weights of attention that are one-hot before training."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

from nbdebug.checks._by_layer import ByLayer, evaluate_in
from nbdebug.checks._context import CheckContext
from nbdebug.checks._operations import bare_name
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import leaves
from nbdebug.model.origin.source_line import user_line
from nbdebug.model.precision import wide

# Rows that are looked at; scores below are those of masked keys.
MAX_ROWS, MASKED = 4096, -1e4
PLACES = {"softmax": 1, "softmin": 1}
# Operations that give the same weights in another shape, or some of them.
SAME = frozenset({
    "dropout", "to", "type_as", "contiguous", "float", "half", "bfloat16", "unsqueeze", "squeeze",
    "view", "reshape", "transpose", "permute", "expand", "getitem", "flatten", "unflatten", "T",
    "mT", "clone", "movedim", "masked_fill",
})  # fmt: skip
WEIGHING = frozenset({"matmul", "bmm", "mm", "einsum", "baddbmm", "mul", "rmul", "rmatmul"})


@dataclass
class Peaks:
    """Weights of one call.

    Attributes:
        function, line, layer: where they are made; keys: that each row can see, about.
        largest: median of the largest weight of a row; spread: median of the standard deviation
            of its scores; weighs: True if they are seen to weigh other numbers.
    """

    function: str
    line: str
    layer: str
    keys: float
    largest: float
    spread: float
    weighs: bool = False


class PeakedSoftmax(Check):
    """Checks that attention of an untrained model looks at more than one key.

    Scores of queries and keys of width d have a standard deviation of about sqrt(d). Unless they
    are divided by that, the softmax gives one key, drawn at random, a weight of almost 1: hardly
    any gradient goes back through it, and the model cannot learn where to look. Judged are
    softmaxes that weigh other numbers, in the first steps.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "peaked_softmax"
    step = 3
    order = 9
    title = "Attention before training"
    source = "Vaswani et al. (2017), scaled dot-product attention"
    explains = (
        "gradient_ratio", "zero_gradient", "unchanged_parameters", "constant_activations",
        "overfit", "affine",
    )  # fmt: skip

    MAX_LARGEST, FAIL_LARGEST = 0.99, 0.999
    MIN_KEYS, MAX_STEP = 4, 10

    def examine(self, context: CheckContext) -> Outcome:
        if context.step > self.MAX_STEP:
            return Outcome("not_applicable", "training has started; Reset to run this check.")
        watch = _Watch(context.model)
        evaluate_in(watch, context)
        found = [one for one in watch.found if one.weighs and one.keys >= self.MIN_KEYS]
        if not found:
            return Outcome("not_applicable", f"no softmax over {self.MIN_KEYS} keys weighs values.")
        peaked = [one for one in found if one.largest > self.MAX_LARGEST]
        # Of weights that are trained already, some heads look at one key.
        if 2 * len(peaked) < len(found) or not peaked:
            typical = sorted(one.largest for one in found)[len(found) // 2]
            seen = f"largest weights of about {typical:.2g} in {len(found)} calls"
            return Outcome("pass", seen, f"at most {self.MAX_LARGEST:g}")
        worst = max(peaked, key=lambda one: one.largest)
        where = ", ".join(part for part in (worst.layer, worst.line) if part)
        return Outcome(
            "fail" if worst.largest > self.FAIL_LARGEST else "warning",
            f"{worst.function}{f' ({where})' if where else ''} gives one of {worst.keys:.0f} keys "
            f"a weight of {worst.largest:.5g} before training: its scores have a standard "
            f"deviation of {worst.spread:.3g}, so that it passes hardly any gradient",
            "scores with a standard deviation of about 1",
            "Divide the scores by the square root of the width of queries and keys: "
            "softmax(q @ k.mT / d**0.5), or normalise both.",
        )  # fmt: skip


class _Watch(ByLayer):
    """Notes each softmax, and whether its result weighs a product."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.found: list[Peaks] = []
        self._weights: WeakIdKeyDictionary = WeakIdKeyDictionary()

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        # Whatever a tensor of the user's own does here, the step goes on.
        with suppress(Exception):
            self._note(bare_name(function), args, kwargs, result)
        return result

    def _note(self, name: str, args: Any, kwargs: Any, result: Any) -> None:
        if not isinstance(result, torch.Tensor) or not result.requires_grad:
            return
        if name in PLACES:
            dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
            scores = kwargs.get("input", args[0] if args else None)
            if isinstance(dim, int) and isinstance(scores, torch.Tensor):
                sign = -1 if name == "softmin" else 1
                self._weights[result] = self._peaks(name, sign * scores.detach(), dim)
            return
        if name == "scaled_dot_product_attention":
            self._note_scaled(*args, **kwargs)
            return
        given = [one for one in leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        known = [(one, self._weights[one]) for one in given if one in self._weights]
        if known and name in SAME:
            self._weights[result] = known[0][1]
        elif known and name in WEIGHING and len(given) > len(known):
            for _, peaks in known:
                peaks.weighs = True

    def _note_scaled(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
        attn_mask: torch.Tensor | None = None, dropout_p: float = 0.0, is_causal: bool = False,
        scale: float | None = None, **_: Any,
    ) -> None:  # fmt: skip
        factor = query.shape[-1] ** -0.5 if scale is None else scale
        with torch.no_grad():
            scores = factor * query.detach() @ key.detach().mT
            if is_causal:
                hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device)
                scores = scores.masked_fill(~hidden.tril(), -math.inf)
            elif attn_mask is not None and attn_mask.dtype is torch.bool:
                scores = scores.masked_fill(~attn_mask, -math.inf)
            elif attn_mask is not None:
                scores = scores + attn_mask.detach()
        self._peaks("scaled_dot_product_attention", scores, -1).weighs = True

    def _peaks(self, name: str, scores: torch.Tensor, dim: int) -> Peaks:
        with torch.no_grad():
            rows = wide(scores.movedim(dim, -1).reshape(-1, scores.shape[dim]))
            rows = rows[torch.linspace(0, len(rows) - 1, min(len(rows), MAX_ROWS)).long()]
            seen = rows.isfinite() & (rows > MASKED)
            keys = seen.sum(1)
            rows, seen, keys = (one[keys >= PeakedSoftmax.MIN_KEYS] for one in (rows, seen, keys))
            found = Peaks(name, user_line(), self.layer, 0.0, 0.0, 0.0)
            if len(rows):
                rows = rows.masked_fill(~seen, -math.inf)
                mean = rows.masked_fill(~seen, 0).sum(1, keepdim=True) / keys[:, None]
                off = (rows - mean).masked_fill(~seen, 0).square().sum(1) / keys
                found.keys = float(wide(keys).median())
                found.largest = float(rows.softmax(1).amax(1).median())
                found.spread = float(off.sqrt().median())
        self.found.append(found)
        return found
