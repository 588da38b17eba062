"""Loss function of a step, found in the graph of its loss: one criterion of torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from nbdebug.model.module.forward import tensors_of
from nbdebug.model.origin.changes import Change, changes_behind, signed
from nbdebug.model.origin.graph import name_of, saved

Criterion = Callable[..., torch.Tensor]
REDUCTIONS = ("none", "mean", "sum")
# Names of nodes, the functions, and the arguments that the nodes keep.
CRITERIA: dict[str, tuple[Criterion, tuple[str, ...]]] = {
    "MseLoss": (functional.mse_loss, ()),
    "SmoothL1Loss": (functional.smooth_l1_loss, ("beta",)),
    "HuberLoss": (functional.huber_loss, ("delta",)),
    "SoftMarginLoss": (functional.soft_margin_loss, ()),
    "BinaryCrossEntropy": (functional.binary_cross_entropy, ("weight",)),
    "BinaryCrossEntropyWithLogits": (
        functional.binary_cross_entropy_with_logits,
        ("weight", "pos_weight"),
    ),
    "NllLoss": (functional.nll_loss, ("weight", "ignore_index")),
    "NllLoss2D": (functional.nll_loss, ("weight", "ignore_index")),
}
# What a loss may be multiplied by or summed up with behind its criterion.
SCALES, SUMS, DIFFERENCES = ("Mul", "Div", "Neg"), ("Mean", "Sum"), ("Pow", "Abs")
MAX_NODES = 12
TOLERANCE, HALF_TOLERANCE = 1e-4, 2e-2


class FoundLoss:
    """A criterion of torch, called with the outputs of a model and with targets.

    Attributes:
        name: of the function of torch; at: number of the output that it takes.
        scale: what its result is multiplied by; reduction: "mean" or "sum".
        ignore_index: class that it leaves out, None without one.
    """

    def __init__(
        self, criterion: partial[torch.Tensor], at: int, changes: Sequence[Change], rows: bool
    ) -> None:
        self.name, self.at, self.scale = str(criterion.func.__name__), at, 1.0
        self._criterion, self._changes, self._rows = criterion, changes, rows
        self.reduction = str(criterion.keywords["reduction"])
        self.ignore_index: int | None = criterion.keywords.get("ignore_index")

    def __call__(self, outputs: Any, targets: torch.Tensor) -> torch.Tensor:
        """Loss of outputs and targets, whose first dimension counts the samples."""
        chosen = self.chosen(outputs)
        for change in self._changes:
            chosen = change(chosen)
        found = self._criterion(chosen, targets.flatten(0, 1) if self._rows else targets)
        return found if self.scale == 1.0 else found * self.scale

    @property
    def recipe(self) -> str:
        """All that the function does, to tell it from another one."""
        return repr((self._criterion, self.at, self._changes, self._rows))

    def chosen(self, outputs: Any) -> torch.Tensor:
        """The output that the criterion takes, of all that the model returns."""
        return list(tensors_of(outputs))[self.at]


class OwnLoss(NamedTuple):
    """A loss that the model computes itself and returns; `at` is its number among the outputs."""

    at: int

    @property
    def recipe(self) -> str:
        """All that the function does, to tell it from another one."""
        return repr(self)

    def chosen(self, outputs: Any) -> torch.Tensor:
        """The loss, of all that the model returns."""
        return list(tensors_of(outputs))[self.at]


class Found(NamedTuple):
    """A loss function and the targets, a row for each sample, that it got in a step."""

    loss_fn: FoundLoss
    targets: torch.Tensor


class End(NamedTuple):
    """Criterion behind a loss, and what was done with its result."""

    node: Any
    factor: float
    summed: str


def find_loss(loss: torch.Tensor, outputs: Any) -> Found | None:
    """Loss function that gives a loss for the outputs of a model; None where it is another one.

    The function is called with the outputs and gives the same number.

    Args:
        loss: of one number, before its backward pass; outputs: with their graph.
    """
    # The attributes of nodes are no promise of torch.
    with suppress(Exception):
        end = end_of(loss.grad_fn)
        parts = list(tensors_of(outputs))
        found = None if end is None else found_at(end, parts)
        if found is not None and end is not None:
            again = loss_again(found, end, outputs)
            # A mean may be divided by a number of passes, which is no part of the loss.
            if found.loss_fn.reduction == "sum" or end.factor < 0:
                found.loss_fn.scale = end.factor
            half = any(part.element_size() < 4 for part in (parts[found.loss_fn.at], loss))
            tolerance = HALF_TOLERANCE if half else TOLERANCE
            return found if math.isclose(again, float(loss.detach()), rel_tol=tolerance) else None
    return None


def loss_again(found: Found, end: End, outputs: Any) -> float:
    """The loss that a function which was found gives for the outputs that it was found of."""
    with torch.no_grad():
        return float(found.loss_fn(outputs, found.targets)) * end.factor


def find_own_loss(loss: torch.Tensor, outputs: Any) -> OwnLoss | None:
    """The output that a loss is, but for a number that it is multiplied by; None for others.

    Args:
        loss: of one number, before its backward pass; outputs: with their graph.
    """
    ends = [part.grad_fn if part.numel() == 1 else None for part in tensors_of(outputs)]
    node = loss.grad_fn
    for _ in range(MAX_NODES):
        if node is None or node in ends:
            break
        if name_of(node) not in ("ToCopy", *SCALES):
            return None
        if name_of(node) in SCALES and factor_of(node) is None:
            return None
        node = next((one for one, _ in node.next_functions if one is not None), None)
    return None if node is None or node not in ends else OwnLoss(ends.index(node))


def factor_of(node: Any) -> float | None:
    """Number that a node multiplies with; None if it is no number."""
    if name_of(node) == "Neg":
        return -1.0
    (first, _), (second, _) = node.next_functions
    number = saved(node, "self" if first is None else "other")
    if number is None or number.numel() != 1 or (first is not None and second is not None):
        return None
    return float(number) if name_of(node) == "Mul" else 1 / float(number)


def end_of(node: Any) -> End | None:
    """The criterion that the result of a node is, but for a number that it is multiplied by."""
    factor, summed = 1.0, ""
    for _ in range(MAX_NODES):
        if node is None or name_of(node) in CRITERIA:
            break
        name, following = name_of(node), node.next_functions[0][0]
        if name in SCALES:
            number = factor_of(node)
            if number is None:
                return None
            factor, following = factor * number, following or node.next_functions[1][0]
        elif name in SUMS and not summed:
            summed = "mean" if name == "Mean" else "sum"
        elif summed and name in DIFFERENCES:
            return End(node, factor, summed)
        elif name != "ToCopy":
            return None
        node = following
    return None if node is None or name_of(node) not in CRITERIA else End(node, factor, summed)


def found_at(end: End, parts: Sequence[torch.Tensor]) -> Found | None:
    """Loss function that ends there, of one of the outputs of a model; None for other ones."""
    if name_of(end.node) in DIFFERENCES:
        return _difference(end, parts)
    node, ends = end.node, [part.grad_fn for part in parts]
    if any(following is not None for following, _ in node.next_functions[1:]):
        # Targets with a graph are made by a network.
        return None
    function, kept = CRITERIA[name_of(node)]
    targets: torch.Tensor = saved(node, "target").detach()
    way = changes_behind(node.next_functions[0][0], ends)
    if way is None and function is functional.nll_loss:
        # Cross entropy; of more than two dimensions torch reshapes what is behind.
        softmax = _softmax_behind(node.next_functions[0][0])
        if softmax is None:
            return None
        shape = softmax._input_metadata[0].shape
        function, targets = functional.cross_entropy, targets.reshape(shape[:1] + shape[2:])
        way = changes_behind(softmax.next_functions[0][0], ends)
    reduction = REDUCTIONS[saved(node, "reduction")]
    reduction = end.summed if reduction == "none" else reduction
    if way is None or not reduction:
        return None
    arguments = {name: saved(node, name) for name in kept}
    if "ignore_index" in arguments:
        arguments["ignore_index"] = signed(arguments["ignore_index"])
    criterion = partial(function, reduction=reduction, **arguments)
    at = ends.index(way[0])
    return _by_sample(criterion, at, way[1], parts[at], targets)


def _difference(end: End, parts: Sequence[torch.Tensor]) -> Found | None:
    """A squared or absolute difference, written by hand or by `l1_loss`.

    The graph keeps the difference, which gives the targets but for what rounding takes.
    """
    node, ends = end.node, [part.grad_fn for part in parts]
    exponent, minus = saved(node, "exponent"), node.next_functions[0][0]
    if exponent not in (None, 2) or minus is None or name_of(minus) != "Sub":
        return None
    (of, _), (subtracted, _) = minus.next_functions
    way = changes_behind(of if subtracted is None else subtracted, ends)
    if way is None or (of is not None and subtracted is not None) or saved(minus, "alpha") != 1:
        return None
    at, difference = ends.index(way[0]), saved(node, "self").detach()
    chosen = parts[at].detach()
    for change in way[1]:
        chosen = change(chosen)
    if chosen.shape != difference.shape:
        return None
    targets = chosen - difference if subtracted is None else chosen + difference
    function = functional.l1_loss if exponent is None else functional.mse_loss
    return _by_sample(partial(function, reduction=end.summed), at, way[1], parts[at], targets)


def _softmax_behind(node: Any) -> Any:
    """The node of a log-softmax of classes, behind changes of shape alone."""
    for _ in range(MAX_NODES):
        if node is None or name_of(node) == "LogSoftmax":
            return node if node is not None and saved(node, "dim") == 1 else None
        node = node.next_functions[0][0] if name_of(node) in ("View", "Unsqueeze") else None
    return None


def _by_sample(
    criterion: partial[torch.Tensor],
    at: int,
    changes: Sequence[Change],
    output: torch.Tensor,
    targets: torch.Tensor,
) -> Found | None:
    """The loss function for targets that have a row for each sample, as outputs do."""
    samples = len(output)
    if len(targets) == samples:
        return Found(FoundLoss(criterion, at, changes, False), targets)
    if len(targets) % samples:
        return None
    rows = targets.reshape(samples, -1, *targets.shape[1:])
    return Found(FoundLoss(criterion, at, changes, True), rows)
