"""Axes that were exchanged by a change of shape."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from nbdebug.checks._by_layer import ByLayer, evaluate_in
from nbdebug.checks._context import CheckContext
from nbdebug.checks._model_calls import batch_tensors
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.origin.source_line import user_line

SHAPING = frozenset({"view", "reshape", "view_as", "reshape_as"})
COLOURS, MIN_SIDE = (2, 3, 4), 8


class ScrambledAxes(Check):
    """Checks that no axes are exchanged by .view() or .reshape().

    [N, H, W, C] as [N, C, H, W], or [N, T, heads, D] as [N, heads, T, D], has the right shape and
    the wrong numbers: the order in memory stays, so that each channel gets stripes of all of them.
    The operations of the model are watched, and images of a few channels are compared with what
    they are if their memory is read with the channels last.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "scrambled_axes"
    step = 2
    order = 7
    title = "Axes are permuted, not reshaped"
    source = "PyTorch, Tensor.view and Tensor.permute"
    explains = ("baselines", "overfit")

    MAX_ROUGHNESS = 0.5

    def examine(self, context: CheckContext) -> Outcome:
        expected = "axes that are exchanged by permute"
        for images in batch_tensors(context):
            ratio = _roughness_of_channels_last(images)
            if ratio is not None and ratio < self.MAX_ROUGHNESS:
                n, c, h, w = images.shape
                return Outcome(
                    "warning", f"images {(n, c, h, w)} are smooth only if their memory is read as "
                    f"{(n, h, w, c)}: neighbours then differ by {ratio:.0%} of what they do now",
                    expected, "Make the images by .permute(0, 3, 1, 2) or numpy.moveaxis, not by "
                    ".reshape() or .view().",
                )  # fmt: skip
        watch = _Shapes(context.model, len(max(batch_tensors(context), key=len, default=())))
        evaluate_in(watch, context)
        if watch.found is None:
            return Outcome("pass", f"{watch.seen} changes of shape keep the axes", expected)
        return Outcome(
            "warning", watch.found, expected,
            "Exchange axes by .permute() or .transpose(), before any change of shape.",
        )  # fmt: skip


class _Shapes(ByLayer):
    """Notes the first change of shape whose result has the same axes in another order."""

    def __init__(self, model: nn.Module, samples: int) -> None:
        super().__init__(model)
        self._samples = samples
        self.found: str | None = None
        self.seen = 0

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        name = str(getattr(function, "__name__", ""))
        given = args[0] if args else None
        if name in SHAPING and isinstance(given, torch.Tensor):
            self.seen += 1
            before, after = tuple(given.shape), tuple(result.shape)
            if self.found is None and self._exchanges(before, after):
                where = f" in layer {self.layer}" if self.layer else ""
                line = f" ({user_line()})" if user_line() else ""
                self.found = f"{name}{where}{line} makes {after} of {before}"
        return result

    def _exchanges(self, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
        """True if two axes other than that of the samples changed places."""
        if len(before) < 3 or before[0] != after[0] or before[0] != self._samples:
            return False
        one, other = ([size for size in shape[1:] if size > 1] for shape in (before, after))
        return one != other and sorted(one) == sorted(other)


def _roughness_of_channels_last(images: torch.Tensor) -> float | None:
    """Differences of neighbours if the memory is read as [N, H, W, C], as part of those now.

    None for what is no image of a few channels.
    """
    if images.ndim != 4 or images.shape[1] not in COLOURS or min(images.shape[2:]) < MIN_SIDE:
        return None
    now = images.float()
    n, c, h, w = now.shape
    other = now.reshape(n, h, w, c).permute(0, 3, 1, 2)
    both = [each.diff(dim=2).abs().mean() + each.diff(dim=3).abs().mean() for each in (now, other)]
    return float(both[1] / both[0]) if float(both[0]) > 0 else None
