"""Values and scale of the targets."""

from __future__ import annotations

import math

import torch

from nbdebug.checks._binary_targets import FaintTargets, faint_targets
from nbdebug.checks._class_weights import weights_of_classes
from nbdebug.checks._context import CheckContext
from nbdebug.checks._loss_trace import loss_trace
from nbdebug.checks._model_calls import batch_tensors
from nbdebug.checks._padding import marks_padding
from nbdebug.checks._regression_targets import regression_targets
from nbdebug.checks._smooth_targets import SmoothTargets, smooth_targets
from nbdebug.checks._unlabelled import has_label
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import split
from nbdebug.model.precision import wide, widest

MAX_SCORES = 20_000_000


class Labels(Check):
    """Checks that targets have no NaN or Inf, take several values, and are on a usable scale.

    A single class or a constant target is learned without the inputs. Classes count by what the
    loss makes of them: with its weights, without its ignore_index. Targets in the hundreds make
    the first gradients explode. Masks that were divided by 255 twice leave binary cross-entropy
    nearly nothing to tell apart, and so does a large label_smoothing.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "labels"
    step = 4
    order = 20
    title = "Targets"
    source = "TheDeepChecker (2022); Google, Deep Learning Tuning Playbook"
    explains = ("initial_loss", "overfit")

    MIN_EVENNESS, MIN_EFFECTIVE_SHARE = 0.5, 0.5
    MAX_SCALE = 10.0
    # Clipped gradients do not grow with the targets; outputs still have a long way to such ones.
    MAX_CLIPPED_SCALE = 100.0
    # 0.1 is usual.
    MAX_SMOOTHING = 0.5
    # So many targets of a rare class in a row are no accident.
    MIN_TARGETS = 64

    def examine(self, context: CheckContext) -> Outcome:
        faint = faint_targets(context)
        if faint is not None:
            return _faint(faint)
        smooth = smooth_targets(context)
        if smooth is not None and smooth.share > self.MAX_SMOOTHING:
            return _smooth(smooth)
        parts = [targets for _, targets in context.alike]
        single = all(isinstance(part, torch.Tensor) for part in parts)
        found = self._of_targets(context, parts) if single else self._of_calls(context)
        if single and context.loss_fn is None and found.status == "pass":
            # A step may compare outputs with more than the last tensor of a batch.
            other = self._of_calls(context)
            return other if other.status == "warning" else found
        return found

    def _of_targets(self, context: CheckContext, parts: list[torch.Tensor]) -> Outcome:
        targets = torch.cat(parts)
        if not bool(torch.isfinite(targets).all()):
            if math.isfinite(float(context.look(context.batch)[0])):
                return Outcome(
                    "pass", "targets with NaN, which the loss leaves out", "a finite loss"
                )
            remedy = "Exclude these samples, or fill in their targets."
            return Outcome("fail", "some targets are NaN or Inf", "no NaN or Inf", remedy)
        if bool((targets == targets.flatten()[0]).all()):
            if len(targets) < min(self.MIN_TARGETS, context.samples.length or math.inf):
                words = f"only {len(targets)} targets were seen, and all of them are equal."
                return Outcome("not_applicable", words)
            if not _are_read(context):
                return Outcome("not_applicable", "the loss does not read the targets.")
            return _constant(len(targets), targets.flatten()[0].item())
        if targets.is_floating_point():
            return self._numbers(targets, _is_clipped(context))
        return self._classes(context, *_drawn_targets(context, targets))

    def _classes(self, context: CheckContext, targets: torch.Tensor, drawn: bool) -> Outcome:
        classes, place = torch.unique(targets, return_inverse=True)
        weights = None if drawn else _weights(context, targets)
        each = wide(torch.ones_like(place) if weights is None else weights)
        each = each * has_label(targets)
        share = torch.zeros(len(classes), dtype=each.dtype, device=place.device)
        share.index_add_(0, place.flatten(), each.flatten())
        kept = share > 0
        classes, share = classes[kept], share[kept] / share.sum()
        entropy = float(-(share * share.log()).sum())
        even, effective = entropy / math.log(max(len(share), 2)), math.exp(entropy)
        seen = f"{len(share)} classes, evenness {even:.2f}: as many as {effective:.1f} equal ones"
        expected = "an evenness of at least 0.5, and as many as half of the classes"
        # Tokens of a language are uneven by nature.
        few = targets.ndim == 1 and effective < self.MIN_EFFECTIVE_SHARE * len(share)
        if (even >= self.MIN_EVENNESS and not few) or len(share) < 2:
            return Outcome("pass", seen, expected)
        remedy = "Weight the loss by class, or sample rare classes more often."
        if targets.ndim > 1:
            common = int(classes[share.argmax()])
            if not _is_padding(context, common):
                return Outcome("pass", seen, expected)
            seen += f": {float(share.max()):.0%} of the loss is that of the target {common}"
            remedy = (
                f"{common} is padding: leave it out by CrossEntropyLoss(ignore_index={common})."
            )
        return Outcome("warning", seen, expected, remedy)

    def _of_calls(self, context: CheckContext) -> Outcome:
        """Outcome where a step, or a loss of several targets, calls losses of torch."""
        found = regression_targets(context)
        if not found:
            return Outcome("not_applicable", "the targets are not a single tensor.")
        outcomes = [
            self._numbers(
                one.targets, _is_clipped(context), f"targets of {one.function} ({one.line}): "
            )
            for one in found
        ]
        return next((one for one in outcomes if one.status != "pass"), outcomes[0])

    def _numbers(self, targets: torch.Tensor, clipped: bool, of: str = "") -> Outcome:
        flat = targets.flatten(1) if targets.ndim > 1 else targets[:, None]
        spread, mean = float(flat.std(0).max()), float(flat.mean(0).abs().max())
        seen = f"{of}standard deviation {spread:.3g}, mean {mean:.3g}"
        limit = self.MAX_CLIPPED_SCALE if clipped else self.MAX_SCALE
        expected = f"both at most {limit:.0f}"
        if max(spread, mean) > limit:
            remedy = "Standardise the targets, and scale the predictions back."
            return Outcome("warning", seen, expected, remedy)
        return Outcome("pass", seen, expected)


def _is_clipped(context: CheckContext) -> bool:
    """True if training clips its gradients, by a setting or in the user's own loop."""
    return context.subject.clipped_by_loop or context.subject.clipping.mode != "off"


