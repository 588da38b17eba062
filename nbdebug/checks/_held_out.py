"""Training and validation inputs for checks that compare the two."""

from __future__ import annotations

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._samples import limited_by_time
from nbdebug.model.module.forward import split

MAX_ROWS = 4096


def validation_inputs(context: CheckContext) -> torch.Tensor | str:
    """Inputs [N, ...] of at most 4,096 validation samples, or the reason if unavailable."""
    if context.samples.held_out is None:
        return "there is no validation data."
    rows: list[torch.Tensor] = []
    for batch in limited_by_time(context.samples.held_out()):
        inputs = split(batch)[0] if isinstance(batch, tuple | list) and len(batch) > 1 else None
        if not isinstance(inputs, torch.Tensor):
            return "the inputs are not a single tensor."
        rows.append(inputs)
        if sum(len(part) for part in rows) >= MAX_ROWS:
            break
    if len({part.shape[1:] for part in rows}) != 1:
        return "the samples differ in shape."
    return torch.cat(rows)[:MAX_ROWS]


def both_inputs(context: CheckContext) -> tuple[torch.Tensor, torch.Tensor] | str:
    """Training and validation inputs, or the reason why one of them is unavailable."""
    train, held_out = training_inputs(context), validation_inputs(context)
    if isinstance(held_out, str):
        return held_out
    return train if isinstance(train, str) else (train, held_out)


def training_inputs(context: CheckContext) -> torch.Tensor | str:
    """Inputs [N, ...] of at most 4,096 training samples, or the reason if unavailable."""
    samples = context.samples
    if samples.length is None or samples.fetch is None:
        return "the training data is a stream."
    parts: list[torch.Tensor] = []
    for batch in limited_by_time(samples.epoch()):
        parts.append(split(batch)[0])
        if len(parts) * samples.batch_size >= MAX_ROWS:
            break
    if not all(isinstance(part, torch.Tensor) for part in parts):
        return "the inputs are not a single tensor."
    if len({part.shape[1:] for part in parts}) != 1:
        return "the samples differ in shape."
    return torch.cat(parts)
