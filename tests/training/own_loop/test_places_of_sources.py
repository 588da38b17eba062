"""Sources that keep their place outside of themselves: looks at the loop move neither.

What reading has moved stays, and what the body of the loop moves in a look goes back.
"""

from __future__ import annotations

import collections
import heapq
import io
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd

X = torch.randn(80, 6, generator=torch.Generator().manual_seed(3))
PARTS = list(enumerate(X.split(8)))
PLACE = {"at": 0}
EPOCHS, AGAIN = 2, (1, 4, 9)
Put = Callable[[Any], Any]
Made = tuple[Iterable[Any], Put | None, Callable[[], Any]]


class Windows:
    """Keeps its place in an attribute."""

    def __init__(self) -> None:
        self.at = 0

    def before(self) -> Iterator[Any]:
        while self.at < len(PARTS):
            self.at += 1
            yield PARTS[self.at - 1]

    def after(self) -> Iterator[Any]:
        while self.at < len(PARTS):
            yield PARTS[self.at]
            self.at += 1

    def read(self, _: int = 0) -> Any:
        self.at += 1
        return PARTS[self.at - 1] if self.at <= len(PARTS) else None


class Lines:
    """An iterator of one's own over a file, which cannot be copied, and what it has counted."""

    def __init__(self) -> None:
        self.file = io.TextIOWrapper(io.BytesIO("\n".join(map(str, range(10))).encode()))
        self.at = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        number = int(next(self.file))
        self.at += 1
        return number, PARTS[number][1] + 0.01 * self.at


def windows(kind: str) -> Made:
    held = Windows()
    source = {
        "before": held.before,
        "after": held.after,
        "map": lambda: map(held.read, range(10)),
        "call": lambda: iter(held.read, None),
    }[kind]()
    return source, None, lambda: held.at


def in_a_global() -> Made:
    PLACE["at"] = 0

    def read() -> Iterator[Any]:
        while PLACE["at"] < len(PARTS):
            PLACE["at"] += 1
            yield PARTS[PLACE["at"] - 1]

    return read(), None, lambda: PLACE["at"]


def in_a_cell() -> Made:
    at = 0

    def read() -> Iterator[Any]:
        nonlocal at
        while at < len(PARTS):
            at += 1
            yield PARTS[at - 1]

    return read(), None, lambda: at


def in_a_file() -> Made:
    held = Lines()
    return held, None, lambda: held.at


def of_lines() -> Made:
    """A generator over a file that others hold, too."""
    file, seen = io.StringIO("\n".join(map(str, range(10)))), collections.Counter[int]()

    def read() -> Iterator[Any]:
        while line := file.readline():
            seen[int(line)] += 1
            yield PARTS[int(line)]

    return read(), None, lambda: (file.tell(), dict(seen))


def on_a_deque(first: bool) -> Made:
    held = collections.deque(PARTS)
    if first:
        return iter(lambda: held.popleft() if held else None, None), held.append, lambda: len(held)

    def read() -> Iterator[Any]:
        while held:
            yield held.popleft()

    return read(), held.append, lambda: len(held)


def on_a_list() -> Made:
    held = list(PARTS)
    return iter(lambda: held.pop(0) if held else None, None), held.append, lambda: len(held)


def on_a_heap() -> Made:
    held = list(PARTS)
    source = iter(lambda: heapq.heappop(held) if held else None, None)
    return source, lambda part: heapq.heappush(held, part), lambda: len(held)


def on_a_queue(kind: type[queue.Queue[Any]]) -> Made:
    held = kind()
    for part in PARTS:
        held.put(part)
    source = iter(lambda: held.get() if not held.empty() else None, None)
    return source, held.put, lambda: (held.qsize(), held.unfinished_tasks)


def from_a_thread(size: int) -> Made:
    """A queue that another thread goes on filling while training waits."""
    held = queue.Queue[Any](size)

    def fill() -> None:
        for part in PARTS:
            held.put(part)
        held.put(None)

    threading.Thread(target=fill, daemon=True).start()
    return iter(held.get, None), None, held.qsize


