"""Tells which backward passes give gradients to a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from nbdebug.model.origin.graph import graph_nodes

Named = Sequence[tuple[str, nn.Parameter]]
Marks = list[tuple[int, int] | None]
MAX_MARKED, MAX_NODES = 64, 100_000


def gradient_marks(parameters: Named) -> Marks:
    """Identity and version of gradients, which a backward pass to these parameters changes.

    Of many parameters some are marked, from the first to the last.
    """
    every = max(-(-len(parameters) // MAX_MARKED), 1)
    marked = [parameters[-1], *parameters[::every]] if parameters else []
    grads = (parameter.grad for _, parameter in marked)
    return [None if grad is None else (id(grad), grad._version) for grad in grads]


def total_loss(losses: Sequence[torch.Tensor], scaler: Any) -> torch.Tensor:
    """Sum of the losses of a step, of its parts or its batches, without the scale of a scaler."""
    alone = len(losses) == 1 and not losses[0].ndim
    # The loss of the loop itself, whose terms can be followed.
    total = losses[0] if alone else torch.stack([loss.reshape(()) for loss in losses]).sum()
    return total if scaler is None else total / scaler.get_scale()


def reaches(root: torch.Tensor, parameters: Named) -> bool:
    """Tell if the graph of a tensor leads to any of these parameters."""
    wanted = {id(parameter) for _, parameter in parameters}
    number = 0
    for number, node in enumerate(graph_nodes(root, MAX_NODES), 1):  # noqa: B007
        if id(getattr(node, "variable", None)) in wanted:
            return True
    return number >= MAX_NODES
