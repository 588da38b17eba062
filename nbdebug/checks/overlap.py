"""Overlap of training and validation data."""

from __future__ import annotations

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._held_out import both_inputs
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome

MIN_SHARED, MIN_ROWS = 3, 100

# Of continuous data so many features have a value of their own in such a share of the samples.
MIN_OWN, OWN_SHARE, MAX_COLUMNS = 2, 0.5, 64


class Overlap(Check):
    """Checks that training and validation data share no samples.

    The loss on samples of the training data does not measure the performance on new data. Common
    causes are a split after augmentation, and duplicates in the data. Where training samples are
    nearly all equal to each other, their inputs were rounded.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "overlap"
    step = 4
    order = 30
    title = "No overlap with validation data"
    source = "Deepchecks, train-test samples mix; Kaufman et al. (2012), Leakage in Data Mining"

    WARNING_SHARE = 0.05
    FAIL_SHARE = 0.5
    FEW_SHARE = 0.1

    def examine(self, context: CheckContext) -> Outcome:
        found = both_inputs(context)
        if isinstance(found, str):
            return Outcome("not_applicable", found)
        train, held_out = found
        if train.shape[1:] != held_out.shape[1:]:
            return Outcome("not_applicable", "training and validation samples differ in shape.")
        known, rows = set(_rows(train)), _rows(held_out)
        shared = sum(row in known for row in rows)
        # Only a part of a large dataset is compared.
        share = min(shared / len(rows) * (context.samples.length or 0) / len(train), 1.0)
        # Data with few distinct values has duplicates within one part, too.
        natural = 0.0 if _is_continuous(held_out) else 1 - len(set(rows)) / len(rows)
        seen = f"{share:.1%} of {len(rows):,} validation samples are also training samples"
        if shared < MIN_SHARED:
            return Outcome("pass", seen, "none, except in data with natural duplicates")
        few = self._few_inputs(train) if share > self.FAIL_SHARE and natural == 0.0 else None
        if few is not None:
            return few
        remedy = (
            "Split before augmentation and before rare classes are drawn several times, remove "
            "duplicates, and keep groups of samples together."
        )
        if share > self.FAIL_SHARE and natural < self.WARNING_SHARE:
            return Outcome("fail", seen, "none", remedy)
        if share > self.WARNING_SHARE + 2 * natural:
            return Outcome("warning", seen, "none", remedy)
        return Outcome("pass", seen, "none, except in data with natural duplicates")

    def _few_inputs(self, train: torch.Tensor) -> Outcome | None:
        """Outcome where nearly all training samples are equal to others, so that all must be."""
        rows = _rows(train)
        different = len(set(rows))
        if len(rows) < MIN_ROWS or different > self.FEW_SHARE * len(rows):
            return None
        return Outcome(
            "warning",
            f"{len(rows):,} training samples have only {different} different inputs, and "
            "validation samples are among them",
            "inputs that tell samples apart",
            "Look for what rounds the inputs: large numbers such as times lose their precision in "
            "float32, so subtract the start first, in float64. If rows are repeated, split the "
            "data before.",
        )


def _is_continuous(inputs: torch.Tensor) -> bool:
    """True if several features have another value in most samples that differ.

    Such samples are not equal by accident: they were drawn several times.
    """
    flat = inputs.detach().flatten(1)
    if not flat.is_floating_point():
        return False
    different = flat.unique(dim=0)
    columns = different[:, :MAX_COLUMNS].unbind(1)
    own = sum(len(column.unique()) > OWN_SHARE * len(different) for column in columns)
    return own >= MIN_OWN


def _rows(inputs: torch.Tensor) -> list[bytes]:
    flat = inputs.detach().cpu().flatten(1).contiguous()
    return [row.tobytes() for row in flat.numpy()]
