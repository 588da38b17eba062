"""Remedies for a loss before training that is far from chance."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.model.module.forward import tensors_of
from nbdebug.model.module.hooks import after_forward
from nbdebug.model.precision import wide

LARGE_MEAN = 5.0
# Of the loss of the mean output, as a multiple of chance: less is no fault of a bias.
SHIFTED_RATIO = 2.0
# Of the standard deviation of PyTorch's weights.
WIDE_RATIO = 3.0
# Of the root of the mean square: no activation, norm or mean of PyTorch makes it grow so.
GROWTH = 4.0
# PyTorch's recurrent matrices have a spectral radius of 0.6, the identity of 1.
MAX_RADIUS, DOUBLINGS = 1.1, 8
WEIGHED = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Bilinear,
)  # fmt: skip


def advice(context: CheckContext, ratio: float, of_mean: float) -> str:
    """The remedy for a loss.

    Args:
        ratio: the loss as a multiple of chance; of_mean: the same of the mean output alone.
    """
    if ratio < 1:
        return (
            "Check if the targets leak into the inputs, if these weights are already trained, "
            "and the reduction of the loss."
        )
    for part, name in ((context.inputs, "inputs"), (context.targets, "targets")):
        if isinstance(part, torch.Tensor) and part.is_floating_point():
            size = float(part.float().abs().mean())
            if size > LARGE_MEAN:
                return (
                    f"The mean absolute value of the {name} is {size:.3g}: standardise the {name}."
                )
    usual = "Inputs and targets have a usual scale"
    broad = widest(context.model)
    if broad:
        return f"{usual}, but {broad}"
    growing = growing_state(context.model)
    if growing:
        return f"{usual}, but {growing}"
    between = growing_between(context)
    if between:
        return f"{usual}, but {between}"
    if of_mean > max(SHIFTED_RATIO, ratio / 2):
        return (
            f"{usual}, but the mean output alone has {of_mean:.2g} times the loss of chance: the "
            "last bias is too far off. Set it to 0, or to the mean of the targets."
        )
    return (
        f"{usual}, so the initial weights are too large: use PyTorch's default (reinit), and check "
        "that the loss fits the outputs of the model."
    )


def widest(model: nn.Module) -> str:
    """Text on the last layer whose weights are far wider than PyTorch makes them; "" without."""
    found = ""
    for name, module in model.named_modules():
        if not isinstance(module, WEIGHED) or module.weight.numel() < 2:
            continue
        weight = module.weight.detach()
        spread, default = float(weight.float().std()), (3 * weight[0].numel()) ** -0.5
        if spread > WIDE_RATIO * default:
            found = (
                f"the initial weights of {name} have a standard deviation of {spread:.2g}, where "
                f"PyTorch gives {default:.2g}: {_remedy(model, name, module)}"
            )
    return found


def growing_state(model: nn.Module) -> str:
    """Text on a recurrent matrix that makes its state grow without a limit; "" without.

    Of tanh and of gates, the states have a limit.
    """
    for name, module in model.named_modules():
        if not isinstance(module, nn.RNN | nn.RNNCell) or module.nonlinearity != "relu":
            continue
        for key, weight in module.named_parameters(recurse=False):
            if key.startswith("weight_hh") and (radius := _radius(weight)) > MAX_RADIUS:
                key = f"{name}.{key}" if name else key
                return (
                    f"the recurrent matrix {key} has a spectral radius of {radius:.2g}: with each "
                    "time step, the state grows by this factor. Initialise it as PyTorch does "
                    f"(reinit), or by nn.init.eye_({key}); clip the gradients."
                )
    return ""


def growing_between(context: CheckContext) -> str:
    """Text on values that grow far between two layers, by an operation there; "" without."""
    seen: list[tuple[str, float, float]] = []

    def note(name: str, _: nn.Module, inputs: Any, output: Any) -> None:
        first = next(tensors_of(inputs), None)
        if first is not None and first.is_floating_point() and isinstance(output, torch.Tensor):
            seen.append((name, _size(first), _size(output)))

    layers = [(n, m) for n, m in context.model.named_modules() if isinstance(m, WEIGHED)]
    hooks = [after_forward(module, partial(note, name)) for name, module in layers]
    try:
        outputs = context.outputs(context.inputs)
    finally:
        for hook in hooks:
            hook.remove()
    ends = [*seen[1:], ("the outputs", _size(outputs), 0.0)] if seen else []
    for (before, _, gave), (after, given, _) in zip(seen, ends, strict=True):
        if gave > 0 and given > GROWTH * gave:
            return (
                f"between {before} and {after} the values grow {given / gave:.3g} times, from a "
                f"size of {gave:.2g} to {given:.2g}: an operation there multiplies them, such as a "
                "sum over neighbours, places or features that is not divided by their number. "
                "Take the mean, or normalise (of a graph: divide by the degrees)."
            )
    return ""


def _size(tensor: torch.Tensor) -> float:
    return float(wide(tensor.detach()).square().mean().sqrt())


def _radius(weight: torch.Tensor) -> float:
    """Spectral radius of a square matrix [H, H], by the norm of a high power."""
    power, log = wide(weight.detach()), 0.0
    for doublings in range(DOUBLINGS + 1):
        size = float(power.norm())
        if not 0 < size < math.inf:
            return size
        log += math.log(size) / 2**doublings
        power = (power / size) @ (power / size)
    return math.exp(log)


def _remedy(model: nn.Module, name: str, module: nn.Module) -> str:
    """Way to make the weights of a layer smaller; those of an embedding may be its own."""
    for other, one in model.named_modules():
        if isinstance(one, nn.Embedding) and one.weight is module.weight:
            return (
                f"it shares those of the embedding {other}. Initialise them for both, such as "
                f"nn.init.normal_({other}.weight, std=0.02)."
            )
    return f"initialise {name} as PyTorch does (reinit), or scale its weights down."
