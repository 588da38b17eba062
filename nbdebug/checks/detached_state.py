"""States that a module hands to itself without their graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import tensors_of
from nbdebug.model.module.hooks import after_any_forward

EXPECTED = "states with their graph between the calls of one step"


class DetachedState(Check):
    """Checks that a cell that is called over time gets its state with its graph.

    A loop over time gives a GRUCell, an LSTMCell or a cell of your own what it returned before.
    With .detach(), .data or a way by NumPy in between, each call learns for itself: nothing that
    matters later is learnt from what came before. A state is detached between two batches, or
    after a backward pass. Where only some of the calls are cut off, as in chunks, where each call
    gets the same inputs again, as in recycling, or where the earlier calls have no graph at all,
    it is meant so.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "detached_state"
    step = 2
    order = 25
    title = "States within a step"
    explains = ("gradient_check",)
    source = "Werbos (1990), Backpropagation through time; PyTorch, Tensor.detach"

    MIN_CUT = 2

    def examine(self, context: CheckContext) -> Outcome:
        context.train()
        calls = _Calls()
        hook = after_any_forward(calls.see, with_kwargs=True)
        try:
            with torch.enable_grad():
                context.evaluate(context.batch)
        finally:
            hook.remove()
        found = [one for one in calls.cells.values() if one.cut or one.whole]
        if not found:
            return Outcome("not_applicable", "no module gets what it returned before in the step.")
        names = {id(module): name for name, module in context.model.named_modules()}
        for one in found:
            if one.cut >= self.MIN_CUT and not one.whole:
                name = names.get(id(one.module)) or type(one.module).__name__
                return Outcome(
                    "warning", f"{name} gets what it returned before in {one.cut} of its "
                    f"{one.calls} calls in a step, each time without its graph: no gradient goes "
                    "back through time", EXPECTED,
                    "Leave out .detach(), .data or NumPy between the calls; detach the state "
                    "between two batches, or after a backward pass.",
                )  # fmt: skip
        return Outcome("pass", f"{len(found)} modules get states with their graph", EXPECTED)


@dataclass
class _Cell:
    """A module that may get its own outputs.

    Attributes:
        calls: in this step; cut, whole: calls that got an earlier output without or with a graph.
        outputs: of the last call, that had a graph; others: what else it got.
        stored: outputs of earlier calls that had none, such as those of an actor.
    """

    module: nn.Module
    calls: int = 0
    cut: int = 0
    whole: int = 0
    outputs: tuple[torch.Tensor, ...] = ()
    others: tuple[torch.Tensor, ...] = ()
    stored: tuple[torch.Tensor, ...] = ()


class _Calls:
    """Calls of modules within one step.

    Attributes:
        cells: by the id of the module.
    """

    def __init__(self) -> None:
        self.cells: dict[int, _Cell] = {}

    def see(self, module: nn.Module, args: Any, named: Any, outputs: Any) -> None:
        """See a call of a module; a forward hook."""
        given = [one for one in tensors_of([args, named]) if one.is_floating_point()]
        cell = self.cells.setdefault(id(module), _Cell(module))
        cell.calls += 1
        states = [(one, found) for one in given if (found := _of(one, cell.outputs)) is not None]
        others = [one for one in given if not any(one is state for state, _ in states)]
        others += [rest for _, rest in states if rest is not None and rest.numel()]
        known = any(_is_same(one, old) for one, _ in states for old in cell.stored)
        over_time = not known and not _is_sequence(module, given)
        if states and over_time and _differ(others, cell.others, states):
            cut = not any(state.requires_grad for state, _ in states)
            cell.cut += cut
            cell.whole += not cut
        cell.others = tuple(one.detach() for one in others)
        real = [one for one in tensors_of(outputs) if one.requires_grad and one.dim()]
        cell.outputs = tuple(one.detach() for one in real)
        if not real:
            cell.stored += tuple(tensors_of(outputs))
        for one in real:
            # The graph ends where a backward pass has gone through it.
            one.register_hook(lambda _: self._forget(cell))

    def _forget(self, cell: _Cell) -> None:
        cell.outputs = ()


def _of(given: torch.Tensor, outputs: tuple[torch.Tensor, ...]) -> torch.Tensor | None:
    """Rest of what was given beside an earlier output, perhaps empty; None if it is none."""
    for one in outputs:
        if given.dim() != one.dim() or given.shape[:-1] != one.shape[:-1]:
            continue
        width, known = one.shape[-1], given.detach()
        first = known[..., :width], known[..., width:]
        last = known[..., -width:], known[..., :-width]
        for part, rest in (first, last):
            if part.shape == one.shape and _is_same(part, one) and bool(one.any()):
                return rest
    return None


def _is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    same = one.dtype == other.dtype and one.device == other.device
    return same and torch.equal(one, other)


def _is_sequence(module: nn.Module, given: list[torch.Tensor]) -> bool:
    """True for a recurrent layer that goes over several times by itself."""
    if not isinstance(module, nn.RNNBase) or not given:
        return False
    return bool(given[0].shape[1 if module.batch_first and given[0].dim() == 3 else 0] > 1)


def _differ(now: list[torch.Tensor], before: tuple[torch.Tensor, ...], states: list[Any]) -> bool:
    """True if inputs of the same samples come beside the state, and are others than before."""
    rows = states[0][0].shape[0]
    inputs = [one for one in now if one.dim() > 1 and rows in one.shape[:2]]
    return bool(inputs) and not all(
        any(one.shape == old.shape and _is_same(one.detach(), old) for old in before)
        for one in inputs
    )
