"""Targets that are a copy of the inputs."""

from __future__ import annotations

import torch

from nbdebug.checks._class_targets import ClassTargets, class_targets
from nbdebug.checks._context import CheckContext
from nbdebug.checks._model_calls import ModelCall, watched_step
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.precision import wide

# A place of its own changes more than this many times as much as others do on average.
LOCAL_RATIO = 1.5
SEEN = "{:.0%} of the targets are equal to the inputs at the same place"
SHIFT = "Shift by one: inputs are tokens[:, :-1], targets are tokens[:, 1:]."


class CopiedTargets(Check):
    """Checks that the targets of a sequence are not its inputs.

    A model that predicts the next token gets the sequence moved by one place as its targets.
    Unmoved, each target stands in the inputs at the same place: the model learns to copy, its
    loss falls to 0, and it predicts nothing. An autoencoder, whose outputs depend on all places
    alike, is meant to rebuild its inputs.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "copied_targets"
    step = 4
    order = 22
    title = "Targets differ from the inputs"
    source = "Karpathy, minGPT (targets are the inputs moved by one)"

    MAX_EQUAL_SHARE = 0.95

    def examine(self, context: CheckContext) -> Outcome:
        if context.loss_fn is None:
            return self._of_step(context)
        inputs, targets = context.inputs, context.targets
        for part in (inputs, targets):
            if not isinstance(part, torch.Tensor) or part.is_floating_point() or part.ndim < 2:
                return Outcome("not_applicable", "inputs and targets are not sequences of tokens.")
        if inputs.shape != targets.shape or inputs.shape[1] < 2:
            return Outcome("not_applicable", "inputs and targets have different shapes.")
        wanted = targets >= 0
        equal = (inputs == targets) | ~wanted
        share = float((inputs == targets)[wanted].float().mean()) if bool(wanted.any()) else 0.0
        seen = SEEN.format(share)
        # Only the ends may differ: a state that changes slowly differs anywhere.
        whole = bool(equal.flatten(2).all()) if equal.ndim > 2 else bool(equal[:, 1:-1].all())
        copied = whole and share > self.MAX_EQUAL_SHARE and len(inputs.unique()) > 1
        if copied and not _passes_a_bottleneck(context, inputs):
            return Outcome("fail", seen, f"at most {self.MAX_EQUAL_SHARE:.0%}", SHIFT)
        return Outcome("pass", seen, f"at most {self.MAX_EQUAL_SHARE:.0%}")

    def _of_step(self, context: CheckContext) -> Outcome:
        """Outcome where the gradient of the loss tells the word that each place is to get."""
        step = watched_step(context)
        if isinstance(step, str):
            return Outcome("not_applicable", step)
        share: float | None = None
        for call in step.calls:
            for found in class_targets(call):
                for tokens in call.inputs:
                    if not _are_tokens(tokens, found):
                        continue
                    equal = tokens[found.counted] == found.wanted[found.counted].to(tokens)
                    share = float(equal.float().mean())
                    if share > self.MAX_EQUAL_SHARE and not _rebuilds(context, call, found, tokens):
                        limit = f"at most {self.MAX_EQUAL_SHARE:.0%}"
                        return Outcome("fail", SEEN.format(share), limit, SHIFT)
        if share is None:
            return Outcome("not_applicable", "no output is a word for each of the inputs.")
        return Outcome("pass", SEEN.format(share), f"at most {self.MAX_EQUAL_SHARE:.0%}")


def _are_tokens(tokens: torch.Tensor, found: ClassTargets) -> bool:
    """True for a sequence [N, L] of several words, with a place for each target."""
    whole = not (tokens.is_floating_point() or tokens.is_complex() or tokens.dtype is torch.bool)
    same = tokens.shape == found.wanted.shape and tokens.ndim > 1 and tokens.shape[1] > 1
    return whole and same and len(tokens.unique()) > 1


def _rebuilds(
    context: CheckContext, call: ModelCall, found: ClassTargets, tokens: torch.Tensor
) -> bool:
    """True if a token changes the outputs of all places alike, or those of none."""
    place = tokens.shape[1] // 2
    changed = tokens.clone()
    changed[:, place] = tokens.roll(1, 0)[:, place]
    both = (call.again(context, tokens, one)[found.place] for one in (changed, tokens))
    one, other = (wide(each.movedim(found.dim, -1)) for each in both)
    each = (one - other).abs().movedim(1, 0).flatten(1).mean(1)
    others = float(each.sum() - each[place]) / (len(each) - 1)
    return float(each[place]) < LOCAL_RATIO * max(others, 1e-30)


def _passes_a_bottleneck(context: CheckContext, inputs: torch.Tensor) -> bool:
    """True if a token changes the outputs of all places alike, as of an autoencoder.

    A model that can copy gives its own place most of the change.
    """
    outputs = context.outputs()
    length, place = inputs.shape[1], inputs.shape[1] // 2
    changed = inputs.clone()
    changed[:, place] = inputs.roll(1, 0)[:, place]
    if not isinstance(outputs, torch.Tensor) or outputs.ndim < 3:
        return False
    apart = wide((context.outputs(changed) - outputs).abs())
    ratios = []
    for dim in range(1, apart.ndim):
        if apart.shape[dim] == length:
            each = apart.movedim(dim, 0).flatten(1).mean(1)
            others = float(each.sum() - each[place]) / (length - 1)
            ratios.append(float(each[place]) / max(others, 1e-30))
    return bool(ratios) and max(ratios) < LOCAL_RATIO
