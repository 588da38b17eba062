"""Scale of what a loop gives its model in training steps, and in a validation between them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from nbdebug.core.results.metric_names import OtherInputs
from nbdebug.model.module.forward import tensors_of
from nbdebug.model.origin.source_line import user_line
from nbdebug.model.precision import wide

# Numbers that are kept of a tensor, calls that are looked at, places with a validation.
KEPT_NUMBERS, MAX_CALLS, MAX_PLACES = 2048, 64, 5
MIN_NUMBERS = 100
MAX_RATIO, MAX_SHIFT = 2.5, 1.0


class _Sample(NamedTuple):
    """Some numbers [N] of an input, and how many dimensions that had."""

    numbers: torch.Tensor
    ndim: int


class InputScales:
    """Compares the first inputs of training with those of a validation, line by line."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget what was seen of the loop before."""
        self._trained: list[_Sample] = []
        self._places = 0
        self.clear()

    def clear(self) -> None:
        """Begin another place between two updates."""
        self._evaluated: dict[str, list[_Sample]] = {}
        self._calls = 0

    def trained(self, args: Any) -> None:
        """See the arguments of a call whose outputs are passed back."""
        sample = _sample(args)
        if sample is not None and len(self._trained) < MAX_CALLS:
            self._trained.append(sample)

    def evaluated(self, args: Any) -> None:
        """See the arguments of a call for outputs alone, in eval mode."""
        if not self._trained or self._places >= MAX_PLACES or self._calls >= MAX_CALLS:
            return
        sample = _sample(args)
        if sample is not None and sample.ndim == self._trained[0].ndim:
            self._calls += 1
            self._evaluated.setdefault(user_line(), []).append(sample)

    def judge(self, step: int) -> OtherInputs | None:
        """The line that gave the model inputs on another scale before this step, if one did.

        Returns:
            None if there was no validation.
        """
        found, self._evaluated = self._evaluated, {}
        if not found:
            return None
        self._places += 1
        mean, spread = _scale(self._trained)
        for line, samples in found.items():
            other, others = _scale(samples)
            if not (spread > 0 and others > 0):
                continue
            ratio, shift = others / spread, abs(other - mean) / spread
            if shift > MAX_SHIFT or not 1 / MAX_RATIO < ratio < MAX_RATIO:
                # Found, and not looked for again.
                self._places = MAX_PLACES
                return OtherInputs(step, len(samples), (mean, spread), (other, others), line)
        return OtherInputs(None)


def _sample(args: Any) -> _Sample | None:
    """Some numbers of the first tensor of real numbers, copied without waiting for them."""
    given = next((one for one in tensors_of(args) if one.is_floating_point()), None)
    if given is None or not given.numel() or given.layout != torch.strided:
        return None
    flat = given.detach().reshape(-1)
    return _Sample(flat[:: -(-len(flat) // KEPT_NUMBERS)].clone(), given.ndim)


def _scale(samples: list[_Sample]) -> tuple[float, float]:
    """Mean and standard deviation; NaN of too few numbers."""
    numbers = torch.cat([wide(sample.numbers) for sample in samples])
    if len(numbers) < MIN_NUMBERS:
        return float("nan"), float("nan")
    mean, spread = torch.stack([numbers.mean(), numbers.std()]).tolist()
    return mean, spread
