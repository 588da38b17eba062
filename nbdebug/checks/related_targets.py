"""Relation of the inputs to the targets that stand beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch

from nbdebug.checks._constant import smallest_loss
from nbdebug.checks._context import CheckContext
from nbdebug.checks._relation import Relation, features_of, is_table, targets_of
from nbdebug.checks._samples import limited_by_time
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.errors import DataError
from nbdebug.model.module.forward import split

MIN_SAMPLES, MAX_SAMPLES, MAX_ROLL, MAX_BATCHES = 100, 512, 3, 16
MIN_HELD_OUT = 30
EXPECTED = "targets that the inputs beside them predict"
REMEDY = (
    "Look at some inputs beside their targets. Usual causes: the two were split or shuffled apart "
    "(pass both to one call of train_test_split), one of them was sorted or filtered, or they are "
    "taken by different indices."
)


class _Numbers(NamedTuple):
    """Features [N, F] and centred targets [N, C] of some samples; `rows` of plain numbers."""

    features: torch.Tensor
    targets: torch.Tensor
    rows: bool = False

    @property
    def strength(self) -> float:
        return Relation(self.features).strength(self.targets)

    def rolled(self, places: int) -> _Numbers:
        """Each input with the target that stands this number of rows before it."""
        count = len(self.features)
        later = slice(max(0, places), count + min(0, places))
        earlier = slice(max(0, -places), count - max(0, places))
        return _Numbers(self.features[later], self.targets[earlier])


class RelatedTargets(Check):
    """Checks that the inputs predict the targets that stand beside them.

    Inputs and targets that were split, shuffled, sorted or filtered apart raise no error: the model
    learns the samples by heart, or nothing. Each sample is predicted from the others, by its
    neighbours, a linear and a smooth function, and compared with targets in random orders. No such
    relation alone is no fault; it is one where another row gives it, where the validation data has
    it, where the columns of a table go together as those of measured things do and the targets with
    none of them, or where the trained model is no better than a constant either.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "related_targets"
    step = 4
    order = 25
    title = "Targets belong to their inputs"
    source = "Zhang et al. (2017), random labels; Good (2005), Permutation Tests"
    explains = ("signal", "one_epoch", "overfit")

    MAX_CHANCE, MIN_RELATION, MAX_NOTHING = 4.5, 12.0, 3.5
    MIN_RELATION_OF_FEW = 7.0
    MIN_STEPS, MIN_EPOCHS, MAX_LOSS_RATIO = 200, 3.0, 0.97

    def examine(self, context: CheckContext) -> Outcome:
        try:
            train = _numbers(context.data)
        except DataError:
            return Outcome("not_applicable", "a batch is not (inputs, targets).")
        if train is None:
            words = f"there are no {MIN_SAMPLES} samples with a row of inputs and of targets."
            return Outcome("not_applicable", words)
        own, held_out = train.strength, _held_out(context)
        seen = f"{own:.1f} standard deviations above targets in random order"
        if own > self.MIN_RELATION and held_out is not None:
            return self._of_validation(train, held_out) or Outcome("pass", seen, EXPECTED)
        if own > self.MAX_CHANCE:
            return Outcome("pass", seen, EXPECTED)
        found = self._of_training(held_out, own) or self._of_rows(context)
        return found or self._of_model(context, own) or self._of_table(context, train, own)

    def _of_validation(self, train: _Numbers, held_out: _Numbers) -> Outcome | None:
        """A fail if validation data has no relation where as many training samples have one."""
        count = len(held_out.features)
        fewer = _Numbers(train.features[:count], train.targets[:count]).strength
        own = held_out.strength
        if count < MIN_SAMPLES or own > self.MAX_CHANCE or fewer <= self.MIN_RELATION:
            return None
        return Outcome(
            "fail", f"the inputs do not predict the targets of the validation data ({own:.1f} "
            f"standard deviations above random order, {fewer:.1f} in as many training samples)",
            EXPECTED, REMEDY,
        )  # fmt: skip

    def _of_training(self, held_out: _Numbers | None, own: float) -> Outcome | None:
        """A fail if validation data has a relation that training data has not."""
        other = 0.0 if held_out is None else held_out.strength
        few = held_out is not None and len(held_out.features) < MIN_SAMPLES
        if other <= (self.MIN_RELATION_OF_FEW if few else self.MIN_RELATION):
            return None
        return Outcome(
            "fail", "training inputs and targets do not belong together (shuffled apart?): the "
            f"inputs do not predict the targets of the training data ({own:.1f} standard "
            f"deviations above random order, {other:.1f} in the validation data)",
            EXPECTED, REMEDY,
        )  # fmt: skip

    def _of_rows(self, context: CheckContext) -> Outcome | None:
        """A warning if the inputs predict the target of another row, in the order of the data."""
        rows = _stored_rows(context)
        if rows is None or rows.strength > self.MAX_CHANCE:
            return None
        for places in (p for size in range(1, MAX_ROLL + 1) for p in (size, -size)):
            moved = rows.rolled(places)
            found = moved.strength
            if found > self.MIN_RELATION and not _is_series(rows):
                many = f"{abs(places)} row{'s' if abs(places) > 1 else ''}"
                way = "before" if places > 0 else "after"
                return Outcome(
                    "warning", f"the inputs do not predict the targets of their own rows, but "
                    f"those {many} {way} ({found:.1f} standard deviations above random order)",
                    EXPECTED,
                    f"Move the targets by {many}: one of the two was shifted, or lost a row.",
                )  # fmt: skip
        return None

    def _of_table(self, context: CheckContext, train: _Numbers, own: float) -> Outcome:
        """A warning for a table with no column that its targets go with; else nothing is known.

        Of drawn bits or of a series the targets may be related in a way that is not seen here.
        """
        seen = (
            f"neither neighbours nor a linear or smooth function predict the targets of "
            f"{len(train.features)} samples ({own:.1f} standard deviations above random order)"
        )
        hidden = own > self.MAX_NOTHING or not train.rows or not is_table(train.features)
        if hidden or _is_ordered(context):
            return Outcome(
                "not_applicable", f"{seen}: the relation is one that only a network finds, or the "
                "two were shuffled apart. After training this check tells more."
            )  # fmt: skip
        return Outcome(
            "warning", "training inputs and targets do not seem to belong together (shuffled "
            f"apart?): {seen}, though the columns of the inputs go together", EXPECTED, REMEDY,
        )  # fmt: skip

    def _of_model(self, context: CheckContext, own: float) -> Outcome | None:
        """A warning if the trained model is no better than a constant on samples held out."""
        seen, length = context.step * context.samples.batch_size, context.samples.length
        if context.loss_fn is None or context.step < self.MIN_STEPS:
            return None
        if length is not None and seen < self.MIN_EPOCHS * length:
            return None
        where, loss, constant = _losses(context)
        if constant is None or constant <= 0:
            return None
        if loss <= self.MAX_LOSS_RATIO * constant:
            words = f"the model has {loss:.4g} on {where} samples, a constant {constant:.4g}"
            return Outcome("pass", words, EXPECTED)
        return Outcome(
            "warning", "the inputs do not predict the targets, neither by their neighbours nor by "
            f"a linear or smooth function ({own:.1f} standard deviations above random order), nor "
            f"does the model: its loss on {where} samples is {loss:.4g} after {context.step:,} "
            f"steps, that of a constant {constant:.4g}", EXPECTED, REMEDY,
        )  # fmt: skip


