"""Numbers of the classes of the validation data, compared with those of the training data."""

from __future__ import annotations

from typing import NamedTuple

import torch

from nbdebug.checks._channel_order import permuted_channels
from nbdebug.checks._class_likeness import are_alike
from nbdebug.checks._class_predictions import (
    ClassPredictions,
    class_predictions,
    class_recall,
)
from nbdebug.checks._context import CheckContext
from nbdebug.checks._samples import limited_by_time
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome

MIN_SAMPLES, MAX_NAMED = 8, 3
EXPECTED = "the same number for the same class"


class _Class(NamedTuple):
    """A class of the validation data.

    Attributes:
        number: as its labels tell; predicted: the class predicted most often.
        share: of its samples with that prediction; own: with its own number; samples: their number.
    """

    number: int
    predicted: int
    share: float
    own: float
    samples: int

    @property
    def words(self) -> str:
        return (
            f"validation class {self.number} is predicted as {self.predicted} in {self.share:.0%} "
            f"of {self.samples:,} samples"
        )


class ClassNumbering(Check):
    """Checks that validation data numbers its classes as training data does.

    Where each part has its own encoder, sorted(set(labels)) or folder index, a class that is
    missing in one of them moves all others, and the validation accuracy measures the numbers. A
    model that was trained shows it: it predicts one class as another, each as a different one. A
    model that errs predicts several classes as the same one, and inputs unlike those of training
    are left to other checks. Where another order of the colour channels makes it right, the
    pictures of one part are BGR.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "class_numbering"
    step = 4
    order = 32
    title = "Classes of the validation data"
    source = "scikit-learn, Common pitfalls; nbdebug: confusion that is one-to-one"

    MIN_TRAIN_RECALL, MIN_SHARE, MAX_OWN = 0.6, 0.5, 0.25
    MIN_CLEAR, MIN_DISTINCT, MIN_FEW_SHARE, MIN_ALONE_SHARE = 0.6, 0.9, 0.75, 0.9
    # Of few classes, as of 10 of 10 samples or 15 of 20.
    MIN_BEYOND_HALF = 5.0
    # Where inputs cannot be compared.
    MIN_MOVED = 4

    def examine(self, context: CheckContext) -> Outcome:
        if context.samples.held_out is None:
            return Outcome("not_applicable", "there is no validation data.")
        train = class_predictions(context, limited_by_time(context.batches))
        if isinstance(train, str):
            return Outcome("not_applicable", train)
        middle = train.middle
        recall = class_recall(train, middle)
        if recall < self.MIN_TRAIN_RECALL:
            words = f"the model is right for {recall:.0%} of the training samples of a class: this "
            return Outcome("not_applicable", f"{words}needs a model that was trained.")
        held_out = class_predictions(context, limited_by_time(context.samples.held_out()))
        if isinstance(held_out, str):
            return Outcome("not_applicable", held_out)
        classes = _classes(held_out, middle)
        if not classes:
            words = f"no class of the validation data has {MIN_SAMPLES} samples."
            return Outcome("not_applicable", words)
        seen = f"right for {recall:.0%} of the training samples of a class, for "
        seen += f"{class_recall(held_out, middle):.0%} of the validation samples"
        moved = self._moved(classes, held_out, train)
        if moved:
            order = permuted_channels(context, middle, recall)
            if order is not None:
                return _told_channels(order, seen)
            alike = are_alike(train, held_out, [(one.number, one.predicted) for one in moved])
            if alike or (alike is None and len(moved) >= self.MIN_MOVED):
                return _told(moved, seen)
        return Outcome("pass", seen, EXPECTED)

    def _moved(
        self, classes: list[_Class], held_out: ClassPredictions, train: ClassPredictions
    ) -> list[_Class]:
        """Classes that are predicted as others, each as a different one; none if by error."""
        clear = [one for one in classes if one.share >= self.MIN_SHARE]
        if len(clear) < self.MIN_CLEAR * len(classes):
            return []
        if len({one.predicted for one in clear}) < self.MIN_DISTINCT * len(clear):
            return []
        moved = [one for one in clear if one.predicted != one.number and one.own <= self.MAX_OWN]
        if len(moved) > 2:
            return moved
        share = self.MIN_FEW_SHARE if len(moved) > 1 else self.MIN_ALONE_SHARE
        if any(one.share < share or not self._is_sure(one) for one in moved):
            return []
        if len(moved) == 1 and not _is_own_index(classes, held_out, train):
            return []
        return moved

    def _is_sure(self, one: _Class) -> bool:
        return one.samples * (one.share - 0.5) >= self.MIN_BEYOND_HALF


def _classes(found: ClassPredictions, middle: float) -> list[_Class]:
    """The classes of which there are enough samples."""
    predicted, classes = found.predicted(middle), []
    for number in found.labels.unique().tolist():
        at = found.labels == number
        count = len(found.sample[at].unique())
        if count < MIN_SAMPLES:
            continue
        votes = torch.bincount(predicted[at])
        most, total = int(votes.argmax()), int(votes.sum())
        own = int(votes[number]) / total if number < len(votes) else 0.0
        classes.append(_Class(number, most, int(votes[most]) / total, own, count))
    return classes


def _is_own_index(
    classes: list[_Class], held_out: ClassPredictions, train: ClassPredictions
) -> bool:
    """True if classes are numbered in their order, without those that are missing."""
    numbers, known = held_out.labels.unique().tolist(), set(train.labels.unique().tolist())
    if numbers != list(range(len(numbers))) or len(known) <= len(numbers):
        return False
    order = [one.predicted for one in classes]
    return order == sorted(set(order)) and len(classes) == len(numbers)


def _told_channels(order: tuple[int, ...], seen: str) -> Outcome:
    return Outcome(
        "fail",
        f"{seen}, and for nearly as many as in training once the channels of the validation inputs "
        f"are in the order {order}",
        "channels in the same order in both parts",
        "Read both parts in the same order of colours, such as by "
        "cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for pictures of OpenCV, which are BGR.",
    )


def _told(moved: list[_Class], seen: str) -> Outcome:
    named = "; ".join(one.words for one in moved[:MAX_NAMED])
    more = f" (and {len(moved) - MAX_NAMED} more)" if len(moved) > MAX_NAMED else ""
    offs = {one.number - one.predicted for one in moved}
    remedy = (
        "Number the classes by one mapping, made of the training data, for both parts: fit the "
        "encoder on the training data and only apply it to validation data, or pass on the "
        "class_to_idx of its folders."
    )
    if len(offs) == 1:
        off = offs.pop()
        how = "less" if off < 0 else "more"
        size = "one" if abs(off) == 1 else str(abs(off))
        remedy = f"The numbers of validation classes are {size} {how} than in training. {remedy}"
    return Outcome(
        "fail" if len(moved) > 2 else "warning", f"{named}{more}; {seen}", EXPECTED, remedy
    )
