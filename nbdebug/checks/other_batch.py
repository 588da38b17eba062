"""Outputs that a step compares with the targets of another batch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._model_calls import ModelCall, batch_tensors, watched_step
from nbdebug.checks._relation import Relation, features_of, targets_of
from nbdebug.checks._samples import limited_by_time
from nbdebug.checks._wanted_rows import reads_rows_of, share_of, wanted_pairs
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.errors import LoopLeft
from nbdebug.model.precision import wide

MAX_BATCHES, MIN_SAMPLES, SEED = 16, 100, 1
EXPECTED = "targets and inputs of the same batch"
REMEDY = (
    "Take inputs and targets from the same batch: look for a target that is kept from the step "
    "before, inputs that are loaded ahead, and a second iterator that is shuffled on its own."
)
Tensors = list[torch.Tensor]


class _Rows(NamedTuple):
    """Inputs [N, ...] of a batch, its own labels [N], and those [N] that the loss asks for."""

    inputs: torch.Tensor
    own: torch.Tensor
    wanted: torch.Tensor


class OtherBatch(Check):
    """Checks that the loss asks for the targets of the batch that the model is given.

    Targets that are kept from the step before, or that come from a second loader which is shuffled
    on its own, have the right shapes: the model learns by heart, or nothing. The step is run for
    several batches; the gradient of the loss tells which targets it asks for. These are looked up
    in the batches, or compared with the labels beside the inputs, which the inputs predict.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "other_batch"
    step = 4
    order = 22
    title = "Targets of the same batch"
    source = "nbdebug: targets that the gradient of the loss shows, in several batches"
    explains = ("related_targets", "signal", "overfit", "one_epoch")
    sees_step = True
    alters = True

    MIN_EQUAL_SHARE, MAX_EQUAL_SHARE = 0.95, 0.6
    MIN_RELATION, MAX_CHANCE, MAX_APART = 12.0, 4.5, 0.2
    MIN_DELAYED = 2

    def examine(self, context: CheckContext) -> Outcome:
        if context.loss_fn is not None:
            return Outcome("not_applicable", "nbdebug gives inputs and targets to the loss itself.")
        with context.in_turn():
            return self._examined(context)

    def _examined(self, context: CheckContext) -> Outcome:
        looked: list[Tensors] = []
        delays: list[int | None] = []
        rows: list[_Rows] = []
        for batch in _batches(context):
            try:
                step = watched_step(context, batch)
            except LoopLeft:
                # A loop is given batches of its loader only.
                break
            if isinstance(step, str):
                return Outcome("not_applicable", step)
            looked.append(batch_tensors(context, batch))
            for call in step.calls:
                delays.append(self._delay(call, looked))
                if len(step.calls) == 1 and reads_rows_of(call, looked[-1]):
                    rows += _rows_of(call, looked[-1])
        return self._delayed(delays) or self._unrelated(rows) or self._passed(delays, rows)

    def _passed(self, delays: list[int | None], rows: list[_Rows]) -> Outcome:
        if any(one is not None for one in delays) or rows:
            return Outcome("pass", "no sign of targets of another batch", EXPECTED)
        return Outcome("not_applicable", "no target of the loss is one of a batch.")

    def _delay(self, call: ModelCall, looked: list[Tensors]) -> int | None:
        """Batches by which the targets of a call are later than its inputs; None if unknown."""
        inputs = {at for at, tensors in enumerate(looked) if reads_rows_of(call, tensors)}
        if not inputs:
            return None
        targets = {
            at
            for at, tensors in enumerate(looked)
            for wanted, candidates in wanted_pairs(call, tensors)
            if any(share_of(wanted, one) > self.MIN_EQUAL_SHARE for one in candidates)
        }
        if not targets:
            return None
        return 0 if inputs & targets else max(targets) - max(inputs)

    def _delayed(self, delays: list[int | None]) -> Outcome | None:
        """A fail if most steps have targets that are by as many batches away."""
        known = [one for one in delays if one is not None]
        usual = max(set(known), key=known.count, default=0)
        if not usual or known.count(usual) < max(self.MIN_DELAYED, 0.6 * len(known)):
            return None
        many = "the batch" if abs(usual) == 1 else f"{abs(usual)} batches"
        way = "before" if usual < 0 else "after"
        return Outcome(
            "fail", f"in {known.count(usual)} of {len(known)} steps the loss compares the outputs "
            f"for a batch with the targets of {many} {way} it", EXPECTED, REMEDY,
        )  # fmt: skip

    def _unrelated(self, rows: list[_Rows]) -> Outcome | None:
        """A fail if inputs predict the labels beside them, and not what the loss asks for."""
        alike = [one for one in rows if one.inputs.shape[1:] == rows[0].inputs.shape[1:]]
        if sum(len(one.own) for one in alike) < MIN_SAMPLES:
            return None
        inputs, own, wanted = (torch.cat([one[part] for one in alike]) for part in range(3))
        if float(wide(own == wanted).mean()) > self.MAX_EQUAL_SHARE or not self._alike(own, wanted):
            return None
        features, both = features_of([inputs]), [targets_of([one]) for one in (own, wanted)]
        if features is None or both[0] is None or both[1] is None:
            return None
        relation = Relation(features[0])
        told, asked = (relation.strength(one[0]) for one in both if one is not None)
        if told <= self.MIN_RELATION or asked > self.MAX_CHANCE:
            return None
        return Outcome(
            "fail", f"the inputs predict the labels of their batch ({told:.0f} standard deviations "
            f"above random order), but not the classes that the loss asks for ({asked:.1f})",
            EXPECTED, REMEDY,
        )  # fmt: skip

    def _alike(self, own: torch.Tensor, wanted: torch.Tensor) -> bool:
        """True if both have the same classes, about as often."""
        classes = torch.cat([own, wanted]).unique()
        shares = [wide(one[:, None] == classes).mean(0) for one in (own, wanted)]
        return float((shares[0] - shares[1]).abs().sum()) / 2 < self.MAX_APART


def _batches(context: CheckContext) -> Iterator[Any]:
    """Some batches; of a loop, which has a single one, also others of its data."""
    yield from context.batches[:MAX_BATCHES]
    samples = context.samples
    if len(context.batches) > 1 or samples.fetch is None or not samples.length:
        return
    size = max((len(one) for one in batch_tensors(context) if one.ndim), default=0)
    order = torch.randperm(samples.length, generator=torch.Generator().manual_seed(SEED))
    if size:
        whole = (part for part in order.split(size) if len(part) == size)
        read = (samples.read(part.tolist(), SEED) for part in whole)
        yield from islice(limited_by_time(read), MAX_BATCHES - 1)


def _rows_of(call: ModelCall, tensors: Tensors) -> list[_Rows]:
    """Rows of a call whose inputs are a part of the batch, with its only labels."""
    given = [
        one
        for one in call.inputs
        if any(one.shape == other.shape and torch.equal(one, other) for other in tensors)
    ]
    pairs = [(wanted, some) for wanted, some in wanted_pairs(call, tensors)]
    if len(given) != 1 or len(pairs) != 1 or len(pairs[0][1]) != 1:
        return []
    wanted, (labels,) = pairs[0]
    if labels.is_floating_point() or len(given[0]) != len(labels):
        return []
    return [_Rows(given[0].detach()[wanted.rows], labels[wanted.rows], wanted.values)]
