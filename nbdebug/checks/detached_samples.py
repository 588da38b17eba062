"""Samples of a distribution that a network reads, without a gradient to the distribution."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from nbdebug.checks._bounded import JOINING, PASSING
from nbdebug.checks._context import CheckContext
from nbdebug.checks._detached_derivatives import LAYERS
from nbdebug.checks._operations import bare_name
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import tensors_of
from nbdebug.model.origin.source_line import user_line

EXPECTED = "samples with a gradient to mean and deviation"
REMEDY = (
    "Draw them by rsample(), or as mean + std * torch.randn_like(std): sample() and torch.normal() "
    "give samples without a gradient."
)
SUMS = frozenset(("add", "radd", "sub", "rsub", "subtract", "mul", "rmul", "div", "truediv"))
READING = LAYERS | {"matmul", "mm", "bmm", "addmm", "baddbmm", "einsum"}


class DetachedSamples(Check):
    """Checks that a network which reads samples of a distribution trains what it is drawn from.

    A variational autoencoder decodes a sample of what its encoder gives as mean and deviation.
    `sample()` of torch.distributions and torch.normal() cut the graph there: the encoder is trained
    by the divergence alone, which makes it say the same for all inputs. Samples whose
    log-probability is taken (policy gradients), and those of a distribution that the loss does not
    train, are meant so.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "detached_samples"
    step = 2
    order = 25
    title = "Samples that a network reads"
    source = "Kingma & Welling (2014), reparametrisation; PyTorch, torch.distributions (rsample)"
    explains = ("zero_gradient", "dead_units", "overfit", "ignored_inputs")

    def examine(self, context: CheckContext) -> Outcome:
        context.train()
        watch = _Watch()
        with torch.enable_grad(), watch:
            loss = context.evaluate(context.batch)[0]
        if not watch.drawn:
            return Outcome("not_applicable", "the step draws no samples of a learnt distribution.")
        if not isinstance(loss, torch.Tensor) or not loss.requires_grad:
            return Outcome("not_applicable", "the loss has no graph.")
        for sample in watch.read:
            if id(sample) not in watch.scored and _is_trained(loss, sample.parents):
                where = f" ({sample.line})" if sample.line else ""
                return Outcome(
                    "fail", f"samples that were drawn without a gradient{where} are read by a "
                    "layer: mean and deviation learn nothing from what becomes of them",
                    EXPECTED, REMEDY,
                )  # fmt: skip
        return Outcome("pass", "no layer reads samples without a gradient", EXPECTED)


class _Sample(NamedTuple):
    """A drawing: the tensors that it is drawn by, and the line of the user's code."""

    parents: tuple[torch.Tensor, ...]
    line: str


def _is_trained(loss: torch.Tensor, parents: tuple[torch.Tensor, ...]) -> bool:
    """True if the loss depends on what is drawn from, by another way."""
    try:
        found = torch.autograd.grad(loss.sum(), parents, allow_unused=True, retain_graph=True)
    except RuntimeError:
        # The step has called backward itself.
        return False
    return any(one is not None and bool(one.any()) for one in found)


class _Watch(TorchFunctionMode):
    """Follows samples without a gradient to the layers that read them.

    Attributes:
        drawn: number of drawings; read: those that a layer reads; scored: ids of those whose
            distance from their mean is taken, as a log-probability does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.drawn, self.read, self.scored = 0, list[_Sample](), set[int]()
        # What numbers of a distribution are copies of; marks of samples.
        self._copies, self._marks = WeakIdKeyDictionary(), WeakIdKeyDictionary()

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        # Whatever a tensor of the user's own does here, the step goes on.
        with suppress(Exception):
            self._follow(function, list(tensors_of([args, kwargs])), result)
        return result

    def _follow(self, function: Any, given: list[torch.Tensor], result: Any) -> None:
        name = bare_name(function)
        if function is torch.normal:
            parents = tuple(self._copies.get(one, one) for one in given)
            parents = tuple(one for one in parents if one.requires_grad)
            if parents:
                self.drawn += 1
                self._marks[result] = _Sample(parents, user_line())
            return
        if name == "broadcast_tensors" or (name == "expand" and not torch.is_grad_enabled()):
            for one, base in zip(tensors_of(result), given, strict=False):
                self._copies[one] = self._copies.get(base, base)
            return
        found = [self._marks[one] for one in given if one in self._marks]
        if not found:
            return
        sample = found[0]
        bases = [self._copies.get(one, one) for one in given]
        if name in SUMS and any(one is parent for one in bases for parent in sample.parents):
            self.scored.add(id(sample))
        elif name in READING or name.startswith("conv"):
            if result.requires_grad:
                self.read.append(sample)
        elif name in SUMS | PASSING | JOINING and name != "detach":
            for one in tensors_of(result):
                self._marks[one] = sample
