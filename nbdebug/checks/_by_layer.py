"""Operations of one evaluation of the loss, with the layer that asks for each."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from nbdebug.checks._context import CheckContext
from nbdebug.model.module.hooks import after_forward, before_forward


class ByLayer(TorchFunctionMode):
    """Mode that knows the innermost module that runs; hooks are removed on exit."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._layers = [""]
        self._hooks = [
            hook
            for name, module in model.named_modules()
            for hook in (
                before_forward(module, partial(self._enter, name)),
                after_forward(module, self._leave, always_call=True),
            )
        ]

    @property
    def layer(self) -> str:
        """Name of the innermost module that runs, "" for the model itself and outside of it."""
        return self._layers[-1]

    def _enter(self, name: str, *_: Any) -> None:
        self._layers.append(name)

    def _leave(self, *_: Any) -> None:
        self._layers.pop()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for hook in self._hooks:
            hook.remove()


def evaluate_in(watch: ByLayer, context: CheckContext) -> None:
    """Evaluate the loss of the first batch in training mode inside of a mode."""
    context.train()
    with watch, torch.enable_grad():
        context.evaluate(context.batch)
