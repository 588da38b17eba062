"""Trace of a loss: the operations that make it, their lines, its terms and its leaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from nbdebug.checks._context import CheckContext
from nbdebug.checks._operations import (
    FACTORS,
    LIKE_ANOTHER,
    SIDE_BY_SIDE,
    SILENT,
    SUMS,
    Operation,
    is_new,
)
from nbdebug.model.module.forward import leaves
from nbdebug.model.module.hooks import after_forward, before_forward
from nbdebug.model.origin.source_line import user_line

# Where a value comes from: parameters; data of the batch; a comparison of both after the model.
LEARNT, DATA, COMPARED = 1, 2, 4
MAX_TERMS = 12


@dataclass(frozen=True)
class Term:
    """A term that a loss is the sum of.

    Attributes:
        value: the term with its factor; source: LEARNT, DATA and COMPARED as bits.
        edge: for the gradient, None without a graph; factor: of that gradient.
        cut: the operation that took a graph and gave none, None without such a one.
    """

    value: float
    source: int
    factor: float
    edge: GradientEdge | None
    made: Operation
    cut: Operation | None


@dataclass
class _Made:
    """Origin of a tensor: its sources, its operation, and the numbers of that."""

    source: int
    operation: Operation
    cut: Operation | None = None
    kind: str = ""
    parts: tuple[Any, ...] = ()
    value: torch.Tensor | None = None
    edge: GradientEdge | None = None


@dataclass
class LossTrace:
    """The evaluation of one loss.

    Attributes:
        loss: the loss with its graph; left: operations that made numbers of tensors with one.
        seen: number of operations seen.
    """

    loss: torch.Tensor | None = None
    left: list[Operation] = field(default_factory=list)
    forced: Operation | None = None
    seen: int = 0
    _made: WeakIdKeyDictionary = field(default_factory=WeakIdKeyDictionary)
    _read: set[int] = field(default_factory=set)

    def reads(self, tensor: torch.Tensor) -> bool:
        """True if an operation was given this tensor of the batch."""
        return id(tensor) in self._read

    @property
    def cut(self) -> Operation | None:
        """The operation behind which the loss has no graph, where it is known."""
        made = None if self.loss is None else self._made.get(self.loss)
        cut: Operation | None = getattr(made, "cut", None)
        return self.left[0] if cut is None and self.left else cut

    def is_data(self, tensor: torch.Tensor) -> bool:
        """True if a tensor is made of data alone."""
        made = self._made.get(tensor)
        return made is not None and not made.source & LEARNT

    def terms(self) -> list[Term]:
        """The terms of the loss, from left to right; one, if it is no sum."""
        made = None if self.loss is None else self._made.get(self.loss)
        return [] if made is None else list(_terms(made, 1.0))[:MAX_TERMS]


def loss_trace(context: CheckContext, batch: Any = None) -> LossTrace | str:
    """Evaluate the loss of a batch in training mode, and watch; or why that is not seen.

    Without `batch`, it is the first one.
    """
    context.train()
    trace = LossTrace()
    batch = context.batch if batch is None else batch
    with _Watch(trace, context.model, _tensors(batch)):
        trace.loss = context.evaluate(batch)[0]
    if not isinstance(trace.loss, torch.Tensor) or not trace.seen:
        return "the operations of the loss are not seen."
    return trace


class _Watch(TorchFunctionMode):
    """Writes down each operation on tensors, and where its result comes from."""

    def __init__(self, trace: LossTrace, model: nn.Module, batch: list[torch.Tensor]) -> None:
        super().__init__()
        self._trace, self._depth = trace, 0
        for tensor in batch:
            trace._made[tensor] = _Made(DATA, Operation("batch", ""))
        self._hooks = [
            hook
            for module in model.modules()
            for hook in (
                before_forward(module, partial(self._moved, 1)),
                after_forward(module, partial(self._moved, -1), always_call=True),
            )
        ]

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for hook in self._hooks:
            hook.remove()

    def _moved(self, by: int, *_: Any) -> None:
        self._depth += by

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = str(getattr(function, "__name__", function))
        if name in SILENT:
            return function(*args, **kwargs)
        given = [*_tensors(args), *_tensors(kwargs)]
        # In-place operations write over what they are given.
        before = [self._known(tensor) for tensor in given]
        graph = any(tensor.requires_grad for tensor in given)
        result = function(*args, **kwargs)
        # Whatever a tensor of the user's own does here, the step goes on.
        with suppress(Exception):
            self._note(name, (args, before), (given, graph), result)
        return result

    def _note(self, name: str, call: Any, given: Any, result: Any) -> None:
        trace, (args, before), (tensors, graph) = self._trace, call, given
        trace.seen += 1
        trace._read |= {id(tensor) for tensor in tensors}
        made = _tensors(result)
        if name in ("requires_grad_", "__set__"):
            # Such as `loss.requires_grad = True`.
            trace.forced = Operation(name, user_line())
            return
        if not made:
            if graph and name in ("item", "tolist", "numpy", "__float__", "__int__"):
                trace.left.append(Operation(name, user_line()))
            return
        # What has no graph is compared with nothing, such as the outputs of a teacher.
        learns = any(tensor.requires_grad for tensor in made)
        sources = _sources(name, before, len(made), outside=learns and not self._depth)
        cut = next((each.cut for each in before if each.cut is not None), None)
        scalar = len(made) == 1 and made[0].numel() == 1
        lost = graph and not any(tensor.requires_grad for tensor in made)
        lost = lost or (name == "grad" and not any(tensor.requires_grad for tensor in made))
        known = Operation(name, user_line() if scalar or lost else "")
        cut = known if lost else cut if not any(t.requires_grad for t in made) else None
        for tensor, source in zip(made, sources, strict=True):
            trace._made[tensor] = _Made(source, known, cut)
        if scalar:
            self._note_scalar(trace._made[made[0]], made[0], (name, args, before, tensors))

    def _note_scalar(self, made: _Made, tensor: torch.Tensor, call: Any) -> None:
        name, args, before, tensors = call
        made.kind = name
        by_id = {id(t): one for t, one in zip(tensors, before, strict=True)}
        made.parts = tuple(by_id.get(id(arg), arg) for arg in args)
        made.value = tensor.detach().clone()
        made.edge = _edge(tensor)

    def _known(self, tensor: torch.Tensor) -> _Made:
        known: _Made | None = self._trace._made.get(tensor)
        # Scalars among several results, and results of the user's own functions.
        if known is not None and tensor.requires_grad and tensor.numel() == 1:
            known = None if known.edge is None else known
        if known is not None and not (known.cut is not None and tensor.requires_grad):
            return known
        # Of a function of the user's own only the result is seen.
        learnt = isinstance(tensor, nn.Parameter) or tensor.requires_grad
        made = _Made(LEARNT if learnt else 0, Operation("", ""))
        before = self._trace._made.get(tensor)
        made.source |= 0 if before is None else before.source
        if tensor.numel() == 1:
            made.value = tensor.detach().clone()
            made.edge = _edge(tensor)
        return made


def _edge(tensor: torch.Tensor) -> GradientEdge | None:
    """Place of a tensor in the graph; None without one, and where graphs are switched off."""
    # For that of a parameter torch asks a view of it, which has none in inference mode.
    if not tensor.requires_grad or torch.is_inference_mode_enabled():
        return None
    return get_gradient_edge(tensor)


def _sources(name: str, given: list[_Made], count: int, outside: bool) -> list[int]:
    """Sources of the results of an operation; `outside` of the model, data is compared."""
    if is_new(name):
        return [0] * count
    if name in SIDE_BY_SIDE and count == len(given):
        return [each.source for each in given]
    if name in LIKE_ANOTHER:
        given = given[:1]
    source = 0
    for each in given:
        source |= each.source
    alone = any(each.source and not each.source & LEARNT for each in given)
    return [source | COMPARED if alone and source & LEARNT and outside else source] * count


def _terms(made: _Made, factor: float) -> Iterator[Term]:
    """Terms of a scalar: of a sum its parts, of a product with a number the terms of the other."""
    parts = made.parts[:2]
    if made.kind in SUMS and len(parts) == 2:
        right = -1.0 if made.kind in ("sub", "sub_", "__rsub__", "rsub") else 1.0
        left = 1.0
        if made.kind in ("__rsub__", "rsub"):
            left, right = right, left
        for part, sign in zip(parts, (left, right), strict=True):
            if isinstance(part, _Made) and part.value is not None:
                yield from _terms(part, factor * sign)
            elif isinstance(part, _Made):
                yield _term(part, factor * sign, made.operation)
        return
    if made.kind in FACTORS and len(parts) == 2:
        numbers = [part for part in parts if isinstance(part, int | float)]
        others = [part for part in parts if isinstance(part, _Made) and part.value is not None]
        if len(numbers) == 1 and len(others) == 1 and "mul" in made.kind and not numbers[0]:
            # Switched off, such as a weight that grows during training.
            return
        if len(numbers) == 1 and len(others) == 1 and numbers[0]:
            scale = numbers[0] if "mul" in made.kind else 1.0 / numbers[0]
            yield from _terms(others[0], factor * scale)
            return
    yield _term(made, factor, made.operation)


def _term(made: _Made, factor: float, operation: Operation) -> Term:
    value = float("nan") if made.value is None else factor * float(made.value)
    return Term(value, made.source, factor, made.edge, operation, made.cut)


def _tensors(value: Any) -> list[torch.Tensor]:
    return [one for one in leaves(value) if isinstance(one, torch.Tensor)]