def _numbers(batches: Iterable[Any], least: int = MIN_SAMPLES) -> _Numbers | None:
    """Some samples of batches as numbers; None if they are fewer than `least`, or no rows.

    Raises:
        DataError: a batch is not (inputs, targets).
    """
    inputs: list[torch.Tensor] = []
    targets: list[torch.Tensor] = []
    for batch in batches:
        one, other = split(batch)
        if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
            return None
        if not one.ndim or not other.ndim or len(one) != len(other):
            return None
        if inputs and (
            one.shape[1:] != inputs[0].shape[1:] or other.shape[1:] != targets[0].shape[1:]
        ):
            continue
        inputs.append(one)
        targets.append(other)
        if sum(map(len, inputs)) >= MAX_SAMPLES:
            break
    if sum(map(len, inputs)) < least:
        return None
    features = features_of([torch.cat(inputs)[:MAX_SAMPLES]])
    wanted = targets_of([torch.cat(targets)[:MAX_SAMPLES]])
    if features is None or wanted is None:
        return None
    return _Numbers(features[0], wanted[0], inputs[0].ndim == 2 and inputs[0].is_floating_point())


def _held_out(context: CheckContext) -> _Numbers | None:
    if context.samples.held_out is None:
        return None
    try:
        return _numbers(limited_by_time(context.samples.held_out()), MIN_HELD_OUT)
    except DataError:
        return None


def _stored_rows(context: CheckContext) -> _Numbers | None:
    """The first samples in the order in which the data holds them."""
    samples = context.samples
    if samples.fetch is None or not samples.length:
        return None
    places = torch.arange(min(samples.length, MAX_SAMPLES)).split(samples.batch_size)
    return _numbers(limited_by_time(samples.read(part.tolist(), 0) for part in places))


def _is_series(rows: _Numbers) -> bool:
    """True if the inputs of a row predict those of the next one.

    Of a series, another time may well be easier to tell than the one that is to be forecast.
    """
    return Relation(rows.features[:-1]).strength(rows.features[1:]) > RelatedTargets.MIN_RELATION


def _is_ordered(context: CheckContext) -> bool:
    """True if the stored rows are a series, or are not known."""
    rows = _stored_rows(context)
    return rows is None or _is_series(rows)


def _losses(context: CheckContext) -> tuple[str, float, float | None]:
    """The data, the loss of the model on some of it, and that of the best constant for it."""
    held_out = context.samples.held_out
    batches: Iterator[Any] = iter(context.batches) if held_out is None else held_out()
    losses, targets, shape = [], [], torch.Size()
    context.eval_step()
    for _, batch in zip(range(MAX_BATCHES), limited_by_time(batches), strict=False):
        loss, outputs, wanted = context.look(batch)
        if not isinstance(outputs, torch.Tensor) or not isinstance(wanted, torch.Tensor):
            return "", 0.0, None
        losses.append((float(loss), len(wanted)))
        targets.append(wanted)
        shape = outputs.shape[1:]
    if len({one.shape[1:] for one in targets}) != 1:
        return "", 0.0, None
    count = sum(size for _, size in losses)
    mean = sum(loss * size for loss, size in losses) / count
    where = "training" if held_out is None else "validation"
    return where, mean, smallest_loss(context, torch.cat(targets), shape)
