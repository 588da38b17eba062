"""Streams, batch samplers and endless samplers go on after a restart, to the bit."""

from __future__ import annotations

import io
import itertools
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    TensorDataset,
    get_worker_info,
)

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.training.data.passes import pass_reader
from nbdebug.training.data.samplers import (
    fitting_position,
    make_batching,
    make_sampler,
    portable_position,
    prepare_resume,
)
from nbdebug.training.data.sources import as_source
from nbdebug.training.timeline.disk.records import decoded, encoded
from tests.draw import crossed
from tests.training.timeline.timelines import N, Stream, X, Y, equal, state


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


LENGTHS = torch.randint(1, 9, (N,), generator=torch.Generator().manual_seed(2)).tolist()
Draw = Callable[[list[Any]], None]


class Buckets(Sampler[list[int]]):
    """Batches of samples of similar length; buckets and batches are shuffled in place."""

    def __init__(self, shuffle: Draw = random.shuffle, rng: Any = None) -> None:
        by_length: dict[int, list[int]] = {}
        for index, length in enumerate(LENGTHS):
            by_length.setdefault(length // 3, []).append(index)
        self.buckets, self.shuffle, self.rng, self.epoch = by_length, shuffle, rng, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def _shuffle(self, values: list[Any]) -> None:
        if isinstance(self.rng, torch.Generator):
            order = torch.randperm(len(values), generator=self.rng).tolist()
            values[:] = [values[place] for place in order]
        elif self.rng is not None:
            self.rng.shuffle(values)
        else:
            self.shuffle(values)

    def __iter__(self) -> Iterator[list[int]]:
        batches = []
        for bucket in self.buckets.values():
            self._shuffle(bucket)
            batches += [bucket[i : i + 12] for i in range(0, len(bucket), 12)]
        self._shuffle(batches)
        for batch in batches:
            yield [*batch[self.epoch % 2 :], batch[0]]


class Wide(Sampler[int]):
    """Ten billion indices, of which nobody makes a list."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(4)

    def __iter__(self) -> Iterator[int]:
        while True:
            yield int(self.rng.integers(10**10))

    def __len__(self) -> int:
        return 10**10


class Huge(Dataset[Any]):
    def __len__(self) -> int:
        return 10**10

    def __getitem__(self, index: int) -> Any:
        return X[index % N] + torch.randn(6) * 0.01, Y[index % N]


class Walk(Sampler[int]):
    """An iterator that goes on from pass to pass."""

    def __init__(self) -> None:
        self.steps = itertools.count(5, 7)

    def __iter__(self) -> Iterator[int]:
        for _ in range(random.randint(30, 60)):
            yield next(self.steps) % N


class Rows(IterableDataset[Any]):
    """A finite stream, drawn by `draw`, which gives an index or a float."""

    def __init__(self, draw: Callable[[], float], length: int = 50) -> None:
        self.draw, self.length = draw, length

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        for _ in range(self.length // (1 if worker is None else worker.num_workers)):
            index = int(self.draw() * N) % N
            yield X[index], Y[index]


class Ready(Rows):
    """A stream of ready batches."""

    def __iter__(self) -> Iterator[Any]:
        for inputs, target in super().__iter__():
            yield inputs.repeat(3, 1), target.repeat(3)


class Own(IterableDataset[Any]):
    """A stream with a generator of its own, whose shards are shuffled in place each pass."""

    def __init__(self, rng: Any) -> None:
        self.rng, self.shards = rng, [f"part-{n}" for n in range(8)]

    def __iter__(self) -> Iterator[Any]:
        self.rng.shuffle(self.shards)
        for shard in self.shards:
            start = int(shard[5:]) * 12
            for index in range(start, start + 7):
                yield X[index] + self.rng.random(), Y[index]


class Buffer(IterableDataset[Any]):
    """A buffer that shuffles another stream."""

    def __init__(self, source: IterableDataset[Any], size: int = 20) -> None:
        self.source, self.size = source, size

    def __iter__(self) -> Iterator[Any]:
        waiting: list[Any] = []
        for sample in self.source:
            waiting.append(sample)
            if len(waiting) > self.size:
                yield waiting.pop(random.randrange(len(waiting)))
        random.shuffle(waiting)
        yield from waiting


class Counting(IterableDataset[Any]):
    """A state dict, and an order that is another one in each pass."""

    def __init__(self, honest: bool = True) -> None:
        self.place, self.passes, self.honest = 0, 0, honest

    def __iter__(self) -> Iterator[Any]:
        while self.place < 60:
            self.place += 1
            index = (self.place * (2 * self.passes + 1)) % N
            yield X[index] * (1 + torch.rand(())), Y[index]
        self.place, self.passes = 0, self.passes + 1

    def state_dict(self) -> dict[str, Any]:
        return {"place": self.place, "passes": [self.passes]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.honest:
            self.place, (self.passes,) = state["place"], state["passes"]
        else:
            self.place = 3


class Stage:
    """A stage of a pipeline, with a generator of its own and a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.rng, self.given = function, random.Random(3), 0

    def __call__(self, source: Iterator[Any]) -> Iterator[Any]:
        for sample in source:
            self.given += 1
            yield self.function(sample, self.rng, self.given)


class Pipeline(IterableDataset[Any]):
    """Shards, stages and a buffer, one after another."""

    def __init__(self) -> None:
        self.shards = [list(range(start, start + 16)) for start in range(0, N, 16)]
        self.stages = [Stage(lambda i, rng, n: i), Stage(lambda i, rng, n: _noisy(i, rng, n))]
        self.rng = random.Random(8)

    def __iter__(self) -> Iterator[Any]:
        self.rng.shuffle(self.shards)
        source: Iterator[Any] = itertools.chain.from_iterable(self.shards)
        for stage in self.stages:
            source = stage(source)
        return source


def _noisy(index: int, rng: random.Random, given: int) -> Any:
    return X[index] * rng.random() + 0.001 * given, Y[index]


class Cursor(IterableDataset[Any]):
    """An iterator of itself."""

    def __init__(self) -> None:
        self.given = self.place = 0

    def __iter__(self) -> Iterator[Any]:
        self.place = 0
        return self

    def __next__(self) -> Any:
        if self.place == 40:
            raise StopIteration
        self.place, self.given = self.place + 1, self.given + 1
        return X[(self.given * 5) % N], Y[(self.given * 5) % N]


class Batches:
    """Ready batches of a class that is none of torch."""

    def __init__(self) -> None:
        self.rng = torch.Generator().manual_seed(3)

    def __iter__(self) -> Iterator[Any]:
        for _ in range(7):
            rows = torch.randint(0, N, (9,), generator=self.rng)
            yield X[rows], Y[rows]


class OwnIter(DataLoader[Any]):
    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for inputs, targets in super().__iter__():
            yield inputs * (1 + torch.rand(())), targets


def ready(rng: Any) -> Iterator[Any]:
    while True:
        rows = torch.from_numpy(rng.integers(0, N, 9))
        yield X[rows] + torch.randn(()), Y[rows]


def outside() -> Any:
    """A stream whose function draws from a generator outside."""
    rng = np.random.default_rng(6)
    return Rows(lambda: float(rng.random()))


def batches(sampler: Any, **options: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(X, Y), batch_sampler=sampler, **options)


def stream(data: IterableDataset[Any], **options: Any) -> DataLoader[Any]:
    return DataLoader(data, batch_size=8, **options)


def torch_generator() -> torch.Generator:
    return torch.Generator().manual_seed(11)


KINDS: dict[str, Callable[[], Any]] = {
    "buckets, global": lambda: batches(Buckets()),
    "buckets, python": lambda: batches(Buckets(rng=random.Random(1))),
    "buckets, numpy": lambda: batches(Buckets(rng=np.random.default_rng(1))),
    "buckets, torch": lambda: batches(Buckets(rng=torch_generator())),
    "batches of a sampler": lambda: batches(
        type("Own", (BatchSampler,), {})(
            RandomSampler(range(N), generator=torch_generator()), 9, False
        )
    ),
    "wide": lambda: DataLoader(Huge(), batch_size=8, sampler=Wide()),
    "walk": lambda: DataLoader(TensorDataset(X, Y), batch_size=8, sampler=Walk()),
    "endless, own generator": Stream,
    "rows, python": lambda: stream(Rows(random.random)),
    "rows, numpy": lambda: stream(Rows(np.random.rand)),
    "rows, torch": lambda: Rows(lambda: float(torch.rand(()))),
    "rows, outside": outside,
    "rows, last dropped": lambda: stream(Rows(random.random), drop_last=True),
    "own, python": lambda: stream(Own(random.Random(5))),
    "own, numpy": lambda: stream(Own(np.random.default_rng(5))),
    "own, numpy, old": lambda: stream(Own(np.random.RandomState(5))),
    "buffer": lambda: stream(Buffer(Own(random.Random(5)))),
    "buffers": lambda: stream(Buffer(Buffer(Rows(np.random.rand)), 7)),
    "state dict": lambda: stream(Counting()),
    "state dict that misleads": lambda: stream(Counting(honest=False)),
    "pipeline": lambda: stream(Pipeline()),
    "cursor": lambda: stream(Cursor()),
    "ready, endless": lambda: ready(np.random.default_rng(2)),
    "ready": Batches,
    "ready, loader": lambda: DataLoader(Ready(random.random), batch_size=None),
    "own iter": lambda: OwnIter(TensorDataset(X, Y), batch_size=8, shuffle=True),
    "own iter, generator": lambda: OwnIter(
        TensorDataset(X, Y), batch_size=8, shuffle=True, generator=torch_generator()
    ),
}
WORKERS: dict[str, Callable[[], Any]] = {
    "buckets": lambda: batches(Buckets(rng=random.Random(1)), num_workers=2),
    "stream": lambda: stream(Own(np.random.default_rng(5)), num_workers=2),
    "stream, alive": lambda: stream(Own(random.Random(5)), num_workers=1, persistent_workers=True),
    "stream, global": lambda: stream(Rows(np.random.rand), num_workers=2),
}


def small() -> nn.Sequential:
    """A network that takes batches of one sample."""
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


def open_(data: Any, name: str | None = "n") -> nbd.Debugger:
    torch.manual_seed(1)
    options: dict[str, Any] = {"overhead": 0.0, "runs": None, "name": name}
    return nbd.Debugger(small(), data, nn.CrossEntropyLoss(), **options)


def resume(data: Any) -> nbd.Debugger:
    return nbd.Debugger.resume("n", small(), data, nn.CrossEntropyLoss(), overhead=0.0, runs=None)


def check(kind: Callable[[], Any], *stops: int, steps: int = 30) -> None:
    """Train with restarts at some steps, and compare with a training without any."""
    with open_(kind(), None) as straight:
        straight.run(steps=steps)
        wanted = state(straight)
    with open_(kind()) as dbg:
        assert not [n for n in dbg.history.notices if n.title == "No checkpoint on disk"]
        dbg.run(steps=stops[0]) if stops[0] else dbg.timeline.save()
    for here, there in itertools.pairwise([*stops, steps]):
        with resume(kind()) as dbg:
            assert dbg.history.status.step == here
            dbg.run(steps=there - here)
            last = there == steps
            if last:
                assert equal(state(dbg), wanted)
                assert dbg.replay().equal
                dbg.rewind(here + 1)
                dbg.run(steps=steps - here - 1)
                assert equal(state(dbg), wanted)
                dbg.reset()
                dbg.run(steps=steps - here)
                assert equal(state(dbg), wanted)


TRAINED = ["buckets, global", "wide", "endless, own generator", "own, numpy", "ready, endless"]


@pytest.mark.parametrize("kind", TRAINED)
def test_training_on_an_order_that_is_read_bit_by_bit_goes_on(kind: str) -> None:
    check(KINDS[kind], 3, 17)


@pytest.mark.slow
@pytest.mark.parametrize("kind", WORKERS)
def test_it_goes_on_with_workers(kind: str) -> None:
    check(WORKERS[kind], 3, 12, steps=20)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 0), (2, 1)])
