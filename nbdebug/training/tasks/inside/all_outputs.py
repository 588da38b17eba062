"""Outputs of one module, and of the model, for all fixed samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nbdebug.model.module.forward import some_samples, tensors_of
from nbdebug.model.module.hooks import after_forward
from nbdebug.model.module.names import is_script, layers
from nbdebug.model.precision import dense
from nbdebug.training.engine.session import Session
from nbdebug.training.tasks.inside.fixed_samples import FixedSamples
from nbdebug.training.tasks.inside.looking import evaluated
from nbdebug.training.tasks.inside.structure import every_module_called

# Up to so many values of one layer at once, and so many for all samples: of a model with larger
# layers fewer samples are evaluated, so that memory and time have a bound.
MAX_AT_ONCE, MAX_IN_ALL = 2**22, 2**26


@dataclass(frozen=True)
class AllOutputs:
    """Outputs for the first N fixed samples.

    Attributes:
        reduced: of the module, made smaller [N, ...].
        model: outputs of the model, one for each batch; size: samples in each but the last.
    """

    reduced: torch.Tensor
    model: tuple[Any, ...]
    size: int


def all_outputs(
    session: Session,
    module: nn.Module | None,
    samples: FixedSamples,
    largest: int,
    reduce: Callable[[torch.Tensor], torch.Tensor],
) -> AllOutputs | None:
    """Output of a module at its first call for the fixed samples, and outputs of the model.

    Args:
        module: None for a function, whose outputs are unknown.
        largest: number of values in the largest output of a layer for one sample.
        reduce: makes an output [N, ...] smaller before the next samples go through the model.

    Returns:
        None of a function, and if the module does not give one row for each sample.
    """
    if module is None or not (samples.cut and samples.whole):
        return None
    count = max(1, min(samples.count, MAX_IN_ALL // max(largest, 1)))
    size = min(count, samples_at_once(largest, int(session.batching.size or 1)))
    reduced, outputs, seen = list[torch.Tensor](), list[Any](), list[Any]()
    hook = after_forward(module, lambda _, given, output: seen.append(output))
    try:
        with every_module_called():
            for part in _parts(count, size):
                seen.clear()
                outputs.append(evaluated(session.model, some_samples(samples.arguments, part)))
                output = next(tensors_of(seen[:1]), None)
                if output is None or not _has_rows(output, part.stop - part.start):
                    return None
                reduced.append(reduce(dense(output.detach())))
    finally:
        hook.remove()
    return AllOutputs(torch.cat(reduced), tuple(outputs), size)


def _has_rows(output: torch.Tensor, count: int) -> bool:
    """Tell if an output has one row with values for each of some samples."""
    rows = not output.is_nested and output.ndim > 1 and len(output) == count
    return rows and bool(output.numel())


def samples_at_once(largest: int, batch: int) -> int:
    """Samples that go through the model at once: at least a batch, as training does."""
    return max(MAX_AT_ONCE // max(largest, 1), batch, 1)


def largest_output(model: nn.Module, call: Callable[[], Any]) -> tuple[int, Any]:
    """Number of values in the largest output of a layer in a call, and what the call returns."""
    sizes = [0]

    def note(module: nn.Module, given: Any, output: Any) -> None:
        sizes.extend(one.numel() for one in tensors_of(output) if not one.is_nested)

    hooks = [after_forward(one.module, note) for one in layers(model) if not is_script(one.module)]
    try:
        outputs = call()
        return max(sizes), outputs
    finally:
        for hook in hooks:
            hook.remove()


def _parts(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
