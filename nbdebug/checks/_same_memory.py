"""Inputs of a model that lie in memory which lives on, and whether steps change it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode

from nbdebug.checks._context import CheckContext
from nbdebug.checks._model_hooks import calls_observed
from nbdebug.checks._operations import bare_name
from nbdebug.model.module.forward import leaves
from nbdebug.model.origin.source_line import user_line

# The last is the first one again: only what a step has left behind can make it another one.
SEEDS = (0, 1, 0)
MAX_BYTES = 2**26
# They fill a buffer anew, whatever was in it.
FILLS = frozenset({
    "copy", "fill", "zero", "normal", "uniform", "random", "bernoulli", "exponential", "set",
})  # fmt: skip


class Input(NamedTuple):
    """Input of a model: the tensor, and its numbers at that time."""

    tensor: torch.Tensor
    numbers: torch.Tensor

    @property
    def memory(self) -> tuple[Any, ...]:
        """Address, shape and strides."""
        one = self.tensor
        return one.data_ptr(), one.shape, one.stride(), one.dtype


def rewritten_input(context: CheckContext) -> str | None:
    """Line that changes the stored data that an input is a part of; "" if it is not known.

    The same batch is looked at three times, one after the other, with the same random numbers the
    first and the last time. Tensors of the first look are held, so that no other takes their place.

    Returns:
        None if inputs are new tensors, or stay as they are.
    """
    if isinstance(context.batch, torch.Tensor) and context.loss_fn is not None:
        return None
    context.train()
    watch, looks = _Writes(), []
    with context.in_turn():
        for seed in SEEDS:
            seen = _Inputs()
            calls = calls_observed(context.model, seen)
            with context.samples.seeded(seed), calls, torch.enable_grad(), watch:
                context.evaluate(context.batch)
            looks.append(seen.found)
    first, last = looks[0], looks[-1]
    for one, other in zip(first, last, strict=False):
        if one.memory != other.memory or torch.equal(one.numbers, other.numbers):
            continue
        written = watch.of(one.tensor)
        if not any(fills for _, fills in written):
            return next((line for line, _ in written), "")
    return None


class _Inputs:
    """Keeps the first input of modules that no other module calls."""

    def __init__(self) -> None:
        self.found: list[Input] = []
        self._depth, self._room = 0, MAX_BYTES

    def enter(self, module: Any, inputs: Any) -> None:
        """Called before a module."""
        self._depth += 1
        given = inputs[0] if isinstance(inputs, tuple) and inputs else None
        if self._depth > 1 or not isinstance(given, torch.Tensor) or given.requires_grad:
            return
        if given.layout is torch.strided and given.nbytes <= self._room:
            self._room -= given.nbytes
            self.found.append(Input(given, given.detach().clone()))

    def leave(self, module: Any, inputs: Any, outputs: Any) -> None:
        """Called after it."""
        self._depth -= 1


class _Writes(TorchFunctionMode):
    """Notes which operations write into tensors that have no gradient."""

    def __init__(self) -> None:
        super().__init__()
        # Address of the memory, line, and if the operation fills what it is given.
        self._found: list[tuple[int, str, bool]] = []

    def of(self, tensor: torch.Tensor) -> list[tuple[str, bool]]:
        """Lines that wrote into the memory of a tensor, and if they filled it."""
        place = tensor.untyped_storage().data_ptr()
        return [(line, fills) for address, line, fills in self._found if address == place]

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = [one for one in leaves(args) if isinstance(one, torch.Tensor)]
        versions = [one._version for one in given]
        result = function(*args, **(kwargs or {}))
        # Whatever a tensor of the user's own does here, the step goes on.
        with suppress(Exception):
            for one, version in zip(given, versions, strict=True):
                if one._version != version and not one.requires_grad:
                    name = bare_name(function)
                    item = name == "setitem" and isinstance(args[-1], torch.Tensor)
                    place = one.untyped_storage().data_ptr()
                    self._found.append((place, user_line(), name in FILLS or item))
                    break
        return result
