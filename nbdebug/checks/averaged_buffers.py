"""Running statistics of a copy of the model that is kept beside it."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.hooks import after_any_forward

EXPECTED = "running statistics that follow those of the model"
REMEDY = (
    "Copy or average the buffers too: for a, b in zip(copy.buffers(), model.buffers()): "
    "a.copy_(b). torch.optim.swa_utils.AveragedModel does it."
)


class AveragedBuffers(Check):
    """Checks that an average of the weights has running statistics too.

    A loop over `parameters()` averages weights alone: the statistics of BatchNorm are buffers and
    stay at mean 0 and variance 1 in the copy, whose outputs are then wrong in eval mode, however
    good the model is. Copies are seen where a step_fn, a loop or the model reaches them. One that
    is still in training mode normalises by the batch and is left alone.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "averaged_buffers"
    step = 3
    order = 52
    title = "Averaged copies have buffers too"
    source = "PyTorch, torch.optim.swa_utils (AveragedModel)"

    MIN_BATCHES = 10

    def examine(self, context: CheckContext) -> Outcome:
        if not any(_batches(one) >= self.MIN_BATCHES for one in _normalising(context.model)):
            words = "no BatchNorm of the model has gathered statistics of several batches."
            return Outcome("not_applicable", words)
        own = {id(one) for one in context.model.parameters() if one.requires_grad}
        seen = 0
        for module in _beside(context):
            layers = list(_normalising(module))
            if not layers or not own.isdisjoint(id(one) for one in module.parameters()):
                continue
            seen += 1
            if all(_is_new(layer) and not layer.training for layer in layers) and any(
                _has_learnt(layer) for layer in layers
            ):
                kind = type(module).__name__
                return Outcome(
                    "warning", f"a copy of the model ({kind}) has averaged weights and is in eval "
                    f"mode, but its {len(layers)} BatchNorm layers still have the running mean 0 "
                    "and variance 1 of the start", EXPECTED, REMEDY,
                )  # fmt: skip
        return Outcome("pass", f"{seen} copies beside the model", EXPECTED)


def _beside(context: CheckContext) -> Iterator[nn.Module]:
    """Networks outside of the model, and frozen ones within it, that have weights of its shapes."""
    shapes = _shapes(context.model)
    trained = {tuple(p.shape) for p in context.model.parameters() if p.requires_grad}
    known: set[int] = set()
    for value in [*context.subject.surroundings.values(), *_called(context)]:
        if isinstance(value, nn.Module) and id(value) not in known and value is not context.model:
            known.add(id(value))
            if _shapes(value) <= shapes and _shapes(value):
                yield value
    for module in context.model.children():
        own = list(module.parameters())
        if own and not any(p.requires_grad for p in own) and _shapes(module) <= trained:
            yield module


def _called(context: CheckContext) -> list[nn.Module]:
    """Modules that a step calls."""
    called: list[nn.Module] = []
    hook = after_any_forward(lambda module, _, __: called.append(module))
    inner = {id(one) for one in context.model.modules()}
    context.train()
    try:
        context.evaluate(context.batch)
    finally:
        hook.remove()
    return [one for one in called if id(one) not in inner]


def _shapes(module: nn.Module) -> set[tuple[int, ...]]:
    return {tuple(p.shape) for p in module.parameters()}


def _normalising(module: nn.Module) -> Iterator[_BatchNorm]:
    """Layers of BatchNorm that gather statistics."""
    for one in module.modules():
        if isinstance(one, _BatchNorm) and one.running_mean is not None:
            yield one


def _batches(layer: _BatchNorm) -> int:
    return 0 if layer.num_batches_tracked is None else int(layer.num_batches_tracked)


def _is_new(layer: _BatchNorm) -> bool:
    """True if a layer has the statistics that it was made with."""
    assert layer.running_mean is not None
    assert layer.running_var is not None
    return not bool(layer.running_mean.any()) and bool((layer.running_var == 1).all())


def _has_learnt(layer: _BatchNorm) -> bool:
    """True if the scale and shift of a layer are not those that it was made with."""
    if not layer.affine:
        return False
    return bool((layer.weight != 1).any()) and bool((layer.bias != 0).any())
