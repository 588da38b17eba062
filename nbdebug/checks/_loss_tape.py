"""The loss of a step for outputs that the model did not compute, without running the step again.

Code of the user's may refuse such outputs, or end the program for a loss that is not finite; an
exception in a loop of its own would end that loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from nbdebug.checks._context import CheckContext
from nbdebug.checks._model_calls import WatchedStep, real_tensors
from nbdebug.core.contexts import contextmanager
from nbdebug.model.module.forward import leaves, tensors_of, with_leaves
from nbdebug.model.module.hooks import after_forward

KEPT = "loss_tape"
MAX_OPERATIONS = 2000
# They leave no trace in a loss.
LEFT_OUT = frozenset({"backward", "register_hook", "retain_grad", "requires_grad_", "__set__"})
# Numbers that leave torch, which the code may calculate with.
NUMBERS = frozenset({"item", "tolist", "numpy", "__float__", "__int__", "__index__", "__array__"})
Function = Callable[..., Any]


@dataclass(frozen=True)
class _Operation:
    """A function of torch that was called.

    Attributes:
        made: tensors that it returned; state: of the random numbers before it.
        graph: gradients were on; autocast: its type of device and dtype, None without it.
        written: tensors that it wrote into, and that no operation made, as they were before.
    """

    function: Function
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    made: list[torch.Tensor]
    state: torch.Tensor
    graph: bool
    autocast: tuple[str, torch.dtype] | None
    written: dict[int, torch.Tensor]

    def again(self, known: dict[int, torch.Tensor]) -> Iterator[tuple[int, torch.Tensor]]:
        """Call it for other tensors; yield what each tensor is instead."""
        args, kwargs = with_leaves(
            (self.args, self.kwargs),
            lambda leaf: known.get(id(leaf), leaf) if isinstance(leaf, torch.Tensor) else leaf,
        )
        torch.set_rng_state(self.state)
        graph = torch.set_grad_enabled(self.graph and torch.is_grad_enabled())
        with graph, nullcontext() if self.autocast is None else torch.autocast(*self.autocast):
            result = self.function(*args, **kwargs)
        yield from zip(map(id, self.made), tensors_of(result), strict=True)


class LossTape:
    """Operations between the outputs of a model and a loss.

    What depends on the outputs only by a number that left torch, as in a condition, is as it was.

    Attributes:
        compares: the outputs are compared with data, not only given to layers.
    """

    def __init__(
        self, outputs: Sequence[torch.Tensor], operations: Sequence[_Operation], loss: torch.Tensor
    ) -> None:
        self._outputs, self._operations, self._loss = outputs, operations, loss
        known = {id(one) for each in operations for one in each.made}
        known |= {id(one) for one in outputs}
        self.compares = any(
            id(one) not in known and one.numel() > 1 and not isinstance(one, torch.nn.Parameter)
            for each in operations
            for one in tensors_of((each.args, each.kwargs))
        )

    def loss_of(self, free: Sequence[torch.Tensor]) -> torch.Tensor:
        """The loss of other outputs, with a graph where gradients are on.

        Args:
            free: as many as the model returned with a gradient, in the same shapes.
        """
        kept = torch.get_rng_state()
        # Operations in place must not write into what is given.
        known = {id(old): new.clone() for old, new in zip(self._outputs, free, strict=True)}
        try:
            for one in self._operations:
                known |= {number: value.clone() for number, value in one.written.items()}
                known.update(one.again(known))
        finally:
            torch.set_rng_state(kept)
        return known[id(self._loss)]


def loss_tape(context: CheckContext, step: WatchedStep) -> LossTape | str:
    """The tape of the loss of a step in which the model is called once; or why there is none.

    Its loss and gradients are those of the same operations in the step.
    """
    if not context.is_unmodified:
        return _taped(context, step)
    if KEPT not in context.shared:
        context.shared[KEPT] = _taped(context, step)
    found: LossTape | str = context.shared[KEPT]
    return found


def _taped(context: CheckContext, step: WatchedStep) -> LossTape | str:
    context.train()
    mode = _Recording(context)
    with mode.outputs_seen(), mode:
        loss = context.evaluate(context.batch)[0]
    call = step.calls[0]
    if not isinstance(loss, torch.Tensor) or [o.shape for o in mode.outputs] != [
        o.shape for o in call.found
    ]:
        return "the step is another one each time."
    made = [n for n, one in enumerate(mode.operations) if any(t is loss for t in one.made)]
    if not made or len(mode.operations) >= MAX_OPERATIONS:
        return "the operations of the loss are not seen."
    operations = mode.operations[: made[-1] + 1]
    used = {id(one) for each in operations for one in tensors_of((each.args, each.kwargs))}
    if any(number <= made[-1] and id(one) not in used for number, one in mode.left):
        return "the loss is computed with numbers that left torch."
    tape = LossTape(mode.outputs, operations, loss)
    return tape if _agrees(tape, loss, mode.outputs) else "the loss is not made by torch alone."


def _agrees(tape: LossTape, loss: torch.Tensor, outputs: Sequence[torch.Tensor]) -> bool:
    """True if the tape gives a loss for these outputs, and its gradients."""
    free = [one.detach().clone().requires_grad_() for one in outputs]
    try:
        with torch.enable_grad():
            again = tape.loss_of(free)
            own = torch.autograd.grad(again.sum(), free, allow_unused=True)
        given = [torch.zeros_like(o) if g is None else g for g, o in zip(own, free, strict=True)]
        # An output may be made of another one.
        whole = torch.autograd.grad(outputs, outputs, given, retain_graph=True)
        seen = torch.autograd.grad(loss.sum(), outputs, allow_unused=True)
    except Exception:
        return False
    same = [(again.detach(), loss.detach())]
    same += [(a, torch.zeros_like(a) if b is None else b) for a, b in zip(whole, seen, strict=True)]
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-7, equal_nan=True) for a, b in same)


def _written(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """Tensors that an operation writes into, such as a running mean of the user's."""
    inside = name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
    inside = inside or (name.startswith("__i") and name != "__invert__")
    found = list(tensors_of([kwargs.get("out")]))
    return found + [one for one in args[:1] if inside and isinstance(one, torch.Tensor)]


