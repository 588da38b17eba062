"""A training of several ranks: they meet, and apply the commands of rank 0 before the same step."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from functools import partial
from typing import Any

import psutil

from nbdebug.core.commands.base import Command
from nbdebug.core.commands.queue import CommandQueue
from nbdebug.core.records import Notice
from nbdebug.core.results.ranks import RanksApart, RankSpread
from nbdebug.training.engine.setup import Setup
from nbdebug.training.ranks.agreement import Outcome, Where
from nbdebug.training.ranks.meeting import meet, rank, ranks
from nbdebug.training.ranks.shared_queue import LoneQueue, SharedQueue
from nbdebug.training.tasks.handler import Training

TOGETHER = (
    "Several ranks train together, and a step is made by all of them: nothing is rewound, forked "
    "or replayed, and checks do not run."
)
UNAVAILABLE = {
    "frozen": "several ranks train together, which wait for the gradients of all parameters.",
    "reinit": "several ranks train together, and each would draw other weights.",
}
MEGABYTE = 2**20
log = logging.getLogger("nbdebug")


def met(setup: Setup) -> tuple[Setup, tuple[Notice, ...]]:
    """Meet the other ranks of a loop of the user's own, if there are any.

    Returns:
        The setup of this rank, and what is to be said of it. Rank 0 alone is recorded and served.
    """
    size = ranks()
    if size == 1:
        return setup, ()
    link = meet({"parameters": _shapes(setup.model)})
    body, number = setup.train_data.body, rank()
    body.state.together, body.updates.together = TOGETHER, True
    body.unavailable = {**body.unavailable, **UNAVAILABLE}
    setup = replace(setup, link=link)
    if number:
        name = None if setup.name is None else f"{setup.name} rank {number}"
        setup = replace(setup, name=name, runs=None, serve=False)
    if isinstance(link, str):
        log.warning("nbdebug: %s", link)
        return setup, (Notice(0, "warning", "This rank is watched alone", link),)
    text = (
        f"This is rank {number}. A control that rank 0 sets is in force on all from the same step "
        f"on. The batch size is that of one rank: {size} times as many samples make a step. "
        + TOGETHER
    )
    return setup, (Notice(0, "info", f"{size} ranks train together", text),)


def _shapes(model: Any) -> str:
    found = [f"{name} {tuple(p.shape)} {p.dtype}" for name, p in model.named_parameters()]
    return hashlib.sha256("\n".join(found).encode()).hexdigest()


def make_queue(setup: Setup) -> CommandQueue:
    """Queue of the commands of a training."""
    if setup.link is None:
        return CommandQueue()
    return LoneQueue(setup.link) if isinstance(setup.link, str) else SharedQueue(setup.link)


def join(queue: CommandQueue, training: Training) -> None:
    """Begin to listen to rank 0, on every rank."""
    if not isinstance(queue, SharedQueue):
        return
    queue.where = partial(_where, training)
    queue.measured = partial(_measured, training, psutil.Process())
    queue.tell, queue.lost = partial(_tell, training), partial(_lost, training)
    queue.spread = partial(_spread, training)
    queue.agreement.start()


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


def _tell(training: Training, command: Command, outcome: Outcome) -> None:
    history, step = training.history, training.session.step
    if outcome.apart and history.results.of(RanksApart) is None:
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
