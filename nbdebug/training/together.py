"""Link of a training to its other ranks: the queue, what is compared, what is told."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import psutil

from nbdebug.core.commands.base import Command
from nbdebug.core.commands.queue import CommandQueue
from nbdebug.core.records import Notice
from nbdebug.core.results.loops.ranks import RanksApart, RankSpread
from nbdebug.model.module.hooks import before_forward
from nbdebug.model.state.digest import bits_of
from nbdebug.training.engine.session import Session
from nbdebug.training.engine.setup import Setup
from nbdebug.training.own_loop.watched_optimizer import WatchedOptimizer
from nbdebug.training.ranks.protocol import NO_SAY, Outcome, Where, both_ways
from nbdebug.training.ranks.shared_queue import LoneQueue, SharedQueue
from nbdebug.training.tasks.handler import Training

MEGABYTE = 2**20
log = logging.getLogger("nbdebug")


def make_queue(setup: Setup) -> CommandQueue:
    """Queue of the commands of a training."""
    if setup.link is None:
        return CommandQueue()
    if isinstance(setup.link, str):
        return LoneQueue(setup.link)
    queue = SharedQueue(setup.link)
    # Ranks that begin with other weights hold parts of a model, or train models of their own.
    high, low = setup.link.largest(both_ways(bits_of(setup.model.parameters())))
    queue.alike = high != NO_SAY and high == -low
    return queue


def join(queue: CommandQueue, training: Training) -> None:
    """Begin to listen to rank 0, on every rank."""
    if not isinstance(queue, SharedQueue):
        return
    queue.where = partial(_where, training)
    queue.measured = partial(_measured, training, psutil.Process())
    queue.tell = partial(_tell, training, queue.alike)
    queue.lost = partial(_lost, training)
    queue.spread = partial(_spread, training)
    if _waits_in_forward(training.session):
        optimizers = training.session.body.updates.optimizers
        begin = partial(_begin_waiting, optimizers)
        before_forward(training.session.model, begin, everywhere=True)
    queue.agreement.start()


def _waits_in_forward(session: Session) -> bool:
    """Tell if ranks wait for each other in the forward pass: for weights, or buffers of DDP."""
    sends = getattr(session.model, "will_sync_module_buffers", None)
    return session.sharded or (sends is not None and any(True for _ in session.model.buffers()))


def _begin_waiting(optimizers: Sequence[WatchedOptimizer], *_: object) -> None:
    for one in optimizers:
        one.begin_waiting()


def _where(training: Training) -> Where:
    body: Any = training.loop.body
    moves = training.run.state == "running"
    return Where(training.session.step, not body.runs, moves)


def _measured(training: Training, process: psutil.Process) -> dict[str, float]:
    """Numbers of this rank that are compared with the others; times in ms, memory in MB."""
    loop, body = training.loop, training.session.body
    waits = sum(one.seconds for one in body.updates.optimizers)
    return {
        "loss": loop.last[0],
        "step_ms": 1e3 * loop.step_seconds,
        "own_ms": 1e3 * max(loop.step_seconds - waits, 0.0),
        "loader_ms": 1e3 * loop.fetch_seconds,
        "memory_mb": process.memory_info().rss / MEGABYTE,
    }


def _spread(training: Training, found: RankSpread) -> None:
    training.session.spread = found
    training.history.set_result(found)


def _tell(training: Training, alike: bool, command: Command, outcome: Outcome) -> None:
    history, step = training.history, training.session.step
    if alike and outcome.apart and history.results.of(RanksApart) is None:
        history.set_result(RanksApart(step, command.name))
    if outcome.refused_by is not None:
        end = "It is taken back on the others." if outcome.applied else "Nothing was changed."
        text = f"{command.name}: {outcome.why.rstrip('.')}. {end}"
        history.add_notice(Notice(step, "warning", f"Rank {outcome.refused_by} refused", text))


def _lost(training: Training, why: str) -> None:
    text = f"{why.rstrip('.')}. Training goes on as its launcher says; no control acts any more."
    title = "The other ranks do not answer"
    log.warning("nbdebug: %s. %s", title, text)
    training.history.add_notice(Notice(training.session.step, "error", title, text))
