"""Streams that keep their place in something that the steps reach, too."""

import heapq
import itertools
import random
import types
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

import nbdebug as nbd
from tests.draw import crossed, some

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
        assert (trainer.counted, trainer.position) == (12, 13)
        dbg.rewind(5)
        # The next batch is read behind a step, so that its end of the pass is known.
        assert (trainer.counted, trainer.position) == (5, 6)


# Streams that steps steer


class Steered:
    """A stream, a step, and what they share."""

    def __init__(self) -> None:
        self.net, self.log = nn.Linear(4, 1), list[Any]()

    def loss(self, batch: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = (self.net(batch) - batch.sum(1, keepdim=True)).square().mean()
        return loss

    def stream(self) -> Iterator[torch.Tensor]:
        raise NotImplementedError

    def step(self, batch: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class Curriculum(Steered):
    """Batches that get harder as the loss falls."""

    def __init__(self) -> None:
        super().__init__()
        self.level, self.at = 1.0, 0

    def stream(self) -> Iterator[torch.Tensor]:
        while True:
            self.at += 1
            yield self.level * BATCHES[self.at % len(BATCHES)]

    def step(self, batch: torch.Tensor) -> torch.Tensor:
        loss = self.loss(batch)
        self.level = 1 + 1 / (1 + loss.item())
        return loss


class Priorities(Steered):
    """Batches drawn by their last losses, with a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weights, self.random, self.now = [1.0] * len(BATCHES), random.Random(0), 0

    def stream(self) -> Iterator[torch.Tensor]:
        while True:
            self.now = self.random.choices(range(len(BATCHES)), self.weights)[0]
            yield BATCHES[self.now]

    def step(self, batch: torch.Tensor) -> torch.Tensor:
        loss = self.loss(batch)
        self.weights[self.now] = loss.item() + 0.01
        self.log.append(self.now)
        return loss


class HardOnes(Steered):
    """Batches of a large loss come again, from a heap that a step fills."""

    def __init__(self) -> None:
        super().__init__()
        self.heap = list[tuple[float, int]]()
        self.at = self.now = 0

    def stream(self) -> Iterator[torch.Tensor]:
        while True:
            if len(self.heap) > 3:
                self.now = heapq.heappop(self.heap)[1]
            else:
                self.now, self.at = self.at % len(BATCHES), self.at + 1
            yield BATCHES[self.now]

    def step(self, batch: torch.Tensor) -> torch.Tensor:
        loss = self.loss(batch)
        if loss.item() > 1:
            heapq.heappush(self.heap, (-loss.item(), self.now))
        return loss


class Buffer(Steered):
    """A buffer of samples that the policy itself collects."""

    def stream(self) -> Iterator[torch.Tensor]:
        state = torch.ones(1, 4)
        while True:
            with torch.no_grad():
                rows = []
                for _ in range(8):
                    state = torch.tanh(0.5 * state + self.net(state))
                    rows.append(state)
            yield torch.cat(rows)

    def step(self, batch: torch.Tensor) -> torch.Tensor:
        return self.loss(batch)


STEERED: dict[str, type[Steered]] = {
    "a curriculum": Curriculum, "priorities": Priorities, "hard ones": HardOnes, "a policy": Buffer
}  # fmt: skip


def made(kind: type[Steered]) -> tuple[Steered, torch.optim.Optimizer]:
    torch.manual_seed(1)
    steered = kind()
    return steered, torch.optim.SGD(steered.net.parameters(), lr=0.02)


def bare(kind: type[Steered]) -> tuple[list[float], torch.Tensor, list[Any]]:
    steered, optimizer = made(kind)
    losses = []
    for batch in itertools.islice(steered.stream(), 30):
        loss = steered.step(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, steered.net.weight.detach(), steered.log


@pytest.mark.soak
@pytest.mark.parametrize(("kind", "verb"), crossed(STEERED, ["none", *VERBS]))
def test_a_stream_that_steps_steer_is_read_as_in_a_bare_loop(kind: str, verb: str) -> None:
    steered, optimizer = made(STEERED[kind])
    with nbd.Debugger(
        steered.net, steered.stream(), step_fn=lambda _, batch: steered.step(batch),
        optimizer=optimizer, runs=None,
    ) as dbg:  # fmt: skip
        dbg.run(steps=12)
        if verb != "none":
            with suppress(nbd.NbdebugError):
                VERBS[verb](dbg)
        dbg.run(steps=30 - dbg.history.status.step)
        losses = dbg.history.frame("loss")["loss"].tolist()
        told = [one.title for one in dbg.history.notices]
    expected = bare(STEERED[kind])
    if "The range test has read the next batches" in told:
        assert verb == "a range test"
        assert losses[:12] == expected[0][:12]
        return
    assert losses == expected[0]
    assert torch.equal(steered.net.weight, expected[1])
    assert steered.log == expected[2]


def test_training_goes_on_from_a_file_with_the_next_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def begin() -> tuple[Trainer, dict[str, Any], list[float]]:
        torch.manual_seed(1)
        trainer, given, net = Trainer(), list[float](), nn.Linear(4, 1)

        def step_fn(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
            trainer.count()
            given.append(batch.sum().item())
            loss: torch.Tensor = model(batch).square().mean()
            return loss

        setup = {
            "model": net, "train_data": trainer.batches(), "step_fn": step_fn, "runs": None,
            "optimizer": torch.optim.SGD(net.parameters(), lr=0.05),
        }  # fmt: skip
        return trainer, setup, given

    _, setup, _ = begin()
    with nbd.Debugger(**setup, name="placed") as dbg:
        dbg.run(steps=13)
    trainer, setup, given = begin()
    with nbd.Debugger.resume("placed", **setup) as dbg:
        given.clear()
        dbg.run(steps=5)
    assert given[-5:] == [one.sum().item() for one in BATCHES[13:18]]
    assert trainer.counted == 18


def by_weights(verb: str | None) -> tuple[list[float], torch.Tensor]:
    """Losses and weights of a training whose batch sampler draws by what steps have found."""
    torch.manual_seed(1)
    net, weights = nn.Linear(4, 1), torch.ones(len(DATA))
    optimizer, losses = torch.optim.SGD(net.parameters(), lr=0.02), list[float]()

    class Weighted(Sampler[list[int]]):
        def __iter__(self) -> Iterator[list[int]]:
            numbers = torch.Generator().manual_seed(0)
            for _ in range(30):
                yield torch.multinomial(weights, 8, generator=numbers).tolist()

    data: Any = TensorDataset(DATA, torch.arange(len(DATA)))
    loader = DataLoader(data, batch_sampler=Weighted())

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        errors = (model(batch[0]) - batch[0].sum(1, keepdim=True)).square()
        weights[batch[1]] = errors.detach()[:, 0] + 0.01
        return errors.mean()

    if verb is None:
        for batch in loader:
            loss = step(net, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses, weights
    with nbd.Debugger(net, loader, step_fn=step, optimizer=optimizer, runs=None) as dbg:
        dbg.run(steps=12)
        with suppress(nbd.NbdebugError):
            VERBS[verb](dbg)
        dbg.run(steps=30 - dbg.history.status.step)
        return dbg.history.frame("loss")["loss"].tolist(), weights


@pytest.mark.soak
@pytest.mark.parametrize("verb", some([one for one in VERBS if one != "a range test"]))
def test_a_batch_sampler_that_steps_steer_is_read_as_in_a_bare_loop(verb: str) -> None:
    (losses, weights), expected = by_weights(verb), by_weights(None)
    assert losses == expected[0]
    assert torch.equal(weights, expected[1])


def test_a_range_test_over_a_steered_batch_sampler_says_that_it_read_on() -> None:
    weights = torch.ones(len(DATA))

    class Weighted(Sampler[list[int]]):
        def __iter__(self) -> Iterator[list[int]]:
            for _ in range(60):
                yield torch.multinomial(weights, 8).tolist()

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        errors = model(batch[0]).square()
        weights[batch[1]] = errors.detach()[:, 0] + 0.01
        return errors.mean()

    data: Any = TensorDataset(DATA, torch.arange(len(DATA)))
    loader = DataLoader(data, batch_sampler=Weighted())
    with nbd.Debugger(nn.Linear(4, 1), loader, step_fn=step, runs=None) as dbg:
        dbg.run(steps=3)
        dbg.lr_range_test()
        told = [one.title for one in dbg.history.notices]
    assert "The range test has read the next batches" in told