def test_workers_of_a_batch_sampler_may_come_and_go(before: int, after: int) -> None:
    with open_(WORKERS["buckets"](), None) as straight:
        straight.run(steps=20)
        wanted = state(straight)
    with open_(batches(Buckets(rng=random.Random(1)), num_workers=before)) as dbg:
        dbg.run(steps=11)
    with resume(batches(Buckets(rng=random.Random(1)), num_workers=after)) as dbg:
        dbg.run(steps=9)
        assert equal(state(dbg), wanted)


def sampler_of(data: Any) -> Any:
    source = as_source(data, torch.float32)
    made = make_sampler(source, data, make_batching(source, data, None), seed=3)
    assert prepare_resume(made) == ""
    return made


def draw(sampler: Any, count: int) -> list[Any]:
    """Batches, without their numbers of samples."""
    found = [sampler.next() for _ in range(count)]
    return [(*batch.data, batch.epoch, batch.progress) for batch in found]


def in_a_new_process(position: Any, before: Any, after: Any) -> Any:
    """A position as it comes out of a file."""
    file = io.BytesIO()
    torch.save(encoded(portable_position(position, before)), file)
    file.seek(0)
    return fitting_position(decoded(torch.load(file, weights_only=True)), after)


def goes_on(kind: Callable[[], Any], *stops: int, steps: int = 40) -> None:
    """Read on in a new sampler after some batches, and compare with a sampler that reads all."""
    wanted, sampler = draw(sampler_of(kind()), steps), sampler_of(kind())
    found: list[Any] = []
    for stop in stops:
        found += draw(sampler, stop - len(found))
        here = sampler.position()
        # The place is behind what was read already.
        draw(sampler, 3)
        other = sampler_of(kind())
        other.seek(in_a_new_process(here, sampler, other))
        sampler = other
    begun = sampler.position()
    found += draw(sampler, steps - len(found))
    assert bitwise_equal(found, wanted)
    sampler.seek(begun)
    assert bitwise_equal(draw(sampler, steps - stops[-1]), wanted[stops[-1] :])


