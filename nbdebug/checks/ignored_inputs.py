"""Inputs that do not reach the outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import first_samples, leaves

SAMPLES, PLACES = 16, 24


class IgnoredInputs(Check):
    """Checks that every input, and most of its places, have an effect on the outputs.

    A tensor that forward takes and drops, a mask that is the wrong way round, or a slice that cuts
    off most of a sequence raises no error. Values are exchanged between samples; where not a bit
    of any output changes, they are ignored.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "ignored_inputs"
    step = 3
    order = 38
    title = "Inputs reach the outputs"
    source = "Karpathy, A Recipe for Training Neural Networks; nbdebug: exchange between samples"
    explains = ("constant_activations", "overfit")

    MAX_IGNORED_SHARE = 0.5

    def examine(self, context: CheckContext) -> Outcome:
        inputs = first_samples(context.inputs, SAMPLES)
        tensors = [one for one in leaves(inputs) if _exchangeable(one)]
        if not tensors:
            return Outcome("not_applicable", "no input is a tensor that varies over samples.")
        before = _flat(context.outputs(inputs))
        again = _flat(context.outputs(inputs))
        if before is None or again is None or not torch.equal(before, again):
            return Outcome("not_applicable", "outputs of equal inputs differ, or are no tensors.")
        if bool((before == before[:1]).all()):
            return Outcome("not_applicable", "the outputs are the same for all samples.")
        for number, tensor in enumerate(tensors, 1):
            if len(tensors) > 1 and not self._matters(context, inputs, tensor, before):
                return Outcome(
                    "warning", f"input {number} of {len(tensors)}, of shape "
                    f"{tuple(tensor.shape[1:])} per sample, has no effect on any output",
                    "an effect of each input", "Trace it through forward: it is dropped, "
                    "overwritten, or masked. A mask may be the wrong way round.",
                )  # fmt: skip
        return self._places(context, inputs, max(tensors, key=lambda one: one.numel()), before)

    def _places(
        self, context: CheckContext, inputs: Any, tensor: torch.Tensor, before: torch.Tensor
    ) -> Outcome:
        if tensor.ndim < 2 or tensor.shape[1] < 2:
            return Outcome("pass", "the inputs have an effect on the outputs", "an effect")
        varying = [place for place in _places_of(tensor) if _varies(tensor[:, place])]
        ignored = [
            place for place in varying if not self._matters(context, inputs, tensor, before, place)
        ]
        seen = f"{len(varying) - len(ignored)} of {len(varying)} places along dimension 1 matter"
        expected = f"at least {1 - self.MAX_IGNORED_SHARE:.0%}"
        if varying and len(ignored) > self.MAX_IGNORED_SHARE * len(varying):
            first = ", ".join(map(str, ignored[:5]))
            return Outcome(
                "warning", f"{seen}; without any effect are {first}"
                + (", ..." if len(ignored) > 5 else ""), expected,
                "Trace these places through forward: a mask may be the wrong way round, or a "
                "slice or an index takes only a part.",
            )  # fmt: skip
        return Outcome("pass", seen, expected)

    def _matters(
        self,
        context: CheckContext,
        inputs: Any,
        tensor: torch.Tensor,
        before: torch.Tensor,
        place: int | None = None,
    ) -> bool:
        """True if exchanging an input, or a place of it, between samples changes an output."""
        changed = tensor.clone()
        if place is None:
            changed = changed.roll(1, 0)
        else:
            changed[:, place] = changed[:, place].roll(1, 0)
        after = _flat(context.outputs(_replaced(inputs, tensor, changed)))
        return after is None or after.shape != before.shape or not torch.equal(after, before)


def _exchangeable(value: object) -> bool:
    several = isinstance(value, torch.Tensor) and value.ndim > 0 and len(value) > 2
    return several and value.layout is torch.strided and _varies(value)  # type: ignore[attr-defined,arg-type]


def _varies(tensor: torch.Tensor) -> bool:
    return not bool((tensor == tensor[:1]).all())


def _places_of(tensor: torch.Tensor) -> Iterator[int]:
    """Up to 24 places along dimension 1, at equal distances."""
    length = tensor.shape[1]
    yield from dict.fromkeys(round(i * (length - 1) / (PLACES - 1)) for i in range(PLACES))


def _flat(outputs: Any) -> torch.Tensor | None:
    """All outputs as one tensor [N, F]; None if they are not tensors with a row per sample."""
    found = [one for one in leaves(outputs) if isinstance(one, torch.Tensor) and one.ndim]
    if not found or any(len(one) != len(found[0]) for one in found):
        return None
    return torch.cat([one.reshape(len(one), -1).to(torch.float64) for one in found], 1)


def _replaced(value: Any, old: torch.Tensor, new: torch.Tensor) -> Any:
    """The same structure with one tensor in place of another."""
    if value is old:
        return new
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_replaced(part, old, new) for part in value))
    if isinstance(value, tuple | list):
        return type(value)(_replaced(part, old, new) for part in value)
    if isinstance(value, Mapping):
        return {key: _replaced(part, old, new) for key, part in value.items()}
    return value
