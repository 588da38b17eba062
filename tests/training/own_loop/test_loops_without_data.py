"""A loop in `with dbg.step():` loses none of its steps to what looks at it, and ends as without."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributions import Categorical

import nbdebug as nbd

STEPS = 30


class Walk:
    """Policy gradient on a line: the loop makes its data, and counts by itself."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        random.seed(0)
        self.policy = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 2))
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=1e-2)
        self.place, self.episodes, self.scores = 0.0, 0, [0.0]

    def episode(self) -> tuple[torch.Tensor, float]:
        self.place, self.episodes = random.uniform(-1, 1), self.episodes + 1
        total: Any = 0.0
        for at in range(4):
            seen = torch.tensor([self.place, at / 4, float(torch.rand(()))])
            choice = Categorical(logits=self.policy(seen))
            action = choice.sample()
            total = total + choice.log_prob(action)
            self.place += 0.3 * float(action) - 0.15
        return total, -abs(self.place)

    def train(self, step: Callable[[], Any], steps: int = STEPS) -> None:
        for _ in range(steps):
            with step():
                terms = [chance * score for chance, score in (self.episode() for _ in range(4))]
                self.optimizer.zero_grad()
                (-torch.stack(terms).mean()).backward()
                self.optimizer.step()
            self.scores.append(self.place)

    def end(self) -> tuple[Any, ...]:
        weights = [one.detach().clone() for one in self.policy.parameters()]
        return *weights, self.episodes, tuple(self.scores), torch.rand(()), random.random()


def plain() -> tuple[Any, ...]:
    walk = Walk()
    walk.train(contextlib.nullcontext)
    return walk.end()


VERBS: dict[str, Callable[[nbd.Debugger], Any]] = {
    "check": lambda dbg: dbg.check(),
    "slow checks": lambda dbg: dbg.check(slow=True),
    "findings": lambda dbg: dbg.findings,
    "network": lambda dbg: dbg.network(),
    "predictions": lambda dbg: dbg.predictions(),
    "explain": lambda dbg: dbg.explain(),
    "embedding": lambda dbg: dbg.embedding(),
    "summary": lambda dbg: dbg.summary(),
    "fork": lambda dbg: dbg.fork(3, lr=0.1),
    "remedy": lambda dbg: dbg.try_remedy(),
    "range test": lambda dbg: dbg.lr_range_test(steps=5),
    "worst samples": lambda dbg: dbg.worst_samples(),
    "checkpoint": lambda dbg: dbg.checkpoint("here"),
    "rewind": lambda dbg: dbg.rewind(2),
    "replay": lambda dbg: dbg.replay(),
    "one step": lambda dbg: dbg.step(1),
}


@pytest.mark.parametrize("verb", VERBS)
def test_nothing_that_is_asked_for_moves_it(verb: str) -> None:
    expected, walk = plain(), Walk()
    with nbd.watch(walk.policy, walk.optimizer, runs=None) as dbg:
        dbg.run(lambda: walk.train(dbg.step))
        dbg.pause()
        with contextlib.suppress(nbd.NbdebugError, RuntimeError):
            VERBS[verb](dbg)
        dbg.start()
        dbg.wait()
    for got, wanted in zip(walk.end(), expected, strict=True):
        assert torch.equal(torch.as_tensor(got), torch.as_tensor(wanted))


def test_checks_that_need_a_batch_do_not_apply() -> None:
    walk = Walk()
    with nbd.watch(walk.policy, walk.optimizer, runs=None) as dbg:
        dbg.run(lambda: walk.train(dbg.step))
        dbg.pause()
        report = dbg.check(slow=True)
        assert [one.name for one in report if one.status in ("fail", "warning")] == []
        assert "there is no batch to look at" in report["labels"].seen
        assert sum(one.status == "pass" for one in report) >= 3
        dbg.end_loop()
        dbg.wait()


def test_waiting_ends_with_the_function_not_with_its_loop() -> None:
    walk = Walk()
    ends: list[str] = []

    def train() -> None:
        walk.train(dbg.step)
        time.sleep(0.3)
        ends.append("between")
        walk.train(dbg.step)
        time.sleep(0.3)
        ends.append("evaluated")

    with nbd.watch(walk.policy, walk.optimizer, runs=None) as dbg:
        dbg.run(train)
        assert not dbg.wait(1e-6)
        assert dbg.wait()
        assert ends == ["between", "evaluated"]
        assert dbg.session.step == 2 * STEPS


def test_waiting_for_a_paused_loop_returns() -> None:
    walk = Walk()
    with nbd.watch(walk.policy, walk.optimizer, runs=None) as dbg:
        dbg.run(lambda: walk.train(dbg.step, 10_000))
        dbg.pause()
        assert dbg.wait()
        dbg.end_loop()
        assert dbg.wait()


def test_waiting_does_not_end_where_the_next_loop_begins() -> None:
    for _ in range(6):
        walk, ends = Walk(), list[str]()

        def train(walk: Walk = walk, ends: list[str] = ends) -> None:
            for name in ("first", "second", "third"):
                walk.train(dbg.step)
                time.sleep(0.06)
                ends.append(name)

        with nbd.watch(walk.policy, walk.optimizer, runs=None) as dbg:
            dbg.run(train)
            assert dbg.wait(60)
            assert ends == ["first", "second", "third"]
