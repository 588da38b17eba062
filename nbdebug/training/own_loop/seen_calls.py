"""First steps of a loop, as the calls of its model showed them."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from nbdebug.model.module.forward import arguments_of, tensors_of
from nbdebug.model.module.names import is_compiled
from nbdebug.model.origin.found_loss import FoundLoss, OwnLoss, find_loss, find_own_loss
from nbdebug.model.origin.found_sum import find_sum
from nbdebug.training.own_loop.inputs.rows import InputRows
from nbdebug.training.own_loop.inputs.scales import InputScales

# Backward passes that are looked at, batches and bytes that are kept.
MAX_PASSES, MAX_BATCHES, MAX_BYTES = 8, 4, 64e6
# Calls of a model for one loss.
MAX_CALLS = 4

NO_CALL = "Its model was not called before its first backward passes."
COMPILED = "A compiled model is not watched."
IN_TURN = "It makes different losses in turn."
OTHER_LOSS = "Its loss is more than one loss of torch on what the model returned."
SEVERAL = "Its loss is of {} calls of the model, and no sum of the same loss of torch for each."

# A model, its arguments, what it returned, the dtype of autocast.
Call = tuple[nn.Module, Sequence[Any], Mapping[str, Any], Any, torch.dtype | None]


@dataclass(frozen=True)
class SeenStep:
    """A step of a loop, which can be computed again without the loop.

    Attributes:
        inputs: of the call of the model; targets: a row for each sample, None where the model
            computes its loss itself.
        loss_fn: gives the loss of the step for what the model returned.
        autocast: dtype that the model was called with under `torch.autocast`; None without it.
        versions: of the tensors of inputs and targets, which count changes in place.
        modes: True for each module of the model that was in training mode.
    """

    inputs: Any
    targets: torch.Tensor | None
    loss_fn: FoundLoss | OwnLoss
    autocast: torch.dtype | None
    versions: tuple[int, ...]
    modes: tuple[bool, ...] = ()

    @property
    def batch(self) -> Any:
        """Inputs and targets, as data has them; the inputs alone if they hold all."""
        return self.inputs if self.targets is None else (self.inputs, self.targets)

    @property
    def is_as_it_was(self) -> bool:
        """False if the loop has written to a tensor of it since."""
        return self.versions == versions_of(self.batch)


class SeenCalls:
    """Calls of a model in a loop, and the losses that are computed from what it returned.

    Only in the first steps. Nothing is put into the model, which may be copied and saved.

    Attributes:
        steps: that can be computed again; empty where the loss is not found in its graph.
        why_not: the reason for that, as a sentence; "" if it is not known.
        wanted: True while calls are to be seen.
        scales: of their inputs; rows: of these.
    """

    def __init__(self) -> None:
        self.steps: list[SeenStep] = []
        self.why_not = ""
        self._model: weakref.ref[nn.Module] | None = None
        self._passes = 0
        self.scales, self.rows = InputScales(), InputRows()
        self.close()

    @property
    def sees(self) -> bool:
        """True while calls or the rows of their inputs are to be seen."""
        return self.wanted or self.rows.wanted

    def begin(self, model: nn.Module) -> None:
        """See the first steps of a loop that begins."""
        self.steps, self._passes, self._model = [], 0, weakref.ref(model)
        self._calls: list[Call] = []
        self.scales.begin()
        # Of compiled models torch warns where it is watched.
        self.wanted = not any(is_compiled(module) for module in model.modules())
        self.rows.begin()
        self.rows.wanted = self.wanted
        self.why_not = NO_CALL if self.wanted else COMPILED

    def close(self) -> None:
        """See nothing any more."""
        self.wanted, self._calls = False, []

    def called(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """Take note of a call of a module in the loop, if it is the model's."""
        mine = self._model is not None and module is self._model() and torch.is_grad_enabled()
        if mine and self.rows.wanted:
            with suppress(Exception):
                self.rows.given((args, kwargs))
        if mine and self.wanted:
            self._calls.append((module, args, kwargs, output, _autocast(output)))
            del self._calls[: -MAX_CALLS - 1]

    def see(self, losses: Sequence[torch.Tensor]) -> None:
        """Take note of the losses of a backward pass that comes next."""
        calls, self._calls = self._calls, []
        with suppress(Exception):
            self.rows.passed_back()
        if not calls:
            return
        self._passes += 1
        step = None
        with suppress(Exception):
            self.scales.trained(calls[-1][1])
        # What is not understood is not kept, and the loop goes on.
        with suppress(Exception):
            step = _seen_step(calls, losses)
            step = step and replace(step, modes=tuple(m.training for m in calls[-1][0].modules()))
        first = self.steps[0] if self.steps else step
        if step is not None and first is not None and step.loss_fn.recipe == first.loss_fn.recipe:
            self.steps.append(step)
            self.why_not = ""
        elif self.steps:
            # The loop does this and that in turn.
            self.steps.clear()
            self._passes, self.why_not = MAX_PASSES, IN_TURN
        else:
            self.why_not = OTHER_LOSS if len(calls) == 1 else SEVERAL.format(len(calls))
        size = sum(tensor.nbytes for one in self.steps for tensor in tensors_of(one.batch))
        enough = len(self.steps) == MAX_BATCHES or size > MAX_BYTES
        if enough or self._passes >= MAX_PASSES:
            self.close()


