"""Losses of earlier steps in the graph of the one that is passed back."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from nbdebug.core.history.history import History
from nbdebug.core.results.loops.compared import SummedLosses
from nbdebug.model.origin.graph import graph_nodes
from nbdebug.model.origin.source_line import user_line

# Written at nodes of losses: the number of updates before their backward pass.
MARK = "nbdebug passed back"
MAX_SCALARS, MAX_NODES = 64, 100_000
# Their inputs are losses, whatever their output is.
JOINS = ("StackBackward", "CatBackward", "SelectBackward", "UnsqueezeBackward")


class SeenSums:
    """Tells of losses that were passed back before an update, and are again behind it.

    Marked are the last operations of a loss, as far as they give single numbers.
    """

    def __init__(self) -> None:
        self._history, self._told = History(), False
        self._until, self._thread = -1, 0

    def attach(self, history: History, alone: bool) -> None:
        """Set where what is found is written; `alone` if one optimizer makes all updates."""
        # Of several, one may follow the loss of another behind its update.
        self._history, self._told = history, not alone

    def before_backward(self, roots: Sequence[torch.Tensor], updates: int) -> None:
        """See losses before their backward pass, behind so many updates."""
        for root in roots:
            for node in _scalars(root.grad_fn):
                earlier = node.metadata.setdefault(MARK, updates)
                if earlier < updates and not self._told:
                    self._told = True
                    self._history.set_result(SummedLosses(updates, updates - earlier, user_line()))
        numbers = [root.grad_fn._sequence_nr() for root in roots if root.grad_fn is not None]
        self._until, self._thread = max(numbers, default=-1), threading.get_ident()

    def shares(self, root: torch.Tensor, thread: int) -> bool:
        """True if a loss of a look, made in this thread, has nodes of the last step or before it.

        Who frees its graph would free what the loop passes back again.
        """
        if thread != self._thread or self._until < 0:
            return False
        # The nodes of weights have no number of their own.
        return any(node._sequence_nr() <= self._until for node in graph_nodes(root, MAX_NODES))


def _scalars(last: Any) -> Iterator[Any]:
    """Nodes behind the last one of a loss that give single numbers, the nearest first."""
    waiting, known = [last], set[Any]()
    while waiting and len(known) < MAX_SCALARS:
        node = waiting.pop(0)
        if node is None or node in known or not hasattr(node, "_input_metadata"):
            continue
        known.add(node)
        single = all(not len(one.shape) for one in node._input_metadata)
        joins = node.name().startswith(JOINS)
        if single and node.next_functions:
            yield node
        if single or joins:
            waiting += [one for one, _ in node.next_functions]