def _constant(count: int, value: float) -> Outcome:
    remedy = "Check the code that makes the targets, and shuffling."
    if value == 0:
        remedy += (
            " Numbers between 0 and 1 all become 0 as integers (LongTensor, .long(), astype(int)): "
            "keep them as float32."
        )
    return Outcome(
        "fail", f"all {count:,} targets are {value:g}: one value", "at least two values", remedy
    )


def _smooth(found: SmoothTargets) -> Outcome:
    where = f" ({found.line})" if found.line else ""
    return Outcome(
        "warning", f"labels of cross_entropy{where} are smoothed by {found.share:.2g}: the class "
        f"of a sample has a probability of {found.probability:.2g}, each other one of "
        f"{found.share / found.classes:.2g}", "at most 0.5",
        "Smooth less: label_smoothing=0.1 is usual.",
    )  # fmt: skip


def _is_padding(context: CheckContext, target: int) -> bool:
    """True if the places of a target are those where the inputs of the sequences are padded."""
    targets = context.targets
    return marks_padding(
        targets == target, (one for one in batch_tensors(context) if one is not targets)
    )


def _faint(found: FaintTargets) -> Outcome:
    where = f"{found.function} ({found.line})" if found.line else found.function
    seen = f"targets of {where}: {found.low:.3g} and {found.high:.3g}, "
    remedy = "Scale the targets to 0 and 1, for example (mask > 0).float()."
    if abs(255 * (found.high - found.low) - 1) < 0.01:
        remedy = (
            "They were divided by 255 twice (ToTensor() does it too), or were 0 and 1 before: "
            "divide less often, or take (mask > 0).float()."
        )
    return Outcome("warning", f"{seen}far below 1", "0 and 1, or probabilities", remedy)


def _drawn_targets(context: CheckContext, targets: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """Targets as the user's own sampler draws them, and True; those of the batches without one."""
    samples = context.samples
    if samples.drawn is None or samples.fetch is None:
        return targets, False
    found = split(samples.fetch(samples.drawn()[: max(len(targets), 1)]))[1]
    return (found, True) if isinstance(found, torch.Tensor) else (targets, False)


def _weights(context: CheckContext, targets: torch.Tensor) -> torch.Tensor | None:
    """Size of the gradient that the loss makes of each target [N, ...].

    A target that the loss leaves out (its ignore_index) has 0, one of a class with a weight that
    weight. None where outputs and targets do not belong together place by place.
    """
    if context.loss_fn is None:
        return _weights_of_step(context, targets)
    outputs = context.outputs()
    if not isinstance(outputs, torch.Tensor) or not outputs.is_floating_point():
        return None
    size, shape = outputs.shape, targets.shape[1:]
    places = [dim for dim in range(1, outputs.ndim) if size[1:dim] + size[dim + 1 :] == shape]
    if not places or len(targets) * size[1:].numel() > MAX_SCORES:
        return None
    # Equal scores: each class then has the same gradient, but for its weight.
    scores = outputs.new_zeros(len(targets), *size[1:], requires_grad=True)
    try:
        with torch.enable_grad():
            context.loss_of(scores, targets).backward()
    except (RuntimeError, ValueError, IndexError):
        return None
    if scores.grad is None or not float(scores.grad.abs().sum()) > 0:
        return None
    return scores.grad.abs().sum(places[0])


def _weights_of_step(context: CheckContext, targets: torch.Tensor) -> torch.Tensor | None:
    """Weight of each target [N, ...] in the loss of a step; None where that is not seen."""
    found = weights_of_classes(context, context.batch)
    if isinstance(found, str):
        return None
    known, place = found
    # A class of the first batch without a weight is ignored; others are not known.
    first = set(batch_tensors(context)[place].unique().tolist())
    usual = sorted(known.values())[len(known) // 2]
    each = [
        known.get(target, 0.0 if target in first else usual) for target in targets.unique().tolist()
    ]
    index = torch.unique(targets, return_inverse=True)[1]
    return torch.tensor(each, dtype=widest(targets.device), device=targets.device)[index]


def _are_read(context: CheckContext) -> bool:
    """True if the loss reads the targets, or if that is not seen."""
    trace = loss_trace(context)
    return isinstance(trace, str) or trace.reads(context.targets)
