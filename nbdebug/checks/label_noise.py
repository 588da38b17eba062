"""Labels that look random among samples that are alike."""

from __future__ import annotations

import math

import torch

from nbdebug.checks._context import CheckContext, alike
from nbdebug.checks._unlabelled import has_label
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.precision import wide

NEIGHBOURS = 20
MIN_SAMPLES, MAX_SAMPLES, MAX_FEATURES = 200, 1024, 8192
MIN_CLASSES, MAX_CLASSES = 4, 100


class LabelNoise(Check):
    """Checks that samples which are alike do not have labels drawn at random.

    Where classes overlap, the neighbours of a sample have the labels of a few similar classes.
    Where labels were mixed up, they have one main label and, beside it, all other classes about
    equally often. The network then learns the noise by heart, and training loss falls slowly.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "label_noise"
    step = 4
    order = 24
    title = "Labels of similar samples"
    source = "Northcutt et al. (2021), Confident Learning; nbdebug: the 20 nearest neighbours"
    explains = ("overfit",)

    # Of WebVision and Food-101N about 20% are wrong, and networks learn from them as they are.
    MAX_WRONG_SHARE = 0.25
    MIN_EVENNESS = 0.9

    def examine(self, context: CheckContext) -> Outcome:
        pairs = alike(context.data)
        kinds = all(isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor) for x, y in pairs)
        if not kinds:
            return Outcome("not_applicable", "inputs or targets are not a single tensor.")
        inputs, labels = (torch.cat([pair[part] for pair in pairs]) for part in (0, 1))
        if labels.is_floating_point() or labels.ndim != 1 or not inputs.is_floating_point():
            return Outcome("not_applicable", "the targets are not one class label per sample.")
        known = has_label(labels)
        inputs, labels = inputs[known], labels[known]
        flat = inputs[:MAX_SAMPLES].flatten(1).float()
        labels = labels[:MAX_SAMPLES]
        classes, place = torch.unique(labels, return_inverse=True)
        if len(flat) < MIN_SAMPLES or flat.shape[1] > MAX_FEATURES:
            return Outcome("not_applicable", f"fewer than {MIN_SAMPLES} samples, or large ones.")
        if not MIN_CLASSES <= len(classes) <= min(MAX_CLASSES, len(flat) // NEIGHBOURS):
            return Outcome("not_applicable", f"there are {len(classes)} classes.")
        wrong, even, drawn = _beside_the_main_label(flat, place, len(classes))
        seen = f"{wrong:.0%} of the labels of neighbours are not their main label"
        seen += f", spread over the other classes with evenness {even:.2f}"
        expected = f"at most {self.MAX_WRONG_SHARE:.0%}, or a few similar classes"
        # Neighbours of classes that overlap are wrong too; noise reaches every class.
        if drawn > self.MAX_WRONG_SHARE and even > self.MIN_EVENNESS:
            return Outcome(
                "warning", seen, expected, f"Check where the labels come from: about {drawn:.0%} "
                "look drawn at random. Look at dbg.worst_samples().",
            )  # fmt: skip
        return Outcome("pass", seen, expected)


def _beside_the_main_label(
    inputs: torch.Tensor, place: torch.Tensor, count: int
) -> tuple[float, float, float]:
    """Share of neighbours without the main label, and how evenly they spread over the classes.

    The third number is the share of neighbours that would be left if all other classes were as
    rare as the middle one: labels drawn at random, without those of a few similar classes.

    Args:
        inputs: [N, F]; place: class [N] of each, 0 to `count` - 1.
    """
    spread = inputs.std(0)
    inputs = (inputs - inputs.mean(0)) / torch.where(spread > 0, spread, torch.ones_like(spread))
    near = torch.cdist(inputs, inputs).fill_diagonal_(math.inf)
    near = near.topk(NEIGHBOURS, largest=False).indices
    votes = wide(torch.nn.functional.one_hot(place[near], count).sum(1))
    most, main = votes.max(1)
    # Neighbourhoods with one main label tell about noise; others have no structure to judge by.
    clear = most >= 2 * votes.topk(2, dim=1).values[:, 1].clamp_min(1)
    if float(wide(clear).mean()) < 0.5:
        return 0.0, 0.0, 0.0
    votes, main = votes[clear], main[clear]
    wrong = 1 - float(votes.max(1).values.sum() / votes.sum())
    evenness, weights, even = [], [], 0.0
    for each in main.unique():
        beside = votes[main == each].sum(0)
        beside[each] = 0
        others = beside[torch.arange(count) != int(each)]
        even += min(float(others.median()) * len(others), float(others.sum()))
        if beside.sum() >= 5 * count:
            share = beside / beside.sum()
            share = share[share > 0]
            evenness.append(float(-(share * share.log()).sum()) / math.log(count - 1))
            weights.append(float(beside.sum()))
    if not weights:
        return wrong, 0.0, 0.0
    evenly = sum(e * w for e, w in zip(evenness, weights, strict=True)) / sum(weights)
    return wrong, evenly, even / float(votes.sum())
