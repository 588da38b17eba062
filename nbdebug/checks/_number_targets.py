"""Numbers that outputs are compared with, as the gradient of the loss shows them."""

from __future__ import annotations

from typing import NamedTuple

import torch

from nbdebug.model.precision import wide

MIN_NUMBERS = 16
MIN_SIDE_SHARE = 0.05
MIN_AMONG = 8
MIN_COSINE = 0.9999
# Of binary cross-entropy the slope is the probability less the target.
MIN_LOGITS_COSINE = 0.99
MIN_RISES = 8
# Outputs with a column each for a mean and a variance.
MAX_COLUMNS = 8


class NumberTargets(NamedTuple):
    """Targets of the outputs in the same order, flat [M].

    Attributes:
        outputs: the outputs, or a column of them; targets: what the loss compares them with.
        towards: True if the loss falls as the outputs come closer to the targets.
    """

    outputs: torch.Tensor
    targets: torch.Tensor
    towards: bool


def number_targets(
    output: torch.Tensor, gradient: torch.Tensor, tensors: list[torch.Tensor]
) -> NumberTargets | None:
    """Targets of real outputs among the tensors of a batch; None without.

    What outputs come closer to is a target before what they go away from.
    """
    away = None
    columns = [(output.flatten(), gradient.flatten())]
    if output.ndim == 2 and 1 < output.shape[1] <= MAX_COLUMNS:
        columns += list(zip(output.unbind(1), gradient.unbind(1), strict=True))
    for numbers, slope in columns:
        for tensor in tensors:
            if tensor.numel() != numbers.numel() or tensor.is_complex():
                continue
            if not tensor.is_floating_point():
                continue
            towards = _compared(wide(numbers), wide(slope), wide(tensor).flatten())
            if towards is not None:
                found = NumberTargets(numbers, tensor.flatten(), towards)
                if towards:
                    return found
                away = away or found
    return away


def _compared(numbers: torch.Tensor, slope: torch.Tensor, wanted: torch.Tensor) -> bool | None:
    """True if a gradient points away from targets, False if to them, None if neither."""
    counted = (slope != 0) & slope.isfinite()
    numbers, slope, wanted = numbers[counted], slope[counted], wanted[counted]
    if len(slope) < MIN_NUMBERS:
        return None
    begin = [numbers]
    if bool(((wanted == 0) | (wanted == 1)).all()):
        # Logits of the right class beyond 1 go on to grow: away from 1, and right.
        cosine = _cosine(slope, numbers.sigmoid() - wanted)
        if abs(cosine) > MIN_LOGITS_COSINE:
            return cosine > 0
        # Of logits, which lie anywhere.
        begin.append(torch.full_like(numbers, 0.5))
    found = (_sides(slope, one - wanted, _are_among(one, wanted)) for one in begin)
    return next((one for one in found if one is not None), None)


def _cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()).clamp_min(1e-30))


def _are_among(numbers: torch.Tensor, wanted: torch.Tensor) -> bool:
    """True if several numbers are in the range of targets: beyond, all targets are on one side."""
    within = (numbers > wanted.min()) & (numbers < wanted.max())
    return int(within.sum()) >= MIN_AMONG


def _sides(slope: torch.Tensor, off: torch.Tensor, among: bool) -> bool | None:
    """True if a slope has the sign of what is to be lowered at each number; None if mixed.

    Numbers that are not among their targets have the sign of any target's distance.
    """
    agree = slope.sign() == off.sign()
    above = float(wide(off > 0).mean())
    if MIN_SIDE_SHARE < above < 1 - MIN_SIDE_SHARE:
        if bool(agree.all()):
            return True
        if among:
            return None if bool(agree.any()) else False
    if bool(agree.all()) and _rises(slope, off):
        return True
    cosine = _cosine(slope, off)
    return cosine > 0 if abs(cosine) > MIN_COSINE else None


def _rises(slope: torch.Tensor, off: torch.Tensor) -> bool:
    """True if a slope never falls as the distance rises, and rises in several places."""
    steps, size = slope[off.argsort()].diff(), float(slope.abs().max())
    rising = int((steps > 1e-6 * size).sum())
    return bool((steps >= -1e-6 * size).all()) and rising >= MIN_RISES
