"""Training and validation inputs side by side, for checks that compare them."""

from __future__ import annotations

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._samples import for_a_while
from nbdebug.model.module.forward import split

ROWS = 4096


def validation_inputs(context: CheckContext) -> torch.Tensor | str:
    """Inputs [N, ...] of up to 4,096 held-out samples, or why there are none."""
    if context.samples.held_out is None:
        return "there is no validation data."
    rows: list[torch.Tensor] = []
    for batch in for_a_while(context.samples.held_out()):
        inputs = split(batch)[0] if isinstance(batch, tuple | list) and len(batch) > 1 else None
        if not isinstance(inputs, torch.Tensor):
            return "the inputs are no single tensor."
        rows.append(inputs)
        if sum(len(part) for part in rows) >= ROWS:
            break
    if len({part.shape[1:] for part in rows}) != 1:
        return "the samples differ in shape."
    return torch.cat(rows)[:ROWS]


def training_inputs(context: CheckContext) -> torch.Tensor | str:
    """Inputs [N, ...] of up to 4,096 training samples, or why there are none."""
    samples = context.samples
    if samples.length is None or samples.fetch is None:
        return "the training data is a stream."
    parts: list[torch.Tensor] = []
    for batch in for_a_while(samples.epoch()):
        parts.append(split(batch)[0])
        if len(parts) * samples.batch_size >= ROWS:
            break
    if not all(isinstance(part, torch.Tensor) for part in parts):
        return "the inputs are no single tensor."
    if len({part.shape[1:] for part in parts}) != 1:
        return "the samples differ in shape."
    return torch.cat(parts)
