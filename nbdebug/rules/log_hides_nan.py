"""Detects a log in which NaN does not appear."""

from __future__ import annotations

import math

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Notice, Status
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.metric_names import LogFilter
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class LogHidesNan(Rule):
    """The loss was NaN or Inf, and the log of the trainer shows an average instead.

    With `logging_nan_inf_filter=True`, its default, Hugging Face's Trainer adds the average of the
    losses before to its log where a loss is NaN or Inf, and makes the update all the same: weights
    can be lost while the log looks healthy. nbdebug leaves such an update out. Give
    `TrainingArguments(logging_nan_inf_filter=False)` to see it in the log too.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "log_hides_nan"
    title = "The log hides NaN"
    source = "https://huggingface.co/docs/transformers/main_classes/trainer"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(LogFilter)
        if found is None or not found.hides_nan:
            return None
        failure = snapshot.status.failure
        notices = (*snapshot.notices, *([] if failure is None else [failure]))
        seen = [notice.step for notice in notices if _is_hidden(notice)]
        if not seen:
            return None
        text = (
            f"The loss was NaN or Inf at step {seen[0]:,}; the log of the trainer shows the "
            "average of the losses before it."
        )
        remedy = Remedy("Give TrainingArguments(logging_nan_inf_filter=False)")
        return Symptom(math.nan, math.inf, seen[0], text, (remedy,))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        notice = Notice(7, "error", "Stopped", "The loss is nan.", kind="non_finite", origin="loss")
        seen = {"status": Status(step=400), "notices": (notice,)}
        hidden, shown = LogFilter(True), LogFilter(False)
        return example(loss, [hidden], **seen), example(loss, [shown], **seen)


def _is_hidden(notice: Notice) -> bool:
    """True for a loss that was NaN or Inf; a gradient alone is not hidden."""
    return notice.kind == "non_finite" and notice.origin != "gradient"
