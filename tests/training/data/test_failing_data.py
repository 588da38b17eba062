"""Data that cannot be read once is read again; nothing is left out in silence."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    Sampler,
    TensorDataset,
    default_collate,
)

import nbdebug as nbd
from tests.draw import crossed
from tests.inside import break_off_a_message
from tests.problems import blobs, tiny_mlp

X, Y = blobs(samples=60)
STEPS = 14
loss_fn = nn.CrossEntropyLoss()
# What a queue of torch raises where the worker at its other end died: EOFError and UnpicklingError
# in the middle of a message, before the worker is known to be dead.
LOST_WORKER = (RuntimeError, OSError, EOFError, pickle.UnpicklingError)


class Faults:
    """Raises at the given calls; counted in a file, since workers have copies."""

    def __init__(self, path: Path, *calls: int) -> None:
        self.path, self.calls = path, calls
        path.write_text("")

    def __call__(self) -> None:
        with self.path.open("a") as file:
            file.write(".")
        if self.path.stat().st_size in self.calls:
            raise OSError("the network drive was away")


class Pairs(Dataset[Any]):
    def __init__(self, fail: Callable[[], None]) -> None:
        self.fail = fail

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        self.fail()
        return X[index] + torch.rand(()), Y[index]


class Together(Pairs):
    def __getitems__(self, indices: list[int]) -> Any:
        self.fail()
        return [(X[index], Y[index]) for index in indices]


class Stream(IterableDataset[Any]):
    def __init__(self, fail: Callable[[], None]) -> None:
        self.fail = fail

    def __iter__(self) -> Iterator[Any]:
        for pair in zip(X, Y, strict=True):
            self.fail()
            yield pair[0] + torch.rand(()), pair[1]


class Cursor(IterableDataset[Any]):
    """An iterator that can be asked again after it raised."""

    def __init__(self, fail: Callable[[], None]) -> None:
        self.fail = fail

    def __iter__(self) -> Iterator[Any]:
        self.place = 0
        return self

    def __next__(self) -> Any:
        if self.place == len(X):
            raise StopIteration
        self.fail()
        self.place += 1
        return X[self.place - 1], Y[self.place - 1]


class Order(Sampler[int]):
    def __init__(self, fail: Callable[[], None]) -> None:
        self.fail = fail

    def __len__(self) -> int:
        return len(X)

    def __iter__(self) -> Iterator[int]:
        for index in torch.randperm(len(X)).tolist():
            self.fail()
            yield index


class Batches(Order):  # type: ignore[misc]
    def __iter__(self) -> Iterator[list[int]]:  # type: ignore[override]
        indices = torch.randperm(len(X)).tolist()
        while indices:
            self.fail()
            size = 3 + len(indices) % 5 if len(indices) > 9 else 9
            yield indices[:size]
            indices = indices[size:]


class Collate:
    def __init__(self, fail: Callable[[], None]) -> None:
        self.fail = fail

    def __call__(self, samples: list[Any]) -> Any:
        self.fail()
        return default_collate(samples)


class OwnIter(DataLoader[Any]):
    fail: Callable[[], None]

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for X, y in super().__iter__():
            self.fail()
            yield 2 * X, y


def own_iter(fail: Callable[[], None]) -> OwnIter:
    loader = OwnIter(Pairs(lambda: None), batch_size=8)
    loader.fail = fail
    return loader


def plain(fail: Callable[[], None]) -> Any:
    return Pairs(lambda: None)


KINDS: dict[str, Callable[[Callable[[], None]], Any]] = {
    "dataset": Pairs,
    "dataset that reads together": Together,
    "shuffled loader": lambda fail: DataLoader(Pairs(fail), batch_size=8, shuffle=True),
    "collate_fn": lambda fail: DataLoader(plain(fail), batch_size=8, collate_fn=Collate(fail)),
    "sampler": lambda fail: DataLoader(plain(fail), batch_size=8, sampler=Order(fail)),
    "batch_sampler": lambda fail: DataLoader(plain(fail), batch_sampler=Batches(fail)),
    "stream": lambda fail: DataLoader(Stream(fail), batch_size=8),
    "cursor": lambda fail: DataLoader(Cursor(fail), batch_size=8),
    "own __iter__": own_iter,
    "ready batches": lambda fail: DataLoader(
        Together(fail), batch_sampler=None, batch_size=None, sampler=[[0, 1], [2, 3, 4], [5]]
    ),
}
SLOW_KINDS = {
    "worker": lambda fail: DataLoader(Pairs(fail), batch_size=8, shuffle=True, num_workers=1),
    "stream of a worker": lambda fail: DataLoader(Stream(fail), batch_size=8, num_workers=1),
}


def trained(data: Any, steps: int = STEPS) -> tuple[list[float], int, Any]:
    """Train with as many Runs as are needed; losses, number of failures and the replay."""
    failures = 0
    with nbd.Debugger(tiny_mlp(), data, loss_fn, runs=None) as dbg:
        while (left := steps - dbg.history.status.step) > 0:
            try:
                dbg.run(steps=left)
            except OSError:
                failures += 1
        replay = dbg.replay()
        return dbg.history.frame("loss")["loss"].tolist(), failures, replay


def check_kind(make: Callable[[Any], Any], path: Path, *calls: int) -> None:
    straight, _, _ = trained(make(lambda: None))
    losses, failures, replay = trained(make(Faults(path, *calls)))
    assert failures == 1
    assert losses == straight
    assert replay.equal


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "ready batches"])
@pytest.mark.parametrize("calls", [(1,), (11,), (3, 4)], ids=str)
def test_what_raised_is_read_again(kind: str, calls: tuple[int, ...], tmp_path: Path) -> None:
    if calls == (3, 4):
        # Fails when it is read again: the next Run tries more than once.
        straight, _, _ = trained(KINDS[kind](lambda: None))
        losses, _, replay = trained(KINDS[kind](Faults(tmp_path / "calls", 3, 4)))
        assert losses == straight
        assert replay.equal
        return
    check_kind(KINDS[kind], tmp_path / "calls", *calls)


class Flag:
    """Raises once, and remembers it in an attribute."""

    def __init__(self) -> None:
        self.calls, self.raised = 0, False

    def __call__(self) -> None:
        self.calls += 1
        if self.calls == 11 and not self.raised:
            self.raised = True
            raise OSError("the network drive was away")


def flag_of_a_closure() -> Callable[[], None]:
    calls, raised = 0, False

    def fail() -> None:
        nonlocal calls, raised
        calls += 1
        if calls == 11 and not raised:
            raised = True
            raise OSError("the network drive was away")

    return fail


def flag_in_a_list() -> Callable[[], None]:
    calls = list[int]()

    def fail() -> None:
        calls.append(1)
        if len(calls) == 11:
            raise OSError("the network drive was away")

    return fail


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "ready batches"])
@pytest.mark.parametrize("flag", [Flag, flag_of_a_closure, flag_in_a_list])
def test_what_remembers_that_it_raised_is_read_in_the_end(kind: str, flag: Any) -> None:
    straight, _, _ = trained(KINDS[kind](lambda: None))
    losses, failures, replay = trained(KINDS[kind](flag()))
    assert failures == 1
    assert losses == straight
    assert replay.equal


@pytest.mark.slow
@pytest.mark.parametrize("kind", SLOW_KINDS)
def test_what_raised_in_a_worker_is_read_again(kind: str, tmp_path: Path) -> None:
    check_kind(SLOW_KINDS[kind], tmp_path / "calls", 11)


class Exits(Pairs):
    """A sample whose worker ends, as by the system for want of memory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getitem__(self, index: int) -> Any:
        if index == 25 and not self.path.exists():
            self.path.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        return X[index], Y[index]


