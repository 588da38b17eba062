"""Sign of the loss."""

from __future__ import annotations

import math
from functools import partial

import torch

from nbdebug.checks._class_targets import ClassTargets, class_targets, labels_of
from nbdebug.checks._constant import output_range_of
from nbdebug.checks._context import CheckContext
from nbdebug.checks._loss_tape import loss_tape
from nbdebug.checks._model_calls import ModelCall, WatchedStep, batch_tensors, watched_step
from nbdebug.checks._number_targets import NumberTargets, number_targets
from nbdebug.checks._reachable import reachable
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.precision import wide

STEPS = 40
FACTORS = (100.0, 1000.0)
# Of a loss that falls in proportion, such as a critic's score, ten times the way is ten times.
MAX_PROPORTION = 20.0
MIN_RANGE = 20.0
# Of the pull for the doubt in a sample, that grows with how sure it is.
MIN_RELATION, MIN_APART = 0.5, 0.02


class LossDirection(Check):
    """Checks that the loss falls as the outputs come closer to their targets.

    The gradient of the loss at the outputs shows what they are compared with and which way they
    are pushed. With a wrong sign, as of a score that is to be maximised or of a term that is
    subtracted, the outputs go away from the targets and the loss falls without end.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "loss_direction"
    step = 2
    order = 6
    title = "Sign of the loss"
    source = "PyTorch, loss functions; nbdebug: gradient at the outputs"
    explains = ("loss_optimum", "loss_terms", "initial_loss", "prior_bias", "overfit")

    def examine(self, context: CheckContext) -> Outcome:
        step = watched_step(context)
        if isinstance(step, str):
            return Outcome("not_applicable", step)
        tensors, seen = batch_tensors(context), ""
        for number, call in enumerate(step.calls):
            classes = self._classes(call, tensors)
            if classes is False and _are_drawn(context, number, call):
                classes = None
            scored = {found.place for found in class_targets(call)}
            for place, output, gradient in call.read():
                if place in scored:
                    continue
                numbers = number_targets(output, gradient, tensors)
                if numbers is not None and _may_be_distances(context, call, place, numbers):
                    continue
                if numbers is not None and not numbers.towards and not _are_weighted(tensors, 2):
                    return _away(
                        "the loss falls as each output goes away from its target in the batch"
                    )
                seen = seen if numbers is None else "the loss pulls the outputs to their targets"
            if classes is False:
                return _away("the loss falls with the score of the target class, in each sample")
            seen = "the loss raises the scores of the target classes" if classes else seen
        several = sum(len(list(call.read())) for call in step.calls) > 1
        unknown = (not seen or several) and context.loss_fn is None
        if unknown and not _are_weighted(tensors, 1):
            lowest = _lowest(context, step)
            if lowest is not None:
                return Outcome(
                    "fail", "the loss falls without end, and ever faster, as the outputs grow: it "
                    f"reaches {lowest:.3g}", "a loss with a minimum", "Look for a term with "
                    "the wrong sign: a divergence or a squared error that is subtracted.",
                )  # fmt: skip
            seen = seen or "the loss does not fall without end along the outputs"
        if not seen:
            return Outcome("not_applicable", "no output has a target in the batch.")
        return Outcome("pass", seen, "outputs that come closer to the targets")

    def _classes(self, call: ModelCall, tensors: list[torch.Tensor]) -> bool | None:
        """True if the scores of the classes in the batch are raised, False if lowered."""
        for found in class_targets(call):
            if not found.falls and _is_too_sure(found, found.wanted):
                continue
            if labels_of(found, tensors) is not None and found.falls:
                # Of two classes, raising one is lowering the other: the labels tell them apart.
                return True
            if found.classes == 2:
                other = found._replace(wanted=1 - found.wanted)
                labels = labels_of(other, tensors)
                if labels is not None and _is_too_sure(found, other.wanted):
                    continue
                if labels is not None and not _are_weighted(tensors, 1):
                    return False
            if found.classes > 2 and (found.falls or not _are_weighted(tensors, 1)):
                return found.falls
        return None


def _is_too_sure(found: ClassTargets, lowered: torch.Tensor) -> bool:
    """True if scores are led back the more the surer they are, as by smooth labels or a bonus.

    A wrong sign pulls each sample by the doubt that is left of its class.

    Args:
        lowered: the class [N, ...] whose score is led back.
    """
    likely = wide(found.outputs[found.counted]).softmax(-1)
    sure = likely.gather(-1, lowered[found.counted][:, None])[:, 0]
    # Not 1 - sure, of which rounding leaves nothing.
    doubt = likely.scatter(-1, lowered[found.counted][:, None], 0.0).sum(-1).clamp_min(1e-30)
    pull = (found.pull[found.counted] / doubt).clamp_min(1e-30).log()
    apart, together = doubt.log().mean() - doubt.log(), pull - pull.mean()
    related = apart @ together / (apart.norm() * together.norm()).clamp_min(1e-12)
    grows = float(related) > MIN_RELATION and float(together.square().mean()) > MIN_APART**2
    return bool((sure >= likely.amax(-1)).all()) and grows


def _are_drawn(context: CheckContext, number: int, call: ModelCall) -> bool:
    """True if the classes are others when the step is made again: sampled actions, no targets."""
    step = watched_step(context, context.batch)
    if isinstance(step, str) or len(step.calls) <= number:
        return False
    before, after = class_targets(call), class_targets(step.calls[number])
    return [one.wanted.tolist() for one in before] != [one.wanted.tolist() for one in after]


def _away(seen: str) -> Outcome:
    return Outcome(
        "fail", seen, "a loss that falls towards the targets",
        "Turn the sign of the loss round: a score that is to be maximised, such as a log-"
        "likelihood, an accuracy or a Dice score, is a loss with a minus, or as 1 - score.",
    )  # fmt: skip


def _may_be_distances(
    context: CheckContext, call: ModelCall, place: int, numbers: NumberTargets
) -> bool:
    """True if targets may name pairs that are alike, whose distance is to be small."""
    values = numbers.targets.unique().tolist()
    if len(values) > 2:
        return False
    return values != [0.0, 1.0] or _limits(context, call, place)[0] >= 0


def _are_weighted(tensors: list[torch.Tensor], count: int) -> bool:
    """True if so many tensors hold a number for each sample, such as the return of an action."""
    rows = max((len(one) for one in tensors if one.ndim), default=0)
    return sum(one.is_floating_point() and one.numel() == rows for one in tensors) >= count


def _lowest(context: CheckContext, step: WatchedStep) -> float | None:
    """A loss far below 0 along the descent on free outputs of a step; None if it has a bound."""
    call = step.calls[0]
    low, high = output_range_of(context, lambda: call.again(context))
    if len(step.calls) > 1 or not call.found or high - low < MIN_RANGE:
        return None
    tape = loss_tape(context, step)
    if isinstance(tape, str):
        return None
    models = [
        reachable(context, one.detach(), partial(_limits, context, call, place))
        for place, one in zip(call.places, call.found, strict=True)
    ]
    begin = [model.free.clone() for model in models]
    free = [one.clone().requires_grad_(True) for one in begin]
    optimizer = torch.optim.Adam(free, lr=0.05)
    best = math.nan
    for _ in range(STEPS):
        given = [m.outputs(f) for m, f in zip(models, free, strict=True)]
        loss = tape.loss_of(given)
        best = float(loss.detach())
        if not loss.requires_grad or not math.isfinite(best):
            return None
        found = torch.autograd.grad(loss, free, allow_unused=True)
        for one, gradient in zip(free, found, strict=True):
            one.grad = gradient
        optimizer.step()
    far = []
    for factor in FACTORS:
        there = [
            model.outputs(b + factor * (f.detach() - b))
            for model, b, f in zip(models, begin, free, strict=True)
        ]
        with torch.no_grad():
            far.append(float(tape.loss_of(there)))
    if any(map(math.isnan, far)) or not far[1] <= far[0] < min(best, 0.0):
        return None
    if math.isinf(far[0]) or math.isinf(far[1]):
        return far[0]
    return far[1] if (far[1] - best) / (far[0] - best) > MAX_PROPORTION else None


def _limits(context: CheckContext, call: ModelCall, place: int) -> tuple[float, float]:
    return output_range_of(context, lambda: [call.again(context)[place]])
