"""Targets of the binary losses that an optimizer's updates follow from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from nbdebug.core.history.history import History
from nbdebug.core.results.loops.compared import OneSidedTargets
from nbdebug.model.origin.graph import graph_nodes, name_of, saved
from nbdebug.model.origin.source_line import user_line
from nbdebug.training.own_loop.watched_optimizer import WatchedOptimizer

# Updates of each optimizer that are looked at, and nodes of the graph of a loss.
FIRST, MAX_NODES = 20, 5000
BINARY = ("BinaryCrossEntropyWithLogits", "BinaryCrossEntropy")
MIDDLE = 0.5
Owners = Mapping[int, str]


class _Call(NamedTuple):
    """A loss of torch with targets: their lowest and highest, and whose parameters it reaches."""

    low: torch.Tensor
    high: torch.Tensor
    binary: bool
    reached: frozenset[str]


class OneSided:
    """Tells of a network that others train through, whose own targets are all the same.

    A discriminator learns from what is real and from what is made, with different targets.
    """

    def __init__(self) -> None:
        self._history, self._owners = History(), dict[int, str]()
        self._calls: dict[int, list[_Call]] = {}
        self._seen: dict[str, list[list[_Call]]] = {}
        self._lines: dict[str, str] = {}
        self._told = ""

    def attach(self, history: History, optimizers: Sequence[WatchedOptimizer]) -> None:
        """Set where what is found is written, and the optimizers, if there are several."""
        self._history = history
        if len(optimizers) > 1:
            self._owners = {id(p): one.name for one in optimizers for _, p in one.parameters}
            self._seen = {one.name: [] for one in optimizers}

    def before_backward(self, roots: Sequence[torch.Tensor]) -> None:
        """See the losses of a backward pass."""
        if not self._is_wanted():
            return
        for root in roots:
            self._calls[root.data_ptr()] = list(_calls(root, self._owners))
        line = user_line()
        for name in {n for root in roots for c in self._calls[root.data_ptr()] for n in c.reached}:
            self._lines[name] = line

    def before_update(self, one: WatchedOptimizer, step: int) -> None:
        """See an update that follows from the losses of an optimizer."""
        if not self._is_wanted() or one.name not in self._seen:
            return
        calls = [call for loss in one.losses for call in self._calls.get(loss.data_ptr(), [])]
        self._calls = {loss.data_ptr(): self._calls.get(loss.data_ptr(), []) for loss in one.losses}
        known = self._seen[one.name]
        known.append(calls)
        del known[:-FIRST]
        if len(known) == FIRST and (not self._told or self._told == one.name):
            self._judge(one.name, step)

    def _is_wanted(self) -> bool:
        return bool(self._told) or any(len(known) < FIRST for known in self._seen.values())

    def _judge(self, name: str, step: int) -> None:
        calls = [call for update in self._seen[name] for call in update]
        others = {n: known for n, known in self._seen.items() if n != name}
        through = any(
            name in call.reached for known in others.values() for update in known for call in update
        )
        alone = any(call.reached == {name} for call in calls)
        value = _side(calls) if through and alone and all(self._seen[name]) else None
        if value is not None and not self._told:
            self._told = name
            self._history.set_result(
                OneSidedTargets(step, name, value, FIRST, len(calls), self._lines.get(name, ""))
            )
        elif value is None and self._told:
            self._told = ""
            self._history.set_result(OneSidedTargets(None))


def _side(calls: Sequence[_Call]) -> float | None:
    """The mean target of calls that are all of one side; None if they are of both."""
    low = float(torch.stack([call.low.float().cpu() for call in calls]).amin())
    high = float(torch.stack([call.high.float().cpu() for call in calls]).amax())
    of_shares = all(call.binary for call in calls)
    same = low == high or (of_shares and (low > MIDDLE or high < MIDDLE))
    return (low + high) / 2 if same else None


def _calls(root: torch.Tensor, owners: Owners) -> Iterator[_Call]:
    """Calls of losses in the graph of a loss; none if the targets of one are not known."""
    found = []
    for node in graph_nodes(root, MAX_NODES):
        name = name_of(node)
        if name in BINARY or name == "MseLoss":
            target = saved(node, "target")
            if not isinstance(target, torch.Tensor) or not target.numel():
                return
            numbers = target.detach()
            found.append(
                _Call(numbers.amin(), numbers.amax(), name in BINARY, _reached(node, owners))
            )
    yield from found


def _reached(node: Any, owners: Owners) -> frozenset[str]:
    """Names of the optimizers of the parameters that are behind a node."""
    waiting, known, names = [node], set[Any](), set[str]()
    while waiting and len(known) < MAX_NODES:
        one = waiting.pop()
        if one is None or one in known:
            continue
        known.add(one)
        variable = getattr(one, "variable", None)
        if variable is not None and id(variable) in owners:
            names.add(owners[id(variable)])
        waiting += [following for following, _ in one.next_functions]
    return frozenset(names)
