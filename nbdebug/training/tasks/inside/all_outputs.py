"""Outputs of one module, and of the model, for all fixed samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from nbdebug.model.module.forward import leaves, some_samples
from nbdebug.model.module.hooks import after_forward
from nbdebug.training.engine.session import Session
from nbdebug.training.tasks.inside.fixed_samples import FixedSamples
from nbdebug.training.tasks.inside.looking import evaluated
from nbdebug.training.tasks.inside.structure import every_module_called

# Up to so many numbers go through the model at once, more in batches as training has them.
MAX_NUMBERS = 2**20


def all_outputs(
    session: Session,
    module: nn.Module | None,
    samples: FixedSamples,
    reduce: Callable[[torch.Tensor], torch.Tensor],
) -> tuple[torch.Tensor | None, list[Any]]:
    """Output of a module at its first call for all fixed samples, and outputs of the model.

    Args:
        module: None for a function, whose outputs are unknown.
        reduce: makes an output [N, ...] smaller before the next samples go through the model.

    Returns:
        The outputs [N, ...], None of a function, and if they have another form; and the outputs
        of the model, one for each batch.
    """
    if module is None or not (samples.cut and samples.whole):
        return None, []
    found: list[torch.Tensor] = []
    outputs: list[Any] = []
    seen: list[Any] = []
    hook = after_forward(module, lambda _, given, output: seen.append(output))
    try:
        with every_module_called():
            for count, arguments in _batches(session, samples):
                seen.clear()
                outputs.append(evaluated(session.model, arguments))
                output = next(
                    (leaf for leaf in leaves(seen[:1]) if isinstance(leaf, torch.Tensor)), None
                )
                if output is None or output.ndim < 2 or len(output) != count:
                    return None, []
                found.append(reduce(output.detach()))
    finally:
        hook.remove()
    return torch.cat(found), outputs


def _batches(session: Session, samples: FixedSamples) -> Iterator[tuple[int, Any]]:
    """Arguments of the model for some of the samples each, and how many these are."""
    size = samples.count
    tensors = (leaf for leaf in leaves(samples.arguments) if isinstance(leaf, torch.Tensor))
    if sum(one.numel() for one in tensors) > MAX_NUMBERS:
        size = max(1, min(size, int(session.batching.size or 1)))
    for start in range(0, samples.count, size):
        part = slice(start, min(start + size, samples.count))
        yield part.stop - part.start, some_samples(samples.arguments, part)