SOURCES: dict[str, Callable[[], Made]] = {
    "an attribute, before": lambda: windows("before"),
    "an attribute, after": lambda: windows("after"),
    "an attribute, map": lambda: windows("map"),
    "an attribute, a call": lambda: windows("call"),
    "a global": in_a_global,
    "a cell": in_a_cell,
    "a file": in_a_file,
    "a file of others": of_lines,
    "a deque": lambda: on_a_deque(True),
    "a deque, a generator": lambda: on_a_deque(False),
    "a list": on_a_list,
    "a heap": on_a_heap,
    "a queue": lambda: on_a_queue(queue.Queue),
    "a stack": lambda: on_a_queue(queue.LifoQueue),
    "a sorted queue": lambda: on_a_queue(queue.PriorityQueue),
    "a thread": lambda: from_a_thread(0),
    "a thread that waits": lambda: from_a_thread(2),
}
ACTS: dict[str, Callable[[Any], Any]] = {
    "a check": lambda dbg: dbg.check("shapes"),
    "all checks": lambda dbg: dbg.check(),
    "slow checks": lambda dbg: dbg.check(slow=True),
    "two checks": lambda dbg: (dbg.check("shapes"), dbg.check("loss_graph")),
    "a breakpoint": lambda dbg: None,
    "predictions": lambda dbg: dbg.predictions(),
    "a summary": lambda dbg: dbg.summary(),
    "the range of rates": lambda dbg: dbg.lr_range_test(),
    "worst samples": lambda dbg: dbg.worst_samples(),
    "a rewind": lambda dbg: dbg.rewind(-2),
    "a fork": lambda dbg: dbg.fork(2, lr=[0.1]),
    "a replay": lambda dbg: dbg.replay(),
}


def trained(make: Callable[[], Made], act: Callable[[Any], Any] | None = None, at: int = 4) -> Any:
    """Losses, weights, and what source and loop have counted.

    Args:
        act: done at a step; refused or not.
    """
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    losses, numbers, counted = list[float](), list[int](), list[Any]()

    def loop(epochs: Any, batches: Any) -> None:
        for _ in epochs(EPOCHS):
            source, put, count = make()
            for number, x in batches(source):
                optimizer.zero_grad()
                loss = model(x).square().mean()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
                numbers.append(number)
                if put is not None and number in AGAIN:
                    put((number + 20, x + 0.1))
            scheduler.step()
            counted.append(count())

    if act is None:
        loop(range, iter)
    else:
        with nbd.watch(model, optimizer, runs=None) as dbg:
            dbg.break_when(f"step >= {at}")
            dbg.run(lambda: loop(dbg.epochs, dbg.batches))
            assert dbg.wait(60)
            dbg.clear_breakpoints()
            with suppress(nbd.NbdebugError):
                act(dbg)
            with pytest.raises(nbd.LoopLeft):
                dbg.run(steps=10_000)
    rates = [group["lr"] for group in optimizer.param_groups]
    return numbers, losses, counted, rates, [p.tolist() for p in model.parameters()]


@pytest.mark.parametrize("at", [4, 10, 13])
@pytest.mark.parametrize("name", SOURCES)
def test_a_look_neither_takes_nor_gives_a_batch(name: str, at: int) -> None:
    assert trained(SOURCES[name], ACTS["all checks"], at) == trained(SOURCES[name])


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("name", ["an attribute, before", "a file", "a queue", "a thread"])
def test_nothing_that_is_asked_for_moves_the_place_of_a_source(name: str, act: str) -> None:
    plain = trained(SOURCES[name])
    for at in (4, 10):
        assert trained(SOURCES[name], ACTS[act], at) == plain