@pytest.mark.soak
@pytest.mark.parametrize(
    ("kind", "stops"), crossed(KINDS, [(0,), (1,), (6, 7, 8), (3, 14, 25)]), ids=str
)
def test_the_same_batches_follow(kind: str, stops: tuple[int, ...]) -> None:
    goes_on(KINDS[kind], *stops)


@pytest.mark.parametrize("kind", ["state dict", "state dict that misleads", "buffer", "pipeline"])
def test_a_state_dict_is_used_where_it_leads_to_the_same_items(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pass_reader, "STATE_SECONDS", 0.0)
    goes_on(KINDS[kind], 3, 14, 25)


def test_with_a_state_dict_a_stream_is_not_read_from_its_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pass_reader, "STATE_SECONDS", 0.0)
    sampler, data = sampler_of(Counting()), Counting()
    draw(sampler, 1)
    other = sampler_of(data)
    began: list[int] = []
    monkeypatch.setattr(Counting, "__iter__", _telling(Counting.__iter__, began))
    other.seek(in_a_new_process(sampler.position(), sampler, other))
    assert began[0] > 50


def _telling(begin: Callable[[Any], Any], began: list[int]) -> Callable[[Any], Any]:
    def told(self: Any) -> Any:
        began.append(self.place)
        return begin(self)

    return told