class _Recording(TorchFunctionMode):
    """Writes down the operations on what the model returned.

    Attributes:
        outputs: of the model, with a gradient; left: tensors of which numbers left torch, each
            with the number of operations before.
    """

    def __init__(self, context: CheckContext) -> None:
        super().__init__()
        self._context = context
        self.outputs: list[torch.Tensor] = []
        self.operations: list[_Operation] = []
        self.left: list[tuple[int, torch.Tensor]] = []
        self._known: set[int] = set()

    @contextmanager
    def outputs_seen(self) -> Iterator[None]:
        """Context in which calls of the model are seen."""

        def note(model: Any, given: Any, outputs: Any) -> None:
            if torch.is_grad_enabled():
                self.outputs += [one for one in real_tensors(outputs) if one.requires_grad]
                self._known |= {id(one) for one in self.outputs}

        hook = after_forward(self._context.model, note)
        try:
            yield
        finally:
            hook.remove()

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = str(getattr(function, "__name__", ""))
        if not self._known or name in LEFT_OUT or len(self.operations) >= MAX_OPERATIONS:
            return function(*args, **kwargs)
        given = [one for one in leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        if not any(id(one) in self._known for one in given):
            return function(*args, **kwargs)
        state, graph = torch.get_rng_state(), torch.is_grad_enabled()
        kind = given[0].device.type
        mixed = torch.is_autocast_enabled(kind)
        autocast = (kind, torch.get_autocast_dtype(kind)) if mixed else None
        written = {
            id(one): one.detach().clone()
            for one in _written(name, args, kwargs)
            if id(one) not in self._known
        }
        result = function(*args, **kwargs)
        # Whatever a tensor of the user's own does here, the step goes on.
        with suppress(Exception):
            if name in NUMBERS:
                self.left += [(len(self.operations), one) for one in given]
            made = list(tensors_of(result))
            if made or name == "__setitem__":
                self._known |= {*map(id, made), *written}
                self.operations.append(
                    _Operation(function, args, kwargs, made, state, graph, autocast, written)
                )
        return result
