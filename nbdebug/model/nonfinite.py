"""Finds the origin of the first NaN or Inf of a forward or backward pass."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from nbdebug.model.module.forward import tensors_of
from nbdebug.model.module.hooks import after_forward, before_forward
from nbdebug.model.module.names import every_module, is_compiled, stable_name
from nbdebug.model.state.model_state import undisturbed
from nbdebug.model.state.surroundings import Surroundings


def first_nonfinite(
    model: nn.Module, forward: Callable[[], Any], around: Surroundings | None = None
) -> tuple[str | None, str]:
    """Run `forward` once more and name the first value that is NaN or Inf.

    Gradients, buffers, modes and random number generators are restored; restore the generators
    before the call to draw the same dropout masks. The first NaN or Inf is in the input of the
    model, in a parameter or buffer, in the output of a layer, or, when the model's own code
    made it between two layers, in the input of a layer.

    Returns:
        A phrase such as "the output of layer fc2 (Linear)", None when every layer gave finite
        values; and the range of the input of that layer as the end of a sentence, "" when
        unknown.
    """
    trace = _FirstNonfinite(model)
    try:
        with undisturbed(model, around), torch.no_grad(), eager(model):
            forward()
    except BaseException:
        # User code may itself raise on such a value; the finding is what matters then.
        if trace.found is None:
            raise
    finally:
        trace.remove()
    return trace.found or _nonfinite_value(model), trace.input_range


def nonfinite_gradients(model: nn.Module) -> str | None:
    """Names of parameters with NaN or Inf in their gradient, nearest to the output first.

    Backward runs from the output to the input, so the first name is the origin.
    """
    names = [
        stable_name(name)
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and not is_finite(parameter.grad)
    ]
    return ", ".join(reversed(names)) or None


class _FirstNonfinite:
    """Hooks on every module that remember the first NaN or Inf."""

    def __init__(self, model: nn.Module) -> None:
        self.found: str | None = None
        self.input_range = ""
        self._handles = []
        for index, (name, module) in enumerate(every_module(model)):
            if isinstance(module, torch.jit.ScriptModule):
                continue  # takes no hooks
            title = f"layer {name} ({type(module).__name__})" if name else "the model"
            before, after = self._hooks("the model" if index == 0 else title, title)
            self._handles += [
                before_forward(module, before, with_kwargs=True),
                after_forward(module, after),
            ]

    def _hooks(self, receiver: str, title: str) -> tuple[Callable[..., None], Callable[..., None]]:
        def before(module: nn.Module, args: Any, kwargs: Any) -> None:
            # Masks often hold Inf, so only the first argument is searched for it.
            if self.found is None and (
                _has_nonfinite(args[:1]) or _has_nonfinite((args[1:], kwargs), nan_only=True)
            ):
                self.found = f"the input of {receiver}"

        def after(module: nn.Module, args: Any, output: Any) -> None:
            if self.found is None and _has_nonfinite(output):
                self.found = _nonfinite_value(module, title) or f"the output of {title}"
                self.input_range = _input_range(args)

        return before, after

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []


def _input_range(args: Any) -> str:
    """Range of the first input tensor, as the end of a sentence."""
    tensor = next(tensors_of(args), None)
    if tensor is None or tensor.layout is not torch.strided or not tensor.is_floating_point():
        return ""
    if not tensor.numel():
        return ""
    low, high = (float(one) for one in tensor.detach().aminmax())
    return f", whose input ran from {low:.3g} to {high:.3g}"


def _nonfinite_value(module: nn.Module, of: str = "") -> str | None:
    """Name of a parameter with NaN or Inf, or of a buffer with NaN (masks hold Inf)."""
    suffix = f" of {of}" if of else ""
    for name, parameter in module.named_parameters():
        if not is_lazy(parameter) and not is_finite(parameter):
            return f"the parameter {stable_name(name)}{suffix}"
    for name, buffer in module.named_buffers():
        if not is_lazy(buffer) and _has_nonfinite(buffer, nan_only=not of):
            # In training mode batch norm takes NaN and Inf of its input into its averages.
            if of and module.training:
                continue
            return f"the buffer {stable_name(name)}{suffix}"
    return None


def eager(model: nn.Module) -> AbstractContextManager[Any]:
    """Context in which compiled code runs uncompiled: it skips hooks, and trips over modes.

    A loop may call `torch.compile(model)`, while the model itself is not compiled.
    """
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    used = bool(getattr(dynamo, "cached_backends", None))
    if used or any(is_compiled(module) for module in model.modules()):
        stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
        return stance
    return nullcontext()


def _has_nonfinite(value: Any, nan_only: bool = False) -> bool:
    return any(not is_finite(tensor, nan_only) for tensor in tensors_of(value))


def is_finite(tensor: torch.Tensor, nan_only: bool = False) -> bool:
    """True if a tensor of any layout has no NaN, and no Inf unless `nan_only`."""
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    if tensor.is_nested:
        return all(is_finite(part, nan_only) for part in tensor.unbind())
    if tensor.layout is torch.sparse_coo:
        tensor = tensor.coalesce().values()
    elif tensor.layout is not torch.strided:
        tensor = tensor.values()
    if nan_only:
        return not bool(torch.isnan(tensor).any())
    return bool(torch.isfinite(tensor).all())
