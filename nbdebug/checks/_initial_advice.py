"""Remedies for a loss before training that is far from chance."""

from __future__ import annotations

import torch
from torch import nn

from nbdebug.checks._context import CheckContext

LARGE_MEAN = 5.0
# Of the loss of the mean output, as a multiple of chance: less is no fault of a bias.
SHIFTED_RATIO = 2.0
# Of the standard deviation of PyTorch's weights.
WIDE_RATIO = 3.0
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
    wide = widest(context.model)
    if wide:
        return f"{usual}, but {wide}"
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


def _remedy(model: nn.Module, name: str, module: nn.Module) -> str:
    """Way to make the weights of a layer smaller; those of an embedding may be its own."""
    for other, one in model.named_modules():
        if isinstance(one, nn.Embedding) and one.weight is module.weight:
            return (
                f"it shares those of the embedding {other}. Initialise them for both, such as "
                f"nn.init.normal_({other}.weight, std=0.02)."
            )
    return f"initialise {name} as PyTorch does (reinit), or scale its weights down."
