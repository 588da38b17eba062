"""New layers that forward makes in each call."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.hooks import Handle, after_forward, before_any_forward, before_forward
from nbdebug.model.module.names import every_module
from nbdebug.model.origin.source_line import user_line


class MadeInForward(Check):
    """Checks that the layers which forward calls are attributes of the model.

    A layer that is made in forward is new in each call: its weights never learn, and eval mode
    does not reach it, so that its dropout stays on. Activations without weights may be made there.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "made_in_forward"
    step = 3
    order = 1
    title = "Layers belong to the model"
    source = "PyTorch, nn.Module: layers are registered in __init__"
    explains = ("train_eval", "sample_independence", "loss_graph", "zero_gradient", "overfit")

    def examine(self, context: CheckContext) -> Outcome:
        found = _made_anew(context)
        if not found:
            return Outcome("pass", "forward makes no layers", "layers made in __init__")
        kind, line = found[0]
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        where = f" ({line})" if line else ""
        return Outcome(
            "fail", f"forward makes a {kind} in each call{where}{more}",
            "layers made in __init__", f"Make it in __init__: self.layer = nn.{kind}(...), and "
            "call self.layer(x) in forward.",
        )  # fmt: skip


def _made_anew(context: CheckContext) -> list[tuple[str, str]]:
    """Classes of layers that forward makes in each call, with the lines that call them."""
    known = {id(module) for _, module in every_module(context.model)}
    inside = 0
    called: list[tuple[nn.Module, str]] = []

    def note(module: nn.Module, inputs: Any) -> None:
        if inside and id(module) not in known and _has_state(module):
            called.append((module, user_line()))

    def enter(*_: Any) -> None:
        nonlocal inside
        inside += 1

    def leave(*_: Any) -> None:
        nonlocal inside
        inside -= 1

    hooks: list[Handle] = [
        before_any_forward(note),
        before_forward(context.model, enter),
        after_forward(context.model, leave, always_call=True),
    ]
    try:
        context.train()
        context.look(context.batch)
        first = list(called)
        context.look(context.batch)
    finally:
        for hook in hooks:
            hook.remove()
    # A layer that is called again is held somewhere, such as a teacher in a list.
    kept = {id(module) for module, _ in called[len(first) :]}
    return [(type(m).__name__, line) for m, line in first if id(m) not in kept]


def _has_state(module: nn.Module) -> bool:
    """True for a layer with weights, or one that eval mode changes."""
    return isinstance(module, _DropoutNd | _NormBase) or any(
        True for _ in module.parameters(recurse=False)
    )