def of_a_thread_on_the_way(losses: list[float], act: Callable[[Any], Any] | None) -> Any:
    """Numbers of batches and weights, where a thread puts some in the middle of a step or look."""
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    held, go, put = queue.Queue[Any](), threading.Event(), threading.Event()
    numbers = list[int]()

    def fill() -> None:
        for part in PARTS[:6]:
            held.put(part)
        go.wait(60)
        for part in PARTS[6:]:
            held.put(part)
        held.put(None)
        put.set()

    def loop(batches: Any) -> None:
        for number, x in batches(iter(held.get, None)):
            optimizer.zero_grad()
            if number == 4:
                go.set()
                put.wait(60)
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            numbers.append(number)

    threading.Thread(target=fill, daemon=True).start()
    if act is None:
        loop(iter)
    else:
        with nbd.watch(model, optimizer, runs=None) as dbg:
            dbg.break_when("step >= 4")
            dbg.run(lambda: loop(dbg.batches))
            assert dbg.wait(60)
            dbg.clear_breakpoints()
            act(dbg)
            with pytest.raises(nbd.LoopLeft):
                dbg.run(steps=10_000)
    return numbers, [p.tolist() for p in model.parameters()]


@pytest.mark.parametrize("act", ["a check", "all checks", "a breakpoint"])
def test_what_another_thread_puts_into_a_queue_stays_there(act: str) -> None:
    losses, plain = list[float](), list[float]()
    found = of_a_thread_on_the_way(losses, ACTS[act])
    assert found == of_a_thread_on_the_way(plain, None)
    assert losses == plain


def answered(act: Callable[[Any], Any] | None) -> Any:
    """Losses and notices of a loop whose body takes answers from another thread."""
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    asked, answers = queue.Queue[Any](), queue.Queue[Any]()
    losses = list[float]()

    def work() -> None:
        while (number := asked.get()) is not None:
            answers.put(1 + 0.1 * number)

    def loop(batches: Any) -> None:
        for number, x in batches(PARTS):
            asked.put(number)
            optimizer.zero_grad()
            loss = model(x * answers.get()).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

    threading.Thread(target=work, daemon=True).start()
    if act is None:
        loop(iter)
        told = ""
    else:
        with nbd.watch(model, optimizer, runs=None) as dbg:
            dbg.break_when("step >= 4")
            dbg.run(lambda: loop(dbg.batches))
            assert dbg.wait(60)
            dbg.clear_breakpoints()
            with suppress(nbd.NbdebugError):
                act(dbg)
            with pytest.raises(nbd.LoopLeft):
                dbg.run(steps=10_000)
            told = " ".join(notice.text for notice in dbg.history.notices)
    asked.put(None)
    return losses, told


@pytest.mark.parametrize("act", ["all checks", "a breakpoint", "a rewind"])
def test_a_queue_of_another_thread_is_refused_by_name(act: str) -> None:
    losses, told = answered(ACTS[act])
    assert losses == answered(None)[0]
    assert "a Queue of several threads, which cannot be put back" in told


def counted_by_method(act: Callable[[Any], Any] | None) -> list[int]:
    """Numbers of batches of a loop that knows of its source only how to add to it."""
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    numbers = list[int]()

    def made() -> Made:
        held = collections.deque(PARTS)
        return iter(lambda: held.popleft() if held else None, None), held.append, int

    source, put, _ = made()
    assert put is not None

    def loop(batches: Any) -> None:
        for number, x in batches(source):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
            numbers.append(number)
            if number in AGAIN:
                put((number + 20, x + 0.1))

    if act is None:
        loop(iter)
        return numbers
    with nbd.watch(model, optimizer, runs=None) as dbg:
        dbg.break_when("step >= 4")
        dbg.run(lambda: loop(dbg.batches))
        assert dbg.wait(60)
        dbg.clear_breakpoints()
        act(dbg)
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=10_000)
    return numbers


@pytest.mark.parametrize("act", ["all checks", "a breakpoint"])
def test_what_is_reached_by_a_method_alone_goes_back(act: str) -> None:
    assert counted_by_method(ACTS[act]) == counted_by_method(None)