GIVEN = (number for number in itertools.count())


class Outside(IterableDataset[Any]):
    """Draws from elsewhere, which nobody sees."""

    def __iter__(self) -> Iterator[Any]:
        for index in range(50):
            yield X[index] + next(GIVEN), Y[index]


CHANGED: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "another seed": (
        lambda: batches(Buckets(shuffle=random.Random(1).shuffle)),
        lambda: batches(Buckets(shuffle=sorted)),
    ),
    "another buffer": (
        lambda: stream(Buffer(Rows(np.random.rand), 7)),
        lambda: Buffer(Rows(np.random.rand), 8),
    ),
    "another class": (KINDS["own, python"], KINDS["pipeline"]),
    "another kind of generator": (KINDS["own, python"], KINDS["own, numpy, old"]),
    "other files": (KINDS["own, python"], lambda: stream(OtherFiles(random.Random(5)))),
    "a shorter stream": (
        lambda: Rows(random.random),
        lambda: Rows(random.random, 20),
    ),
    "no stream any more": (KINDS["own, python"], KINDS["buckets, global"]),
    "a stream now": (KINDS["buckets, global"], KINDS["own, python"]),
    "draws from elsewhere": (Outside, Outside),
}


class OtherFiles(Own):
    """The same names in another folder."""

    def __init__(self, rng: Any) -> None:
        super().__init__(rng)
        self.shards = [f"copy/{shard}" for shard in self.shards]

    def __iter__(self) -> Iterator[Any]:
        for shard in self.shards:
            yield X[len(shard)], Y[len(shard)]


