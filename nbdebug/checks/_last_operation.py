"""The operation that makes the outputs of the model, past changes of shape and dtype."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

from nbdebug.checks._by_layer import ByLayer, evaluate_in
from nbdebug.checks._context import CheckContext
from nbdebug.model.module.forward import leaves
from nbdebug.model.module.hooks import after_forward

# The same numbers in another shape or dtype.
SAME_NUMBERS = frozenset({
    "squeeze", "unsqueeze", "view", "reshape", "flatten", "to", "float", "double", "half",
    "contiguous", "transpose", "permute", "type_as", "view_as", "bfloat16", "squeeze_", "movedim",
})  # fmt: skip


class LastOperation(NamedTuple):
    """Name of the operation, and of the innermost module that asked for it.

    Attributes:
        dropped: share p of a dropout, None for others.
    """

    name: str
    layer: str
    dropped: float | None


def last_operations(context: CheckContext) -> list[LastOperation]:
    """The operations that make the real outputs of the model in training mode."""
    watch = _Watch(context.model)
    evaluate_in(watch, context)
    return watch.last


class _Watch(ByLayer):
    """Notes which operation made each tensor."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.last: list[LastOperation] = []
        self._made: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._hooks.append(after_forward(model, self._finish))

    def _finish(self, _: Any, __: Any, outputs: Any) -> None:
        found = [one for one in leaves(outputs) if isinstance(one, torch.Tensor)]
        self.last += [self._made[one] for one in found if one in self._made]

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        name = str(getattr(function, "__name__", function))
        if not isinstance(result, torch.Tensor) or name == "__get__":
            return result
        given = args[0] if args and isinstance(args[0], torch.Tensor) else None
        if name in SAME_NUMBERS:
            if given is not None and given in self._made:
                self._made[result] = self._made[given]
            return result
        self._made[result] = LastOperation(name, self.layer, dropped_share(name, args, kwargs))
        return result


def dropped_share(name: str, args: Any, kwargs: Any) -> float | None:
    """Share of the numbers that a dropout in training sets to 0."""
    if "dropout" not in name:
        return None
    share = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
    training = kwargs.get("training", args[2] if len(args) > 2 else True)
    return float(share) if training and isinstance(share, int | float) else 0.0
