"""Some training updates inside a check, which the check runner undoes afterwards."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import cycle, islice

from nbdebug.checks._context import CheckContext
from nbdebug.checks._samples import limited_by_time

MAX_UPDATES = 32


def gradients_along_updates(context: CheckContext) -> Iterator[int]:
    """Yield the number of updates so far, with the gradients of a new batch in the parameters.

    The first gradients are those of the unmodified model. Before each of the others the optimizer
    makes an update, up to 32 in all, for about a second. A NaN or Inf in the loss is the end. The
    user's code counts on: what it does every third batch, it does here too.
    """
    with context.in_turn():
        yield from _gradients(context)


def _gradients(context: CheckContext) -> Iterator[int]:
    optimizer = context.subject.optimizer
    context.gradients()
    yield 0
    batches = cycle([*context.batches[1:], context.batch])
    for done, batch in enumerate(limited_by_time(islice(batches, MAX_UPDATES)), 1):
        optimizer.step()
        optimizer.zero_grad()
        loss = context.evaluate(batch)[0]
        loss.backward()
        if not math.isfinite(float(loss.detach())):
            return
        yield done
