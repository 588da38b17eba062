"""Commands of rank 0 are applied by all ranks before the same step."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import pytest

import nbdebug as nbd
from nbdebug.core.commands.running import Close, Pause, Run, SetControl
from nbdebug.core.commands.timeline import Rewind
from tests.training.ranks.made_up import MadeUpRank, made_up


def start(ranks: Sequence[MadeUpRank]) -> None:
    for rank in ranks:
        rank.start()


def end(ranks: Sequence[MadeUpRank]) -> None:
    for rank in ranks:
        rank.queue.put(Close())
    for rank in ranks:
        rank.thread.join(20)
        assert not rank.thread.is_alive()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("size", [2, 3, 8])
def test_random_commands_are_applied_at_the_same_step(size: int, seed: int) -> None:
    draw = random.Random(seed)
    slow = draw.choice([0.0002, 0.001, 0.003])
    _, ranks = made_up(size, 160, seed, slow=slow, loops=draw.choice([1, 4, 8]))
    start(ranks)
    queue, paused = ranks[0].queue, False
    tickets = []
    for number in range(25):
        if draw.random() < 0.25:
            tickets.append(queue.put(Run() if paused else Pause()))
            paused = not paused
        else:
            tickets.append(queue.put(SetControl("lr", number)))
        if draw.random() < 0.7:
            time.sleep(draw.random() * 0.01)
    if paused:
        tickets.append(queue.put(Run()))
    for ticket in tickets:
        ticket.answer.result(20)
    end(ranks)
    assert len(ranks[0].applied) == len(tickets)
    for rank in ranks[1:]:
        assert rank.applied == ranks[0].applied


def test_a_value_that_one_rank_refuses_is_taken_back_on_all() -> None:
    _, ranks = made_up(3, 10_000)
    start(ranks)
    ranks[2].refuses.add(64)
    ranks[0].queue.put(SetControl("batch_size", 32)).answer.result(20)
    ranks[0].queue.put(SetControl("batch_size", 64)).answer.result(20)
    deadline = time.monotonic() + 20
    while len(ranks[0].applied) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [value for _, _, value in ranks[0].applied] == [32, 64, 32]
    assert {rank.values["batch_size"] for rank in ranks} == {32}
    outcome = ranks[1].told[1][1]
    assert outcome.refused_by == 2
    assert "64 is too large" in outcome.why
    end(ranks)


def test_a_value_that_all_ranks_refuse_is_an_error_for_who_gave_it() -> None:
    _, ranks = made_up(2, 10_000)
    start(ranks)
    for rank in ranks:
        rank.refuses.add(64)
    with pytest.raises(ValueError, match="too large"):
        ranks[0].queue.put(SetControl("batch_size", 64)).answer.result(20)
    time.sleep(0.1)
    assert not ranks[0].applied
    assert not ranks[1].applied
    end(ranks)


def test_weights_that_differ_are_told() -> None:
    _, ranks = made_up(2, 10_000)
    ranks[1].digest = 8
    start(ranks)
    ranks[0].queue.put(SetControl("lr", 1)).answer.result(20)
    deadline = time.monotonic() + 20
    while not ranks[1].told and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ranks[0].told[0][1].apart
    assert ranks[1].told[0][1].apart
    end(ranks)


def test_commands_of_a_loop_count_on_rank_0_alone() -> None:
    _, ranks = made_up(2, 10_000)
    start(ranks)
    assert ranks[1].queue.put(SetControl("lr", 5)).answer.result(1) is None
    ranks[0].queue.put(SetControl("lr", 6)).answer.result(20)
    time.sleep(0.05)
    assert [value for _, _, value in ranks[1].applied] == [6]
    end(ranks)


def test_what_would_run_the_model_on_one_rank_is_refused() -> None:
    _, ranks = made_up(2, 10)
    with pytest.raises(nbd.RanksError, match="rewind is not done"):
        ranks[0].queue.put(Rewind(3)).answer.result(1)


def test_a_rank_that_pauses_goes_on_when_rank_0_is_closed() -> None:
    _, ranks = made_up(2, 10_000)
    start(ranks)
    deadline = time.monotonic() + 20
    while not ranks[1].step and time.monotonic() < deadline:
        time.sleep(0.01)
    ranks[0].queue.put(Pause()).answer.result(20)
    while ranks[1].moves and time.monotonic() < deadline:
        time.sleep(0.01)
    ranks[0].queue.put(Close())
    while len(ranks[1].applied) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [name for _, name, _ in ranks[1].applied] == ["pause", "run"]
    end(ranks[1:])


def test_ranks_that_are_gone_are_told_and_nothing_waits() -> None:
    exchange, ranks = made_up(2, 10_000)
    start(ranks)
    ranks[0].queue.put(SetControl("lr", 1)).answer.result(20)
    exchange.fail()
    ticket = ranks[0].queue.put(SetControl("lr", 2))
    with pytest.raises((nbd.ClosedError, nbd.RanksError)):
        ticket.answer.result(20)
    deadline = time.monotonic() + 20
    while not ranks[0].lost and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(ranks[0].lost) == 1
    with pytest.raises(nbd.RanksError, match="does not reach"):
        ranks[0].queue.put(SetControl("lr", 3)).answer.result(1)
    end(ranks)


def test_without_a_command_only_the_spread_is_exchanged() -> None:
    exchange, ranks = made_up(4, 1_000)
    start(ranks)
    time.sleep(0.5)
    assert exchange.messages == 0
    end(ranks)


@pytest.mark.parametrize("size", [2, 8, 64])
def test_what_a_command_costs_does_not_grow_with_the_ranks(size: int) -> None:
    exchange, ranks = made_up(size, 10_000, slow=0.0)
    start(ranks)
    for number in range(5):
        ranks[0].queue.put(SetControl("lr", number)).answer.result(20)
    deadline = time.monotonic() + 20
    while len(ranks[0].told) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    commands = 5
    # One to say it, one for the step, one for what came of it; of six numbers in all.
    assert exchange.messages <= 3 * commands
    assert exchange.numbers <= 6 * commands
    end(ranks)
