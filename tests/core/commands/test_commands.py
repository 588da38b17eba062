"""The queue of commands: order, waiting, many threads, and the answers of the worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from nbdebug import ClosedError, Debugger
from nbdebug.core.commands.queue import CommandQueue, Ticket
from nbdebug.core.commands.running import Pause, Run, SetControl
from nbdebug.core.commands.timeline import ForkSteps, NameCheckpoint
from tests.inside import queue_of
from tests.problems import blobs, tiny_mlp


def test_commands_come_out_in_order_with_the_tickets_that_were_given() -> None:
    queue = CommandQueue()
    commands = [Run(steps=3), SetControl("lr", 0.1), Pause(), SetControl("lr", 0.2)]
    given = tuple(queue.put(command) for command in commands)
    assert queue.drain() == given
    assert [ticket.command for ticket in given] == commands
    assert queue.drain() == ()
    assert not any(ticket.answer.done() for ticket in given)


def test_a_closed_queue_refuses_what_waits_and_what_comes_later() -> None:
    queue = CommandQueue()
    waiting = queue.put(Pause())
    queue.close()
    for ticket in (waiting, queue.put(Pause())):
        with pytest.raises(ClosedError):
            ticket.answer.result(0)
    assert queue.drain() == ()


def test_pending_shows_the_last_value_of_each_control() -> None:
    queue = CommandQueue()
    for command in (SetControl("lr", 0.1), Pause(), SetControl("lr", 0.2)):
        queue.put(command)
    queue.put(SetControl("batch_size", 16))
    assert queue.pending() == {"lr": 0.2, "batch_size": 16}
    queue.drain()
    assert queue.pending() == {}


def test_drain_waits_for_the_first_command() -> None:
    queue = CommandQueue()
    taken: list[tuple[Ticket, ...]] = []
    thread = threading.Thread(target=lambda: taken.append(queue.drain(wait=True)))
    thread.start()
    queue.put(Pause())
    thread.join()
    assert [[ticket.command for ticket in some] for some in taken] == [[Pause()]]


def test_no_command_of_many_threads_is_lost_or_out_of_order() -> None:
    queue = CommandQueue()
    threads, each = 8, 500
    taken: list[Ticket] = []

    given: list[list[Ticket]] = [[] for _ in range(threads)]

    def put(who: int) -> None:
        for value in range(each):
            given[who].append(queue.put(SetControl("lr", value, who=str(who))))

    def drain() -> None:
        while len(taken) < threads * each:
            taken.extend(queue.drain(wait=True))

    everyone = [threading.Thread(target=put, args=(who,)) for who in range(threads)]
    everyone.append(threading.Thread(target=drain))
    for thread in everyone:
        thread.start()
    for thread in everyone:
        thread.join()
    assert {id(ticket) for ticket in taken} == {id(t) for some in given for t in some}
    assert len(taken) == threads * each
    for who in range(threads):
        mine = [t.command for t in taken if isinstance(t.command, SetControl)]
        values = [command.value for command in mine if command.who == str(who)]
        assert values == list(range(each))


class Gate:
    """A step function that blocks in its second step until it is released."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        self.steps = 0

    def __call__(self, model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        self.steps += 1
        if self.steps == 2:
            self.reached.set()
            assert self.open.wait(60)
        X, y = batch
        return nn.functional.cross_entropy(model(X), y)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def running(gate: Gate) -> Iterator[Debugger]:
    """A Debugger in the middle of step 1."""
    with Debugger(tiny_mlp(), blobs(), step_fn=gate, batch_size=32) as dbg:
        dbg.start()
        assert gate.reached.wait(60)
        yield dbg
        gate.open.set()


def test_the_last_value_of_a_control_wins(running: Debugger, gate: Gate) -> None:
    for lr in (0.3, 0.2, 0.1):
        running.set(lr=lr, why=f"try {lr}")
    running.set(batch_size=16)
    gate.open.set()
    running.pause()
    changes = [(c.control, c.new, c.status, c.why) for c in running.history.changes]
    assert changes == [
        ("lr", 0.3, "superseded", "try 0.3"),
        ("lr", 0.2, "superseded", "try 0.2"),
        ("lr", 0.1, "applied", "try 0.1"),
        ("batch_size", 16, "applied", ""),
    ]
    assert running.controls["lr"] == 0.1
    frame = running.history.frame(["lr", "batch_size"])
    assert frame["lr"].tolist()[:2] == [1e-3, 1e-3]
    assert frame["batch_size"].tolist()[:2] == [32.0, 32.0]
    assert (frame["lr"].iloc[2:] == 0.1).all()
    assert (frame["batch_size"].iloc[2:] != 32.0).all()


def test_a_value_that_another_command_sees_is_not_left_out(running: Debugger, gate: Gate) -> None:
    queue = queue_of(running)
    queue.put(SetControl("lr", 0.3))
    queue.put(NameCheckpoint("before"))
    queue.put(SetControl("lr", 0.2))
    fork = queue.put(ForkSteps(2, ({"dropout": 0.0},)))
    queue.put(SetControl("lr", 0.1))
    gate.open.set()
    base = fork.answer.result(30).base.loss
    running.pause()
    assert running.changes["status"].tolist() == ["applied"] * 3
    running.rewind("before")
    assert running.controls["lr"] == 0.3
    running.set(lr=0.2)
    assert running.fork(2, dropout=0.0).base.tolist() == base.tolist()


def test_a_value_from_which_a_schedule_begins_is_not_left_out(
    running: Debugger, gate: Gate
) -> None:
    settings = ({"lr": 0.3}, {"schedule": "cosine"}, {"lr": 0.2}, {"schedule": "constant"})
    for one in settings:
        running.set(**one)
    gate.open.set()
    running.pause()
    assert running.changes["status"].tolist() == ["applied"] * 4


def test_actions_are_all_done(running: Debugger, gate: Gate) -> None:
    for value in ("he", "orthogonal", "undo"):
        queue_of(running).put(SetControl("reinit", value))
    gate.open.set()
    running.pause()
    changes = running.changes
    assert changes["status"].tolist() == ["applied"] * 3
    assert changes["new"].tolist() == ["he", "orthogonal", "undo"]


def test_a_change_is_written_down_at_the_first_step_that_runs_with_it(
    running: Debugger, gate: Gate
) -> None:
    running.set(lr=0.25, why="bend it")
    gate.open.set()
    running.pause()
    [change] = running.history.changes
    assert (change.step, change.samples) == (2, 64)
    assert (change.old, change.new) == (1e-3, 0.25)
    assert (change.who, change.why, change.status) == ("api", "bend it", "applied")
    assert running.changes.loc[0, "control"] == "lr"