def _seen_step(calls: Sequence[Call], losses: Sequence[torch.Tensor]) -> SeenStep | None:
    """The step of a loss of one of some calls, or of all of them together."""
    for call in reversed(calls):
        step = _seen(*call, losses)
        if step is not None:
            return step
    if not 1 < len(calls) <= MAX_CALLS or len(losses) != 1:
        return None
    given = [_as_inputs(*call[:3]) for call in calls]
    found = find_sum(losses[0], [call[3] for call in calls])
    chosen = [] if found is None else [given[number] for number in found.rounds]
    if found is None or not all(isinstance(one, torch.Tensor) for one in chosen):
        return None
    if any(one.requires_grad for one in chosen) or len({call[4] for call in calls}) > 1:
        return None
    inputs, targets = torch.cat(chosen), torch.cat(found.targets)
    return SeenStep(inputs, targets, found.loss_fn, calls[0][4], versions_of((inputs, targets)))


def _seen(
    model: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    output: Any,
    autocast: torch.dtype | None,
    losses: Sequence[torch.Tensor],
) -> SeenStep | None:
    """The step of a call and its loss, if both are understood."""
    inputs = _as_inputs(model, args, kwargs)
    if inputs is None or len(losses) != 1 or any(one.requires_grad for one in tensors_of(inputs)):
        return None
    own = find_own_loss(losses[0], output)
    if own is not None:
        return SeenStep(inputs, None, own, autocast, versions_of(inputs))
    found = find_loss(losses[0], output)
    if found is None:
        return None
    return SeenStep(
        inputs, found.targets, found.loss_fn, autocast, versions_of((inputs, *found[1:]))
    )


def _as_inputs(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Inputs with which `call` passes these arguments; None where it cannot."""
    given: Any = None
    if not kwargs:
        given = args[0] if len(args) == 1 else tuple(args)
    elif not args:
        given = dict(kwargs)
    again, named = arguments_of(model, given)
    places = len(again) == len(args) and all(a is b for a, b in zip(again, args, strict=True))
    names = named.keys() == kwargs.keys() and all(named[key] is kwargs[key] for key in named)
    return given if places and names else None


def _autocast(output: Any) -> torch.dtype | None:
    """Dtype of the autocast that is in force for the device of an output; None without it."""
    device = next((tensor.device.type for tensor in tensors_of(output)), "cpu")
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


def versions_of(value: Any) -> tuple[int, ...]:
    """Counts of the changes in place of all tensors in nested containers."""
    return tuple(tensor._version for tensor in tensors_of(value))
