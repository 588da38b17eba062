"""Derivatives without a graph of their own, followed through operations to the loss."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from nbdebug.checks._bounded import JOINING, PASSING
from nbdebug.checks._loss_shapes import CRITERIA
from nbdebug.checks._operations import LIKE_ANOTHER, bare_name, is_new
from nbdebug.model.module.forward import tensors_of
from nbdebug.model.module.hooks import before_any_forward
from nbdebug.model.origin.graph import leaves_of
from nbdebug.model.origin.source_line import user_line

# A derivative; a single number or an average made of derivatives; a product of one with outputs.
DERIVATIVE, SUMMARY, FACTOR = 3, 2, 1
ENDS = frozenset(("sign", "sgn", "detach", "data", "zero", "fill", "heaviside"))
# Functions of layers: a derivative that enters one is an input, or a weight.
LAYERS = frozenset((
    "linear", "bilinear", "embedding", "batch_norm", "layer_norm", "group_norm", "instance_norm",
    "multi_head_attention_forward", "lstm", "gru", "rnn_tanh", "rnn_relu", "prelu",
))  # fmt: skip
SUMS = frozenset((
    "add", "radd", "iadd", "sub", "subtract", "rsub", "isub", "lerp", "addcmul", "addcdiv",
    "foreach_add", "foreach_sub", "foreach_addcmul", "foreach_addcdiv",
))  # fmt: skip
MATRICES = frozenset((
    "matmul", "rmatmul", "mm", "bmm", "mv", "dot", "vdot", "inner", "outer", "einsum", "tensordot",
    "addmm", "baddbmm", "addmv",
))  # fmt: skip
PRODUCTS = MATRICES | {
    "mul", "multiply", "rmul", "imul", "div", "divide", "true_divide", "truediv", "rtruediv",
    "itruediv",
}  # fmt: skip
AVERAGES = frozenset((
    "mean", "nanmean", "median", "max", "amax", "std", "var", "avg_pool1d", "avg_pool2d",
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
))  # fmt: skip
LINEAR = SUMS | PRODUCTS | PASSING | JOINING
LINEAR |= {
    "sum", "nansum", "mean", "nanmean", "neg", "negative", "where", "trace", "cumsum", "clamp",
    "minimum", "maximum",
}  # fmt: skip
# Arguments of losses that weigh what they compare.
WEIGHTS = frozenset(("weight", "pos_weight"))


@dataclass(frozen=True)
class Derivative:
    """Mark of a tensor that a derivative without a graph is part of.

    Attributes:
        line: of the user's code that made it.
        inputs: what it is the derivative for; learnt: ids of the trained parameters behind it.
        kind: DERIVATIVE, SUMMARY or FACTOR.
        whole: True if a term of the loss is a constant as a whole.
    """

    line: str
    inputs: tuple[torch.Tensor, ...]
    learnt: frozenset[int]
    kind: int = DERIVATIVE
    whole: bool = False


class DetachedDerivatives(TorchFunctionMode):
    """Follows derivatives without a graph through the operations of one step.

    A mark ends where a derivative enters a layer or a module with parameters (adversarial
    examples), is a step from what it is the derivative for (weights of an inner loop), or weighs
    a term of the loss: a single number or an average times what depends on the same parameters.

    Args:
        trained: the parameters that the optimizer changes.

    Attributes:
        seen: number of derivatives that were made, with a graph or without.
    """

    def __init__(self, trained: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.seen = 0
        self._trained = {id(p) for p in trained if p.requires_grad}
        self._marks = WeakIdKeyDictionary()
        # Of each backward pass without a graph: the tensors it began with, the parameters.
        self._passes: list[tuple[list[torch.Tensor], frozenset[int]]] = []
        self._open = ExitStack()

    def __enter__(self) -> DetachedDerivatives:
        hook = before_any_forward(self._enter_module)
        self._open.callback(hook.remove)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._open.close()

    def of(self, value: Any) -> Derivative | None:
        """The derivative that a value takes for a constant; None without one."""
        marks = (self._marks.get(one) for one in tensors_of(value))
        return next((m for m in marks if m is not None and m.kind != FACTOR), None)

    def _enter_module(self, module: nn.Module, inputs: Any) -> None:
        with suppress(Exception):
            if any(True for _ in module.parameters()):
                # A term of a loss may be given to a module that weighs it.
                for one in [each for each in tensors_of(inputs) if each.dim()]:
                    self._marks.pop(one, None)

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name, mark = bare_name(function), None
        # Whatever a tensor of the user's own does here, the step goes on.
        with suppress(Exception):
            mark = self._made(function, args, kwargs) or self._followed(name, args, kwargs)
        result = function(*args, **kwargs)
        with suppress(Exception):
            new = function is torch.autograd.grad or _is_gradient(function)
            target = args[0] if name == "setitem" and mark is not None else result
            for one in tensors_of(target):
                self._put(one, mark, name, new, args)
        return result

    def _made(self, function: Any, args: Any, kwargs: Any) -> Derivative | None:
        """Mark of a derivative that this call makes."""
        if function is torch.autograd.grad:
            self.seen += 1
            learnt = self._learnt(tensors_of(args[0]))
            if learnt and not kwargs.get("create_graph"):
                return Derivative(user_line(), tuple(tensors_of(args[1])), learnt)
        elif function in (torch.Tensor.backward, torch.autograd.backward):
            roots = list(tensors_of(args[0]))
            learnt = self._learnt(roots)
            if learnt and not kwargs.get("create_graph"):
                self._passes.append(([leaf for one in roots for leaf in leaves_of(one)], learnt))
        elif _is_gradient(function):
            for leaves, learnt in self._passes:
                if args[0].grad_fn is not None or any(leaf is args[0] for leaf in leaves):
                    self.seen += 1
                    return Derivative(user_line(), (args[0],), learnt)
        return None

    def _followed(self, name: str, args: Any, kwargs: Any) -> Derivative | None:
        """Mark of the result of an operation on marked tensors."""
        if name in LIKE_ANOTHER:
            args = args[:1]
        named = {key: value for key, value in kwargs.items() if key not in WEIGHTS}
        given = list(tensors_of([args, named]))
        found = [(one, self._marks[one]) for one in given if one in self._marks]
        if not found or name in LAYERS or name.startswith("conv") or is_new(name):
            return None
        if name in ENDS and not (name == "detach" and _within_torch()):
            return None
        mark = _joined([mark for _, mark in found])
        others = [one for one in given if one not in self._marks]
        if name in SUMS and any(self._is_input(mark, one) for one in others):
            return None
        if name in CRITERIA and others and others[0] is args[0] and self._is_apart(mark, others):
            return None
        if name in SUMS and all(one.numel() == 1 for one in given):
            return _of_terms(mark, found, any(one.requires_grad for one in given))
        if name in PRODUCTS:
            return self._product(name, mark, found, others)
        if mark.kind == FACTOR and name not in LINEAR:
            return replace(mark, kind=DERIVATIVE)
        return mark

    def _product(
        self, name: str, mark: Derivative, found: list[Any], others: list[torch.Tensor]
    ) -> Derivative | None:
        factors = sum(each.kind == FACTOR for _, each in found)
        if factors:
            # A square of a product, or one with a derivative, is no weight.
            weighs = factors == 1 and all(each.kind != DERIVATIVE for _, each in found)
            return replace(mark, kind=FACTOR if weighs else DERIVATIVE)
        if any(one.requires_grad for one, _ in found):
            return mark
        if any(self._is_input(mark, one) for one in others):
            return None
        shared = self._learnt(others) & mark.learnt
        if not shared:
            return mark
        if name in MATRICES and any(self._is_weight(one, shared) for one in others):
            return None
        return None if mark.kind == SUMMARY else replace(mark, kind=FACTOR)

    def _is_input(self, mark: Derivative, one: torch.Tensor) -> bool:
        """True for what the mark is the derivative for, if it is learnt."""
        same = [
            each
            for each in mark.inputs
            if each is one or (each.shape == one.shape and torch.equal(each, one))
        ]
        return bool(same) and bool(self._learnt([one, *same]))

    def _is_apart(self, mark: Derivative, others: list[torch.Tensor]) -> bool:
        """True if another network gave these tensors: the derivative is a target for it."""
        learnt = self._learnt(others)
        return bool(learnt) and not learnt & mark.learnt

    def _is_weight(self, one: torch.Tensor, learnt: frozenset[int]) -> bool:
        """True for one of these parameters [A, B, ...], or a view of all of it."""
        leaves = leaves_of(one) if one.dim() > 1 else []
        return len(leaves) == 1 and id(leaves[0]) in learnt and leaves[0].numel() == one.numel()

    def _learnt(self, tensors: Iterable[torch.Tensor]) -> frozenset[int]:
        """Ids of the trained parameters that tensors depend on."""
        leaves = (leaf for one in tensors if one.requires_grad for leaf in leaves_of(one))
        return frozenset(id(leaf) for leaf in leaves if id(leaf) in self._trained)

    def _put(
        self, one: torch.Tensor, mark: Derivative | None, name: str, new: bool, args: Any
    ) -> None:
        real = one.is_floating_point() or one.is_complex()
        if mark is None or not real or id(one) in self._trained or (new and one.requires_grad):
            self._marks.pop(one, None)
            return
        most = max((each.numel() for each in tensors_of(args)), default=0)
        fewer = not new and one.numel() < most and name not in PASSING
        if mark.kind == DERIVATIVE and fewer and (one.numel() == 1 or name in AVERAGES):
            mark = replace(mark, kind=SUMMARY)
        self._marks[one] = mark


def _joined(marks: list[Derivative]) -> Derivative:
    """One mark of several: the surest of them, with the inputs and parameters of all."""
    first = max(marks, key=lambda mark: mark.kind)
    inputs = {id(one): one for mark in marks for one in mark.inputs}
    learnt = frozenset[int]().union(*(mark.learnt for mark in marks))
    whole = any(mark.whole for mark in marks)
    return replace(first, inputs=tuple(inputs.values()), learnt=learnt, whole=whole)


def _of_terms(
    mark: Derivative, found: list[tuple[torch.Tensor, Derivative]], learns: bool
) -> Derivative:
    """Mark of a sum of single numbers, which `learns` if one of them has a gradient."""
    terms = [one for one, each in found if each.kind == SUMMARY or _of_a_number(each)]
    if not terms:
        return mark
    constant = learns and any(not one.requires_grad for one in terms)
    return replace(mark, kind=SUMMARY, whole=mark.whole or constant)


def _of_a_number(mark: Derivative) -> bool:
    """True for the derivative for a tensor without axes, such as a factor of the outputs."""
    return mark.kind == DERIVATIVE and all(not one.dim() for one in mark.inputs)


def _is_gradient(function: Any) -> bool:
    """True for reading `.grad` of a tensor."""
    return getattr(function, "__name__", "") == "__get__" and bare_name(function) == "grad"


def _within_torch() -> bool:
    """True if torch.autograd.functional asks, which detaches what it returns."""
    # The callers: the operation that asks, the mode, and what called it.
    name = sys._getframe(3).f_globals.get("__name__", "")
    return str(name).startswith("torch.autograd")
