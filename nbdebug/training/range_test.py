"""The learning-rate range test: a sweep on the real session, of which nothing stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from nbdebug.core.commands import RangeTest
from nbdebug.core.errors import NonFiniteError
from nbdebug.core.range_test import LrRangeTest, Smoothing
from nbdebug.model.schedules import set_option
from nbdebug.training.kept import Kept
from nbdebug.training.loop import Loop
from nbdebug.training.sampler import Batch, DirectSampler, HeldSampler
from nbdebug.training.session import Session
from nbdebug.training.task import Task

LIMIT = 4.0


def sweep(loop: Loop, test: RangeTest, task: Task) -> LrRangeTest:
    """Train with rising learning rates, between two steps, then put everything back.

    Weights, buffers, gradients, optimizer, schedule, modes, random numbers, counters and the
    order of data are afterwards to the bit what they were; clipping is done as in training.
    The sweep ends early when the smoothed loss is over 4 times its best (fast.ai's rule),
    when a value is not finite, or when the task is to stop.

    Raises:
        Exception: whatever the user's code raised; everything was put back.
    """
    session = loop.session
    rates = np.geomspace(test.low, test.high, test.steps)
    losses: list[float] = []
    smoothed: list[float] = []
    smoothing, ended = Smoothing(), "the sweep came to its end."
    with _batches(session, test.steps) as (draw, note), _restored(session):
        for number, rate in enumerate(rates):
            task.advance(number / test.steps, "Range test")
            if task.halting():
                ended = "it was stopped."
                break
            _set_rate(session, float(rate))
            try:
                losses.append(loop.rehearse(draw()))
            except NonFiniteError:
                ended = f"loss or gradient was not finite at {rate:.3g}."
                break
            smoothed.append(smoothing.add(losses[-1]))
            best = min(smoothed)
            # For a positive loss: over 4 times the best. A negative best has no multiple.
            if smoothed[-1] - best > (LIMIT - 1) * abs(best):
                ended = f"the loss rose over {LIMIT:g} times its best at {rate:.3g}."
                break
    arrays = (rates[: len(losses)].copy(), np.array(losses), np.array(smoothed))
    for array in arrays:
        array.setflags(write=False)
    return LrRangeTest(*arrays, test.steps, ended, note)


def _set_rate(session: Session, rate: float) -> None:
    for group, ratio in zip(session.optimizer.param_groups, session.lr_ratios, strict=True):
        set_option(group, "lr", rate * ratio)


@contextmanager
def _batches(session: Session, steps: int) -> Iterator[tuple[Callable[[], Batch], str]]:
    """A function that draws batches which training will draw again.

    A stream, and loader workers that run ahead, cannot go back: there all batches are drawn
    first and kept, and training takes them before it draws on.
    """
    sampler = session.sampler
    if isinstance(sampler, DirectSampler):
        with sampler.indices.rewound():
            yield (lambda: sampler.next().to(session.device)), ""
        return
    kept: list[Batch] = []
    try:
        kept.extend(sampler.next() for _ in range(steps))
    finally:
        # What was drawn before an exception is not lost either.
        session.sampler = HeldSampler(kept, sampler)
    coming = iter(kept)
    note = (
        f"The data cannot be rewound: the {steps} batches of the test are the next that "
        "training takes, in the size they were drawn with."
    )
    yield (lambda: next(coming).to(session.device)), note


@contextmanager
def _restored(session: Session) -> Iterator[None]:
    """Put back on exit what training moves, but for the order of data."""
    kept = Kept(session)
    for parameter in session.model.parameters():
        parameter.grad = None
    try:
        yield
    finally:
        kept.restore()
