"""Walk through the graph of a tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import torch


def graph_nodes(
    tensor: torch.Tensor,
    most: int | None = None,
    ends: Callable[[Any], bool] = lambda node: False,
) -> Iterator[Any]:
    """Nodes of the graph of a tensor, each once, from its end on; none without a graph.

    Args:
        most: number of nodes after which the walk ends; None for all.
        ends: tells a node behind which the walk does not go on.
    """
    waiting: list[Any] = [tensor.grad_fn]
    known: set[Any] = set()
    while waiting and (most is None or len(known) < most):
        node = waiting.pop()
        if node is None or node in known:
            continue
        known.add(node)
        yield node
        if not ends(node):
            waiting += [following for following, _ in node.next_functions]


def leaves_of(tensor: torch.Tensor) -> list[torch.Tensor]:
    """Tensors that the graph of a tensor begins with, each once; itself without a graph."""
    if tensor.grad_fn is None:
        return [tensor]
    found = (getattr(node, "variable", None) for node in graph_nodes(tensor))
    return list({id(leaf): leaf for leaf in found if leaf is not None}.values())


def name_of(node: Any) -> str:
    """Name of the operation of a node, such as Mul."""
    return str(node.name()).rpartition("::")[2].partition("Backward")[0]


def saved(node: Any, name: str) -> Any:
    """Value that a node keeps by a name, such as "self"; None if it keeps none.

    A tensor that its code packed away is None too: to unpack it runs that code, which in
    `torch.utils.checkpoint` is the forward pass of the user.
    """
    raw = getattr(node, f"_raw_saved_{name}", None)
    if raw is None:
        return getattr(node, f"_saved_{name}", None)
    if getattr(raw, "unpack_hook", raw) is not None:
        return None
    with suppress(RuntimeError):
        return raw.data if isinstance(raw.data, torch.Tensor) else None
    return None