@pytest.mark.slow
def test_a_worker_that_ended_is_replaced(tmp_path: Path) -> None:
    data = DataLoader(Exits(tmp_path / "ended"), batch_size=8, num_workers=1)
    with nbd.Debugger(tiny_mlp(), data, loss_fn, runs=None) as dbg:
        with pytest.raises(LOST_WORKER):
            dbg.run(steps=6)
        dbg.run(steps=6 - dbg.history.status.step)
        assert dbg.history.notices == ()
        losses = dbg.history.frame("loss")["loss"].tolist()
        assert dbg.replay().equal
    plain = DataLoader(TensorDataset(X, Y), batch_size=8)
    with nbd.Debugger(tiny_mlp(), plain, loss_fn, runs=None) as dbg:
        dbg.run(steps=6)
        assert losses == dbg.history.frame("loss")["loss"].tolist()


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize(
    ("error", "kind"),
    crossed([EOFError, ConnectionResetError, pickle.UnpicklingError], list(SLOW_KINDS)),
)
def test_a_message_of_a_worker_that_breaks_off_is_read_again(
    kind: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, _, _ = trained(SLOW_KINDS[kind](lambda: None), steps=6)
    before = set(multiprocessing.active_children())
    lost: list[int | None] = []

    def break_off() -> None:
        lost.extend(w.pid for w in multiprocessing.active_children() if w not in before)
        raise error

    break_off_a_message(2, break_off, monkeypatch)
    with nbd.Debugger(tiny_mlp(), SLOW_KINDS[kind](lambda: None), loss_fn, runs=None) as dbg:
        with pytest.raises(error):
            dbg.run(steps=6)
        made = dbg.history.status.step
        assert 0 < made < 6
        dbg.run(steps=6 - made)
        now = {w.pid for w in multiprocessing.active_children() if w not in before}
        assert len(now.difference(lost)) == 1
        assert dbg.history.frame("loss")["loss"].tolist() == straight
        assert not [notice for notice in dbg.history.notices if notice.severity == "warning"]
        assert dbg.replay().equal


class Broken(Pairs):
    """A sample that can never be read."""

    def __getitem__(self, index: int) -> Any:
        if index == 19:
            raise OSError("the network drive was away")
        return X[index], Y[index]


def test_a_batch_that_is_never_read_is_left_out_told_and_left_out_by_a_replay() -> None:
    data = DataLoader(Broken(lambda: None), batch_size=8)
    with nbd.Debugger(tiny_mlp(), data, loss_fn, runs=None) as dbg:
        with pytest.raises(OSError, match="network drive"):
            dbg.run(steps=6)
        assert dbg.history.status.step == 2
        dbg.run(steps=3)
        [notice] = [n for n in dbg.history.notices if n.title == "A batch was left out"]
        assert "16, 17, 18, 19" in notice.text
        assert "network drive" in notice.text
        assert dbg.history.last("samples") == 5 * 8
        assert dbg.replay().equal
        assert dbg.rewind(1).equal
        kept = DataLoader(Broken(lambda: None), batch_size=8, sampler=[*range(16), *range(24, 60)])
        with nbd.Debugger(tiny_mlp(), kept, loss_fn, runs=None) as other:
            other.run(steps=5)
            expected = other.history.frame("loss")["loss"].tolist()
        dbg.rewind(0)
        with pytest.raises(OSError, match="network drive"):
            dbg.run(steps=5)
        dbg.run(steps=3)
        assert dbg.history.frame("loss")["loss"].tolist() == expected


def test_a_stream_that_does_not_repeat_itself_says_that_its_pass_ends() -> None:
    class Once(IterableDataset[Any]):
        given = 0

        def __iter__(self) -> Iterator[Any]:
            while True:
                Once.given += 1
                if Once.given == 20:
                    raise OSError("away")
                yield X[0] * Once.given, Y[0]

    with nbd.Debugger(tiny_mlp(), DataLoader(Once(), batch_size=8), loss_fn, runs=None) as dbg:
        with pytest.raises(OSError, match="away"):
            dbg.run(steps=5)
        with pytest.raises(nbd.NbdebugError, match="rest of this pass is left out"):
            dbg.run(steps=5)
        dbg.run(steps=3)
        assert dbg.replay().equal


def test_a_generator_that_has_ended_is_told() -> None:
    batches = ((X[i : i + 8], Y[i : i + 8]) for i in range(0, 32, 8))
    with nbd.Debugger(tiny_mlp(), batches, loss_fn, runs=None) as dbg:
        dbg.run(steps=4)
        assert dbg.history.status.epoch == 1.0
        with pytest.raises(nbd.NbdebugError, match="generator, which ended after one pass"):
            dbg.run(steps=1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_training_goes_on_after_a_signal_to_its_workers(number: int) -> None:
    data = DataLoader(Pairs(lambda: None), batch_size=8, num_workers=1)
    straight, _, _ = trained(data, steps=6)
    before = set(multiprocessing.active_children())
    with nbd.Debugger(tiny_mlp(), data, loss_fn, runs=None) as dbg:
        dbg.run(steps=2)
        for worker in set(multiprocessing.active_children()) - before:
            assert worker.pid is not None
            os.kill(worker.pid, number)
        if number == signal.SIGKILL:
            # Tensors of batches that were fetched already are lost with the worker.
            with pytest.raises(LOST_WORKER):
                dbg.run(steps=4)
        dbg.run(steps=6 - dbg.history.status.step)
        assert dbg.history.frame("loss")["loss"].tolist() == straight
        assert dbg.replay().equal
