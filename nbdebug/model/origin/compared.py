"""Outputs and targets that a loss compares, as its graph keeps them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch

from nbdebug.model.module.forward import leaves
from nbdebug.model.origin.graph import name_of, saved

# Names of nodes, and of the losses that they belong to.
CRITERIA = {
    "MseLoss": "mse",
    "BinaryCrossEntropy": "binary",
    "BinaryCrossEntropyWithLogits": "binary",
    "NllLoss": "cross_entropy",
    "NllLoss2D": "cross_entropy",
}
MAX_NODES, MAX_MISSED = 200, 5
MARGIN = 1e-7


class Compared(NamedTuple):
    """Outputs and targets that a loss of torch compares; of classes logits or log-probabilities.

    Attributes:
        targets: None if they are not those of the batch: what a network has made is no data.
        kind: name of the loss in `loss_kind.KNOWN_LOSSES`; "" if it weighs classes.
    """

    outputs: torch.Tensor
    targets: torch.Tensor | None
    kind: str


class LossReader:
    """Reads what the losses of a training compare, until nothing is found a few times."""

    def __init__(self) -> None:
        self._missed = 0

    def read(self, losses: Sequence[torch.Tensor], batch: Callable[[], Any]) -> Compared | None:
        """Outputs and targets in the loss of a pass that comes next; None if they are not seen.

        Args:
            losses: of that pass; batch: returns the data that they are made of.
        """
        if len(losses) != 1 or self._missed >= MAX_MISSED:
            return None
        found = None
        # What cannot be read is not measured; the step goes on.
        with suppress(Exception):
            found = compared_by(losses[0], leaves(batch()))
        self._missed = self._missed + 1 if found is None else 0
        return found


def compared_by(loss: torch.Tensor, batch: Iterable[Any]) -> Compared | None:
    """Outputs and targets of the one criterion of torch in a loss; None without it or with more.

    Args:
        loss: before its backward pass; batch: leaves of the batch that it is made of.
    """
    found = list(_criteria(loss))
    if len(found) != 1:
        return None
    (node,) = found
    outputs, targets = saved(node, "self"), saved(node, "target")
    if outputs is None or targets is None:
        return None
    outputs, targets = outputs.detach(), targets.detach()
    name = name_of(node)
    if name == "BinaryCrossEntropy":
        outputs = torch.logit(outputs.clamp(MARGIN, 1 - MARGIN))
    if name.startswith("NllLoss"):
        targets = targets.masked_fill(targets == saved(node, "ignore_index"), -100)
    of_batch = any(_equal(part, targets) for part in batch)
    weighted = any(saved(node, part) is not None for part in ("weight", "pos_weight"))
    return Compared(outputs, targets if of_batch else None, "" if weighted else CRITERIA[name])


def _criteria(loss: torch.Tensor) -> Iterator[Any]:
    """Criteria near the end of a graph, the nearest first; nothing behind one is walked."""
    waiting, known = deque([loss.grad_fn]), set[Any]()
    while waiting and len(known) < MAX_NODES:
        node = waiting.popleft()
        if node is None or node in known:
            continue
        known.add(node)
        if name_of(node) in CRITERIA:
            yield node
        else:
            waiting += [following for following, _ in node.next_functions]


def _equal(part: Any, targets: torch.Tensor) -> bool:
    """True if a part of the batch holds these targets, in any shape and dtype."""
    if not isinstance(part, torch.Tensor) or part.numel() != targets.numel():
        return False
    ignored = torch.tensor(-100, dtype=targets.dtype, device=targets.device)
    same = part.detach().flatten().to(targets) == targets.flatten()
    return bool((same | (targets.flatten() == ignored)).all())
