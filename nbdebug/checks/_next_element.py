"""Steps that predict the next element of a sequence which the model reads."""

from __future__ import annotations

from typing import NamedTuple

import torch

from nbdebug.checks._class_targets import class_targets
from nbdebug.checks._model_calls import ModelCall, WatchedStep
from nbdebug.model.precision import wide

MIN_EQUAL_SHARE, MAX_SAME_SHARE = 0.95, 0.9
MIN_COSINE = 0.9999


class NextElement(NamedTuple):
    """A call, its input whose next element is the target, and the place and time of outputs."""

    call: ModelCall
    sequence: torch.Tensor
    place: int
    axis: int


def next_element(step: WatchedStep) -> NextElement | None:
    """The first call whose targets are one of its inputs, moved by one; None without."""
    for call in step.calls:
        for sequence in call.inputs:
            if sequence.ndim < 2 or sequence.shape[1] < 3 or len(sequence) < 2:
                continue
            found = _numbers(call, sequence) if sequence.is_floating_point() else None
            found = _tokens(call, sequence) if sequence.ndim == 2 and found is None else found
            if found is not None:
                return NextElement(call, sequence, *found)
    return None


def _tokens(call: ModelCall, tokens: torch.Tensor) -> tuple[int, int] | None:
    """Place and time of the output whose class is the next token [N, L]; None without."""
    for found in class_targets(call):
        if found.wanted.shape != tokens.shape:
            continue
        wanted, counted = found.wanted[:, :-1].to(tokens), found.counted[:, :-1]
        if not bool(counted.any()):
            continue
        equal = (wanted == tokens[:, 1:])[counted].float().mean()
        same = (wanted == tokens[:, :-1])[counted].float().mean()
        if float(equal) > MIN_EQUAL_SHARE and float(same) < MAX_SAME_SHARE:
            return found.place, 2 if found.dim == 1 else 1
    return None


def _numbers(call: ModelCall, sequence: torch.Tensor) -> tuple[int, int] | None:
    """Place and time of an output whose squared error is taken to the next element."""
    for place, output, gradient in call.read():
        if output.shape != sequence.shape:
            continue
        slope = wide(gradient[:, :-1]).flatten()
        off = wide(output[:, :-1] - sequence[:, 1:]).flatten()
        off = torch.where(slope == 0, 0.0, off)
        cosine = (slope @ off) / (slope.norm() * off.norm()).clamp_min(1e-30)
        if float(cosine) > MIN_COSINE:
            return place, 1
    return None