@pytest.mark.parametrize("change", CHANGED)
def test_another_order_is_refused_and_nothing_was_changed(change: str) -> None:
    first, then = CHANGED[change]
    sampler, other = sampler_of(first()), sampler_of(then())
    draw(sampler, 5)
    start = other.position()
    with pytest.raises(nbd.NbdebugError, match=r"order|checkpoint|stream"):
        other.seek(in_a_new_process(sampler.position(), sampler, other))
    other.seek(start)
    if change != "draws from elsewhere":
        assert bitwise_equal(draw(other, 12), draw(sampler_of(then()), 12))


class Unseeded(IterableDataset[Any]):
    """A generator without a seed, made as a pass begins."""

    def __init__(self) -> None:
        self.seeded = np.random.default_rng()

    def __iter__(self) -> Iterator[Any]:
        for _ in range(20):
            index = self.helper() % N
            yield X[index], Y[index]

    def helper(self) -> int:
        return self.numpy()

    def numpy(self) -> int:
        return int(np.random.default_rng().integers(N))


class OfThePython(Unseeded):
    def __iter__(self) -> Iterator[Any]:
        order = random.Random()
        yield from ((X[i], Y[i]) for i in order.sample(range(N), 20))


class OfTheSystem(Unseeded):
    def __iter__(self) -> Iterator[Any]:
        yield from ((X[i % N], Y[i % N]) for i in os.urandom(20))


class ShuffledByTheSystem(Buckets):
    def __init__(self) -> None:
        super().__init__()

    def __iter__(self) -> Iterator[list[int]]:
        found = list(super().__iter__())
        random.SystemRandom().shuffle(found)
        yield from found


def unseeded() -> Iterator[Any]:
    rng = np.random.default_rng()
    while True:
        yield X[rng.integers(0, N, 4)], Y[:4]


NEVER: dict[str, Callable[[], Any]] = {
    "in a helper": lambda: Unseeded(),
    "python": lambda: stream(OfThePython()),
    "system": lambda: stream(Buffer(OfTheSystem())),
    "batch sampler": lambda: batches(ShuffledByTheSystem()),
    "generator": unseeded,
}


@pytest.mark.parametrize("kind", NEVER)
def test_an_order_that_never_comes_again_is_told_at_the_start(kind: str) -> None:
    with open_(NEVER[kind]()) as dbg:
        (notice,) = [n for n in dbg.history.notices if n.title == "No checkpoint on disk"]
        assert "operating system" in notice.text
        dbg.run(steps=2)
        with pytest.raises(nbd.CheckpointError, match="operating system"):
            dbg.timeline.save()
    assert not Path("nbdebug-checkpoints").exists()


class MadeOnce(IterableDataset[Any]):
    """A generator without a seed, whose state a checkpoint holds."""

    def __init__(self) -> None:
        self.rng = self.make()

    def make(self) -> Any:
        return np.random.default_rng()

    def __iter__(self) -> Iterator[Any]:
        for _ in range(30):
            index = int(self.rng.integers(N))
            yield X[index], Y[index]


def test_a_generator_without_a_seed_that_is_made_once_goes_on() -> None:
    sampler, other = sampler_of(MadeOnce()), sampler_of(MadeOnce())
    draw(sampler, 40)
    here = sampler.position()
    wanted = draw(sampler, 40)
    other.seek(in_a_new_process(here, sampler, other))
    assert bitwise_equal(draw(other, 40), wanted)
