"""Learning-rate range test: a sweep on the real session, which is restored afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nbdebug.core.commands.examining import RunLrRangeTest
from nbdebug.core.contexts import contextmanager
from nbdebug.core.results.lr_range_test import LrRangeTest, Smoothing
from nbdebug.errors import NonFiniteError
from nbdebug.model.schedule.builders import set_option
from nbdebug.training.data.batch import draw_step
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.engine.session import Session
from nbdebug.training.engine.state_guard import StateGuard

MAX_LOSS_RATIO = 4.0


def sweep(loop: Loop, test: RunLrRangeTest, progress: TaskProgress) -> LrRangeTest:
    """Train with rising learning rates, between two steps, then restore everything.

    Weights, buffers, gradients, optimizer, schedule, modes, random numbers, counters and the
    data order are bit-identical afterwards; gradients are clipped as in training. The sweep ends
    early if the smoothed loss is over 4 times its best (fast.ai's rule), at a NaN or Inf, or if
    the command is asked to stop.

    Raises:
        Exception: whatever the user's code raised; everything was restored.
    """
    session = loop.session
    rates = np.geomspace(test.low, test.high, test.steps)
    losses: list[float] = []
    smoothed: list[float] = []
    smoothing, ended = Smoothing(), "the sweep is complete."
    with _data_restored(session), _state_restored(session):
        for number, rate in enumerate(rates):
            progress.advance(number / test.steps, "Range test")
            if progress.should_stop():
                ended = "the sweep was stopped."
                break
            _set_rate(session, float(rate))
            try:
                batch = draw_step(session.sampler, session.batching).to(session.device)
                losses.append(loop.update_weights(batch))
            except NonFiniteError:
                ended = f"loss or gradient was NaN or Inf at {rate:.3g}."
                break
            smoothed.append(smoothing.add(losses[-1]))
            best = min(smoothed)
            # For a positive loss: over 4 times the best. The difference works for negative ones.
            if smoothed[-1] - best > (MAX_LOSS_RATIO - 1) * abs(best):
                ended = f"the loss rose over {MAX_LOSS_RATIO:g} times its best at {rate:.3g}."
                break
    arrays = (rates[: len(losses)].copy(), np.array(losses), np.array(smoothed))
    for array in arrays:
        array.setflags(write=False)
    return LrRangeTest(*arrays, test.steps, ended)


def _set_rate(session: Session, rate: float) -> None:
    ratios = session.rates.now(session.optimizer)
    for group, ratio in zip(session.optimizer.param_groups, ratios, strict=True):
        set_option(group, "lr", rate * ratio)


@contextmanager
def _data_restored(session: Session) -> Iterator[None]:
    """Restore the data order on exit."""
    sampler = session.sampler
    with sampler.keep_everything(), session.ready.trial():
        position = sampler.position()
        try:
            yield
        finally:
            sampler.seek(position)


@contextmanager
def _state_restored(session: Session) -> Iterator[None]:
    """Restore everything except the data order on exit."""
    guard = StateGuard(session)
    for parameter in session.model.parameters():
        parameter.grad = None
    try:
        yield
    finally:
        guard.restore()
