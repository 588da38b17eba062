"""Streams that keep their place in something that the steps reach, too."""

import itertools
import types
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from tests.draw import crossed

torch.manual_seed(0)
DATA = torch.randn(320, 4)
BATCHES = DATA.split(8)
# A stream, a function that reads its place as a step does, and sets what steps count.
Made = tuple[Any, Callable[[], Any]]
POSITION = 0


class Trainer:
    def __init__(self) -> None:
        self.position, self.counted = 0, 0

    def batches(self) -> Iterator[torch.Tensor]:
        while self.position < len(BATCHES):
            self.position += 1
            yield BATCHES[self.position - 1]

    def count(self) -> Any:
        self.counted += 1
        return self.position


class Reader(Trainer):
    """An iterator whose class has the step, too."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        return self

    def __next__(self) -> torch.Tensor:
        if self.position == len(BATCHES):
            raise StopIteration
        self.position += 1
        return BATCHES[self.position - 1]


@dataclass
class Place:
    at: int = 0


def attribute() -> Made:
    trainer = Trainer()
    return trainer.batches(), trainer.count


def iterator() -> Made:
    reader = Reader()
    return reader, reader.count


def mapped() -> Made:
    trainer = Trainer()
    return map(torch.clone, trainer.batches()), trainer.count


def sliced() -> Made:
    trainer = Trainer()
    return itertools.islice(trainer.batches(), 1000), trainer.count


def item() -> Made:
    place = [0]

    def batches() -> Iterator[torch.Tensor]:
        while place[0] < len(BATCHES):
            place[0] += 1
            yield BATCHES[place[0] - 1]

    return batches(), lambda: place[0]


def entry() -> Made:
    place = {"at": 0, "counted": 0}

    def batches() -> Iterator[torch.Tensor]:
        while place["at"] < len(BATCHES):
            place["at"] += 1
            yield BATCHES[place["at"] - 1]

    return batches(), lambda: place["at"]


def waiting() -> Made:
    numbers = deque(range(len(BATCHES)))

    def batches() -> Iterator[torch.Tensor]:
        while numbers:
            yield BATCHES[numbers.popleft()]

    return batches(), lambda: len(numbers)


def variable() -> Made:
    at = 0

    def batches() -> Iterator[torch.Tensor]:
        nonlocal at
        while at < len(BATCHES):
            at += 1
            yield BATCHES[at - 1]

    return batches(), lambda: at


def global_variable() -> Made:
    global POSITION
    POSITION = 0

    def batches() -> Iterator[torch.Tensor]:
        global POSITION
        while len(BATCHES) > POSITION:
            POSITION += 1
            yield BATCHES[POSITION - 1]

    return batches(), lambda: POSITION


def nested() -> Made:
    place = types.SimpleNamespace(inner=Place())

    def batches() -> Iterator[torch.Tensor]:
        while place.inner.at < len(BATCHES):
            place.inner.at += 1
            yield BATCHES[place.inner.at - 1]

    return batches(), lambda: place.inner.at


def of_class() -> Made:
    class Held:
        at = 0

    def batches() -> Iterator[torch.Tensor]:
        while Held.at < len(BATCHES):
            Held.at += 1
            yield BATCHES[Held.at - 1]

    return batches(), lambda: Held.at


KINDS = {
    "an attribute": attribute, "an iterator": iterator, "map": mapped, "islice": sliced,
    "an item of a list": item, "an entry of a dict": entry, "a deque": waiting,
    "a variable": variable, "a global variable": global_variable, "an object inside": nested,
    "an attribute of a class": of_class,
}  # fmt: skip
VERBS: dict[str, Callable[[nbd.Debugger], Any]] = {
    "check": lambda dbg: dbg.check(), "rewind": lambda dbg: dbg.rewind(6),
    "fork": lambda dbg: dbg.fork(steps=5, lr=0.1), "replay": lambda dbg: dbg.replay(),
    "worst samples": lambda dbg: dbg.worst_samples(), "summary": lambda dbg: dbg.summary(),
    "a range test": lambda dbg: dbg.lr_range_test(),
}  # fmt: skip


def trained(make: Callable[[], Made], verb: Callable[[nbd.Debugger], Any]) -> Any:
    """Weights and record of a training over all batches, with a verb in between."""
    torch.manual_seed(1)
    stream, place = make()
    net = nn.Linear(4, 1)

    def step_fn(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        place()
        loss: torch.Tensor = model(batch).square().mean()
        return loss

    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    with nbd.Debugger(net, stream, step_fn=step_fn, optimizer=optimizer, runs=None) as dbg:
        dbg.run(steps=12)
        try:
            verb(dbg)
        except nbd.NbdebugError:
            # Refused in words, and nothing moved.
            assert dbg.history.status.step == 12
        with pytest.raises(nbd.DataError, match="ended after one pass"):
            dbg.run(steps=100)
        losses = dbg.history.frame("loss")["loss"].tolist()
        return losses, net.weight.detach().clone(), place()


@pytest.mark.soak
@pytest.mark.parametrize(("kind", "verb"), crossed(KINDS, list(VERBS)))
def test_each_batch_is_given_once(kind: str, verb: str) -> None:
    alone, verbed = (trained(KINDS[kind], act) for act in (lambda _: None, VERBS[verb]))
    assert len(alone[0]) == len(verbed[0]) == len(BATCHES)
    assert alone[0] == verbed[0]
    assert torch.equal(alone[1], verbed[1])
    assert alone[2] == verbed[2]


def test_the_losses_are_those_of_a_bare_loop() -> None:
    torch.manual_seed(1)
    net, losses = nn.Linear(4, 1), []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for batch in BATCHES:
        loss = net(batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    found, weight, _ = trained(attribute, VERBS["rewind"])
    assert found == losses
    assert torch.equal(weight, net.weight)


def test_what_steps_count_goes_back() -> None:
    trainer = Trainer()
    net = nn.Linear(4, 1)

    def step_fn(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        trainer.count()
        loss: torch.Tensor = model(batch).square().mean()
        return loss

    with nbd.Debugger(net, trainer.batches(), step_fn=step_fn, runs=None) as dbg:
        dbg.run(steps=12)
        place = trainer.position
        dbg.rewind(5)
        assert trainer.counted == 5
        assert trainer.position >= place
