"""Weights of mixed samples and of their targets."""

from __future__ import annotations

from typing import NamedTuple

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._model_calls import ModelCall, batch_tensors, watched_step
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.precision import wide

MAX_SAMPLES, MIN_SAMPLES = 64, 8
MAX_FEATURES, MIN_FEATURES = 1024, 8
MAX_RESIDUAL = 1e-4


class MixedTargets(Check):
    """Checks that samples which are mixed have targets mixed with the same weights.

    In mixup a step gives the model l * x + (1 - l) * x[other], and the loss l of the target of x
    and 1 - l of that of x[other]. The weights of the inputs are found by comparing them with the
    batch, those of the targets by the gradient of the loss at the outputs.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "mixed_targets"
    step = 4
    order = 24
    title = "Mixed samples and their targets"
    source = "Zhang et al. (2018), mixup; Yun et al. (2019), CutMix"
    explains = ("overfit",)
    sees_step = True

    MAX_APART = 0.05

    def examine(self, context: CheckContext) -> Outcome:
        step = watched_step(context)
        if isinstance(step, str):
            return Outcome("not_applicable", step)
        tensors = batch_tensors(context)
        for call in step.calls:
            mixed = _mixed(call, tensors)
            found = None if mixed is None else self._compared(call, tensors, mixed)
            if found is not None:
                return found
        return Outcome("not_applicable", "the step does not mix samples.")

    def _compared(
        self, call: ModelCall, tensors: list[torch.Tensor], mixed: Mixed
    ) -> Outcome | None:
        """Compare weights of the inputs with those of classes [N]; None if these are not seen."""
        count = len(mixed.share)
        for _, output, gradient in call.read():
            for labels in tensors:
                if labels.is_floating_point() or labels.ndim != 1 or output.ndim != 2:
                    continue
                own, other = labels[:count].long(), labels[mixed.partner].long()
                differ = (own != other) & (mixed.share > 0.02) & (mixed.share < 0.98)
                if int(labels.max()) >= output.shape[1] or int(labels.min()) < 0:
                    continue
                weight = _weights(output[:count], gradient[:count], own, other)
                # Of two classes alone, and where the softmax is one-hot, none is told.
                differ &= weight.isfinite()
                if int(differ.sum()) < MIN_SAMPLES:
                    continue
                right, swapped = (
                    ((each - mixed.share).abs() - mixed.slack)[differ].clamp_min(0).median()
                    for each in (weight, 1 - weight)
                )
                shown = mixed.share[differ], weight[differ]
                return self._judge(*shown, float(right), float(swapped))
        return None

    def _judge(
        self, share: torch.Tensor, weight: torch.Tensor, right: float, swapped: float
    ) -> Outcome:
        seen = f"inputs have {float(share[0]):.2f} of their own sample, and the loss "
        seen += f"{float(weight[0]):.2f} of its target"
        if right <= self.MAX_APART:
            return Outcome("pass", seen, "the same weights")
        remedy = "Give each target the weight of its sample: l * loss(outputs, y) + (1 - l) * "
        remedy += "loss(outputs, y[other]) for inputs l * x + (1 - l) * x[other]."
        if swapped <= self.MAX_APART:
            seen += ": the two weights are swapped"
            return Outcome("fail", seen, "the same weights", remedy)
        return Outcome("warning", seen, "the same weights", remedy)


class Mixed(NamedTuple):
    """Share [N] of a sample in its mixed input, and the index [N] of the other sample.

    Attributes:
        slack: how far off a share [N] may be, since both samples are equal in places.
    """

    share: torch.Tensor
    partner: torch.Tensor
    slack: torch.Tensor


def _mixed(call: ModelCall, tensors: list[torch.Tensor]) -> Mixed | None:
    """Shares of two samples of the batch in each input of the model; None if it has others."""
    for given in call.inputs:
        for samples in tensors:
            if given.shape != samples.shape or not samples.is_floating_point() or given is samples:
                continue
            if len(given) < MIN_SAMPLES or given[0].numel() < MIN_FEATURES:
                continue
            pair = [_some(one) for one in (given, samples)]
            return _blended(*pair) or _cut(*pair)
    return None


def _some(values: torch.Tensor) -> torch.Tensor:
    """Some rows, and of each some features at equal distances [N, F]."""
    rows = wide(values.detach()[:MAX_SAMPLES]).flatten(1)
    count = min(rows.shape[1], MAX_FEATURES)
    return rows[:, torch.linspace(0, rows.shape[1] - 1, count).long()]


def _blended(given: torch.Tensor, samples: torch.Tensor) -> Mixed | None:
    """Shares of rows that are l * x + (1 - l) * x[other], by least squares for each pair."""
    between = samples[:, None] - samples[None]
    off = given[:, None] - samples[None]
    size = (between**2).sum(2)
    share = (off * between).sum(2) / size.clamp_min(1e-30)
    rest = ((off - share[..., None] * between) ** 2).sum(2).masked_fill(size == 0, torch.inf)
    best = rest.min(1)
    known = best.values < MAX_RESIDUAL * (given**2).sum(1).clamp_min(1e-30)
    found = share.gather(1, best.indices[:, None])[:, 0]
    inside = (found > 0.02) & (found < 0.98)
    if float(wide(known & inside).mean()) < 0.5:
        return None
    return Mixed(torch.where(known, found, 1.0), best.indices, torch.zeros_like(found))


def _cut(given: torch.Tensor, samples: torch.Tensor) -> Mixed | None:
    """Shares of rows that are cut from two samples."""
    own = given == samples
    # Where both samples are equal, the row says nothing.
    from_other = (given[:, None] == samples[None]) | own[:, None]
    both = samples[:, None] == samples[None]
    fits = from_other.all(2)
    fits.fill_diagonal_(False)
    differ = wide((~both).sum(2))
    partner = torch.where(fits, differ, -1.0).max(1)
    rows = torch.arange(len(given))
    told = ~both[rows, partner.indices]
    low, high = wide(own & told).mean(1), 1 - wide(~own).mean(1)
    known = (partner.values > 0) & ~own.all(1)
    if float(wide(known).mean()) < 0.5:
        return None
    return Mixed(torch.where(known, (low + high) / 2, 1.0), partner.indices, (high - low) / 2)


def _weights(
    output: torch.Tensor, gradient: torch.Tensor, own: torch.Tensor, other: torch.Tensor
) -> torch.Tensor:
    """Weight [N] of the own class in the targets of cross-entropy, by its gradient."""
    likely, slope = wide(output).softmax(1), wide(gradient)
    # The gradient is the probability less the target, in proportion.
    ratio = likely / slope.where(slope.abs() > 0, torch.nan)
    ratio = ratio.scatter(1, own[:, None], torch.nan).scatter(1, other[:, None], torch.nan)
    target = likely - slope * ratio.nanmedian(1, keepdim=True).values
    return target.gather(1, own[:, None])[:, 0]
