"""Calls of the model within one step, with the gradient of the loss at its outputs.

They make outputs and targets visible that a `step_fn` keeps to itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.errors import DataError
from nbdebug.model.module.forward import first_samples, leaves, with_leaves
from nbdebug.model.module.hooks import after_forward

MAX_CALLS = 16
KEPT = "watched step"


@dataclass
class ModelCall:
    """One call of the model in a step.

    Attributes:
        arguments: positional and named arguments; outputs: what the model returned.
        inputs: the tensors among the arguments; found: real outputs with a graph.
        places: of each of `found` among all real outputs.
        gradients: of the loss for each of `found`; None where the loss does not depend on it.
    """

    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    outputs: Any
    inputs: list[torch.Tensor] = field(default_factory=list)
    found: list[torch.Tensor] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    gradients: list[torch.Tensor | None] = field(default_factory=list)

    def read(self) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
        """Yield place, output and gradient of each output that the loss depends on."""
        for place, output, gradient in zip(self.places, self.found, self.gradients, strict=True):
            if gradient is not None and bool(gradient.count_nonzero()):
                yield place, output.detach(), gradient

    def again(
        self, context: CheckContext, old: torch.Tensor | None = None, new: Any = None
    ) -> list[torch.Tensor]:
        """Outputs of the model in eval mode for the same arguments, one of them replaced."""
        given = with_leaves(self.arguments, lambda leaf: new if leaf is old else leaf)
        return self.with_arguments(context, given)

    def with_arguments(self, context: CheckContext, given: Any) -> list[torch.Tensor]:
        """Real outputs of the model in eval mode for other arguments."""
        args, named = given
        context.model.eval()
        with torch.no_grad():
            return real_tensors(context.model(*args, **named))


@dataclass
class WatchedStep:
    """One evaluation of the loss in training mode: the calls of the model, and the loss."""

    loss: torch.Tensor
    calls: list[ModelCall]


def watched_step(context: CheckContext, batch: Any = None) -> WatchedStep | str:
    """Evaluate the loss of a batch in training mode; or the reason why it is not seen.

    Without `batch`, it is the first one; of the unmodified model it is evaluated once for all
    checks.
    """
    if batch is not None or not context.is_unmodified:
        return _evaluated(context, context.batch if batch is None else batch)
    if KEPT not in context.shared:
        context.shared[KEPT] = _evaluated(context, context.batch)
    found: WatchedStep | str = context.shared[KEPT]
    return found


def uneven_step(context: CheckContext) -> WatchedStep | str:
    """The step of the first batch; of one sample less where there are as many as features.

    A matrix of pairs has as many rows as columns for each number of samples.
    """
    step = watched_step(context)
    if isinstance(step, str) or not any(map(_is_square, step.calls[0].inputs)):
        return step
    count = max(len(one) for one in step.calls[0].inputs if one.ndim)
    try:
        return watched_step(context, first_samples(context.batch, count - 1))
    except (RuntimeError, ValueError, IndexError, DataError):
        return "the step does not run with one sample less."


def _is_square(tensor: torch.Tensor) -> bool:
    return tensor.ndim > 1 and tensor.shape[0] == tensor.shape[1]


def _evaluated(context: CheckContext, batch: Any) -> WatchedStep | str:
    context.train()
    calls: list[ModelCall] = []

    def note(model: Any, args: Any, named: Any, outputs: Any) -> None:
        if torch.is_grad_enabled():
            inputs = [one for one in leaves((args, named)) if isinstance(one, torch.Tensor)]
            real = list(enumerate(real_tensors(outputs)))
            found = [one for _, one in real if one.requires_grad]
            places = [place for place, one in real if one.requires_grad]
            calls.append(ModelCall((args, named), outputs, inputs, found, places))

    hook = after_forward(context.model, note, with_kwargs=True)
    try:
        loss = context.evaluate(batch)[0]
    finally:
        hook.remove()
    if not calls or len(calls) > MAX_CALLS or not any(call.found for call in calls):
        return "the step does not call the model as a whole."
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or not loss.requires_grad:
        return "the loss has no gradient."
    try:
        _differentiate(loss, calls)
    except RuntimeError:
        return "the step calls backward itself, so that the gradient at the outputs is gone."
    return WatchedStep(loss.detach(), calls)


def _differentiate(loss: torch.Tensor, calls: list[ModelCall]) -> None:
    every = [output for call in calls for output in call.found]
    found = iter(torch.autograd.grad(loss.sum(), every, allow_unused=True))
    for call in calls:
        call.gradients = [next(found) for _ in call.found]


def batch_tensors(context: CheckContext, batch: Any = None) -> list[torch.Tensor]:
    """The tensors of a batch; without `batch`, of the first one."""
    parts = leaves(context.batch if batch is None else batch)
    return [one for one in parts if isinstance(one, torch.Tensor)]


def real_tensors(outputs: Any) -> list[torch.Tensor]:
    """Tensors of real numbers among outputs, also those of a dataclass."""
    if hasattr(outputs, "__dataclass_fields__") and not isinstance(outputs, dict):
        outputs = dict(vars(outputs))
    return [
        one for one in leaves(outputs) if isinstance(one, torch.Tensor) and one.is_floating_point()
    ]
