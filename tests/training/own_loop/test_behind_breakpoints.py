"""What the body of a loop does behind an update that a breakpoint left out is done once."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd

X = torch.randn(24, 8, 6, generator=torch.Generator().manual_seed(3))
Body = Callable[["Program", torch.Tensor], object]
SOURCES: dict[str, Callable[[], Iterable[torch.Tensor]]] = {
    "a list": lambda: list(X),
    "a generator": lambda: (x for x in X),
    "map": lambda: map(torch.clone, X),
    "iter": lambda: iter(list(X)),
    "islice": lambda: itertools.islice(itertools.cycle(list(X)), 24),
}


class Program:
    """A network, and what else a training moves."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.BatchNorm1d(8), nn.Linear(8, 1))
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.05, momentum=0.9)
        self.schedule = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.9)
        self.average, self.side = copy.deepcopy(self.net), nn.Linear(6, 1)
        self.side_optimizer = torch.optim.Adam(self.side.parameters(), lr=0.1)
        self.center, self.log, self.count = torch.zeros(6), list[int](), 0

    def state(self) -> list[Any]:
        held = self.net, self.average, self.side, self.optimizer, self.side_optimizer
        parts = [one.state_dict() for one in held]
        return [*parts, self.schedule.state_dict(), self.center, self.log, self.count]


def average(own: Program, _: torch.Tensor) -> None:
    for kept, now in zip(own.average.parameters(), own.net.parameters(), strict=True):
        kept.data.lerp_(now.data, 0.1)


def train_side(own: Program, x: torch.Tensor) -> None:
    own.side_optimizer.zero_grad()
    (own.side(x) - own.net(x).detach()).pow(2).mean().backward()
    own.side_optimizer.step()


def shrink(own: Program, _: torch.Tensor) -> None:
    with torch.no_grad():
        for one in own.net.parameters():
            one.mul_(0.99)


def shrink_data(own: Program, _: torch.Tensor) -> None:
    for one in own.net.parameters():
        one.data.mul_(0.99)


def damp(own: Program, _: torch.Tensor) -> None:
    for state in own.optimizer.state.values():
        state["momentum_buffer"].mul_(0.9)


def count(own: Program, _: torch.Tensor) -> None:
    own.count += 1
    own.log.append(own.count)


def lower(own: Program, _: torch.Tensor) -> None:
    for group in own.optimizer.param_groups:
        group["lr"] *= 0.9


BODIES: dict[str, Body] = {
    "averages weights": average,
    "trains another network": train_side,
    "shrinks weights": shrink,
    "shrinks weights by .data": shrink_data,
    "damps momentum": damp,
    "steps a schedule": lambda own, _: own.schedule.step(),
    "lowers the rate": lower,
    "counts": count,
    "averages inputs": lambda own, x: own.center.lerp_(x.mean(0), 0.1),
    "evaluates": lambda own, x: own.net(x),
}


def trained(source: str, body: str, at: int | None = None) -> list[Any]:
    """State behind a loop, which stops at a breakpoint at a step."""
    own = Program()

    def loop(batches: Any) -> None:
        for x in batches(SOURCES[source]()):
            own.optimizer.zero_grad()
            (own.net(x) - x[:, :1]).pow(2).mean().backward()
            own.optimizer.step()
            BODIES[body](own, x)

    if at is None:
        loop(iter)
        return own.state()
    with nbd.watch(own.net, own.optimizer, runs=None) as dbg:
        dbg.break_when(f"step >= {at}")
        dbg.run(lambda: loop(dbg.batches))
        assert dbg.wait(60)
        dbg.clear_breakpoints()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=10_000)
        assert not [one.title for one in dbg.history.notices if one.severity == "warning"]
    return own.state()


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else bool(one == other)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("source", SOURCES)
def test_it_is_done_once(source: str, body: str) -> None:
    plain = trained(source, body)
    for at in (1, 12):
        assert same(trained(source, body, at), plain), at


def test_a_breakpoint_after_a_layer_was_exchanged_under_several_optimizers() -> None:
    def trained(watched: bool) -> list[Any]:
        torch.manual_seed(0)
        maker, judge = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6)), nn.Linear(6, 1)
        first = torch.optim.Adam(maker.parameters(), 1e-3)
        second = torch.optim.Adam(judge.parameters(), 1e-3)
        data = list(torch.randn(64, 6).split(8))

        def update(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        def loop(epochs: Any, batches: Any) -> None:
            for epoch in epochs(3):
                if epoch == 1:
                    # The state of the old parameters stays in the optimizer.
                    maker[2] = nn.Linear(8, 6)
                    first.param_groups[0]["params"] = list(maker.parameters())
                for x in batches(data):
                    made = maker(torch.randn(8, 4))
                    update(second, judge(made.detach()).mean() - judge(x).mean())
                    update(first, -judge(made).mean())

        if not watched:
            loop(range, iter)
        else:
            models, optimizers = {"maker": maker, "judge": judge}, {"maker": first, "judge": second}
            with nbd.watch(models, optimizers, runs=None) as dbg:
                dbg.break_when("step >= 13")
                dbg.run(lambda: loop(dbg.epochs, dbg.batches))
                assert dbg.wait(60)
                assert dbg.history.status.step >= 12
                dbg.clear_breakpoints()
                with suppress(nbd.LoopLeft):
                    dbg.run(steps=1000)
        return [p.tolist() for net in (maker, judge) for p in net.parameters()]

    assert trained(watched=True) == trained(watched=False)


GENERATORS: dict[str, Callable[[], Any]] = {
    "NumPy": lambda: np.random.default_rng(7),
    "NumPy, the old one": lambda: np.random.RandomState(7),
    "Python": lambda: random.Random(7),
    "torch": lambda: torch.Generator().manual_seed(7),
}


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_step_that_is_made_again_draws_the_same_from_generators_of_the_loop(kind: str) -> None:
    def trained(stops: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        net, data = nn.Linear(6, 1), list(X)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        generator = GENERATORS[kind]()

        def loop() -> None:
            for x in own.batches(data):
                if isinstance(generator, torch.Generator):
                    share = float(torch.rand((), generator=generator))
                elif isinstance(generator, np.random.RandomState):
                    share = generator.rand()
                else:
                    share = generator.random()
                optimizer.zero_grad()
                net(share * x).pow(2).mean().backward()
                optimizer.step()

        with nbd.watch(net, optimizer, runs=None) as own:
            if stops:
                own.break_when("step >= 7")
            own.run(loop)
            own.wait(60)
            if stops:
                assert own.history.status.step == 7
                own.clear_breakpoints()
                own.start()
                own.wait(60)
            assert not [one for one in own.history.notices if one.severity == "warning"]
        return [one.detach() for one in net.parameters()]

    assert all(map(torch.equal, trained(stops=True), trained(stops=False)))
