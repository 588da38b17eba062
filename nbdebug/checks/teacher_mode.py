"""Mode of frozen networks that give targets."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import leaves, with_leaves
from nbdebug.model.module.hooks import after_any_forward, after_forward
from nbdebug.model.module.modes import depends_on_mode


class TeacherMode(Check):
    """Checks that a frozen network beside the one that learns runs in eval mode.

    A teacher in training mode drops units at random and normalises by the batch: its outputs, the
    targets of the student, change with each step. A frozen network whose outputs the trained
    layers read is a backbone, and no teacher; one of the shape of the trained network, or of a part
    of it, may be its running average, which may have noise.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "teacher_mode"
    step = 3
    order = 51
    title = "Frozen networks in eval mode"
    source = "PyTorch, Module.eval; Hinton et al. (2015), Distilling the Knowledge"
    explains = ("train_eval",)
    sees_step = True

    def examine(self, context: CheckContext) -> Outcome:
        held = {id(p) for g in context.subject.optimizer.param_groups for p in g["params"]}
        called: list[tuple[nn.Module, Any]] = []

        def note(module: nn.Module, _: Any, outputs: Any) -> None:
            called.append((module, outputs))

        context.train()
        hook = after_any_forward(note)
        try:
            context.evaluate(context.batch)
        finally:
            hook.remove()
        inner = {id(m) for m in context.model.modules()}
        names = {id(m): name for name, m in context.model.named_modules()}
        shapes = _shapes(
            [p for p in context.model.parameters() if p.requires_grad and id(p) in held]
        )
        frozen = [
            (m, out) for m, out in called
            if _is_frozen(m, held) and not _has_gradient(out) and _acting(m)
        ]  # fmt: skip
        for module, _ in _outermost(frozen):
            if _shapes(module.parameters()) <= shapes:
                continue
            if id(module) in inner and self._feeds(context, module):
                continue
            name = names.get(id(module), type(module).__name__)
            return Outcome(
                "warning", f"{name} is frozen and in training mode: {_acting(module)} acts on its "
                "outputs, and nothing that learns reads them", "eval mode",
                f"Call .eval() on {name}, and again after each model.train().",
            )  # fmt: skip
        return Outcome("pass", "no frozen network beside is in training mode", "eval mode")

    def _feeds(self, context: CheckContext, module: nn.Module) -> bool:
        """True if outputs with a gradient change when those of a frozen module are changed."""
        before, after = (self._outputs(context, module, noise) for noise in (0.0, 1.0))
        return len(before) != len(after) or not before or any(
            one.shape != other.shape or not torch.equal(one, other)
            for one, other in zip(before, after, strict=True)
        )  # fmt: skip

    def _outputs(self, context: CheckContext, module: nn.Module, noise: float) -> list[Any]:
        found: list[Any] = []

        def moved(_: Any, __: Any, outputs: Any) -> Any:
            return with_leaves(outputs, lambda leaf: _moved(leaf, noise))

        def note(_: Any, __: Any, outputs: Any) -> None:
            real = [one for one in leaves(outputs) if isinstance(one, torch.Tensor)]
            found.extend(one.detach() for one in real if one.requires_grad)

        hooks = [after_forward(module, moved), after_forward(context.model, note)]
        context.train()
        state = torch.get_rng_state()
        try:
            context.evaluate(context.batch)
        finally:
            torch.set_rng_state(state)
            for hook in hooks:
                hook.remove()
        return found


def _moved(leaf: Any, noise: float) -> Any:
    if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
        return leaf + noise
    return leaf


def _is_frozen(module: nn.Module, held: set[int]) -> bool:
    own = list(module.parameters())
    return bool(own) and not any(p.requires_grad and id(p) in held for p in own)


def _has_gradient(outputs: Any) -> bool:
    return any(isinstance(one, torch.Tensor) and one.requires_grad for one in leaves(outputs))


def _acting(module: nn.Module) -> str:
    """Kind of the first layer in training mode that depends on the mode; empty without."""
    kinds = (type(m).__name__ for m in module.modules() if depends_on_mode(m) and m.training)
    return next(kinds, "")


def _shapes(parameters: Any) -> Counter[tuple[int, ...]]:
    return Counter(tuple(p.shape) for p in parameters)


def _outermost(found: list[tuple[nn.Module, Any]]) -> list[tuple[nn.Module, Any]]:
    inside = {id(m) for module, _ in found for m in module.modules() if m is not module}
    return [(module, out) for module, out in found if id(module) not in inside]
