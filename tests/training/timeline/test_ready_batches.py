"""Whatever step_fn writes into ready batches reaches them, once for each step that was made."""

from __future__ import annotations

import collections
import copy
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.training.kept_batches import Made, Record, attribute, bump

BATCHES, STEPS, AT = 12, 48, 19


class Moving:
    """A batch that moves to a device by itself, as that of a library."""

    def __init__(self, x: torch.Tensor) -> None:
        self.parts, self.seen = {"x": x}, 0

    @property
    def x(self) -> torch.Tensor:
        return self.parts["x"]

    def to(self, device: torch.device) -> Moving:
        self.parts = {name: part.to(device) for name, part in self.parts.items()}
        return self


# How a batch is made, what step_fn writes into it, and what it reads.
KINDS: dict[str, tuple[Made, Callable[[Any], object], Callable[[Any], Any]]] = {
    "a number of a dict": (lambda x: {"x": x, "n": 0}, bump, lambda b: b["n"]),
    "a new key": (lambda x: {"x": x}, bump, lambda b: b["n"]),
    "a list": (lambda x: {"x": x, "l": []}, lambda b: b["l"].append(1), lambda b: len(b["l"])),
    "a set": (
        lambda x: {"x": x, "l": set()},
        lambda b: b["l"].add(len(b["l"])),
        lambda b: len(b["l"]),
    ),
    "a dict in a dict": (
        lambda x: {"x": x, "d": {}},
        lambda b: bump(b["d"]),
        lambda b: b["d"]["n"],
    ),
    "an ordered dict": (
        lambda x: collections.OrderedDict(x=x),
        bump,
        lambda b: b["n"],
    ),
    "a number of a list": (
        lambda x: [x, [0]],
        lambda b: b.__setitem__(1, [b[1][0] + 1]),
        lambda b: b[1][0],
    ),
    "a list in a tuple": (lambda x: (x, []), lambda b: b[1].append(1), lambda b: len(b[1])),
    "a longer batch": (lambda x: [x], lambda b: b.append(1), lambda b: len(b) - 1),
    "an array": (
        lambda x: {"x": x, "a": np.zeros(2)},
        lambda b: b["a"].__iadd__(1),
        lambda b: float(b["a"][1]),
    ),
    "a tensor": (
        lambda x: {"x": x, "t": torch.zeros(1)},
        lambda b: b["t"].add_(1),
        lambda b: b["t"].item(),
    ),
    "a tensor by its data": (
        lambda x: {"x": x, "t": torch.zeros(1)},
        lambda b: b["t"].data.add_(1),
        lambda b: b["t"].item(),
    ),
    "the inputs": (
        lambda x: [x, torch.zeros(8)],
        lambda b: b[0].mul_(1.01),
        lambda b: b[0].sum().item(),
    ),
    "a bound tensor": (
        lambda x: {"x": x, "t": torch.zeros(1)},
        lambda b: b.__setitem__("t", b["t"] + 1),
        lambda b: b["t"].item(),
    ),
    "an attribute": (Record, attribute("seen"), lambda b: b.seen),
    "a list in an attribute": (Record, lambda b: b.log.append(1), lambda b: len(b.log)),
    "an attribute of what moves": (Moving, attribute("seen"), lambda b: b.seen),
    "a part of what moves": (
        Moving,
        lambda b: b.parts.__setitem__("n", b.parts.get("n", torch.zeros(1)) + 1),
        lambda b: b.parts["n"].item(),
    ),
    "a namespace": (
        lambda x: types.SimpleNamespace(x=x, n=0),
        attribute("n"),
        lambda b: b.n,
    ),
}


class Batches:
    """Batches that are handed out one by one."""

    def __init__(self, held: list[Any]) -> None:
        self.held = types.MappingProxyType(dict(enumerate(held)))

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, place: int) -> Any:
        return self.held[place]


class Stream:
    def __init__(self, held: list[Any]) -> None:
        self.batches = Batches(held)

    def __iter__(self) -> Iterator[Any]:
        return (self.batches[place] for place in range(BATCHES))


def first(samples: list[Any]) -> Any:
    return samples[0]


SOURCES: dict[str, Callable[[list[Any]], Any]] = {
    "a list": lambda held: held,
    "a loader": lambda held: DataLoader(held, batch_size=None),  # type: ignore[arg-type]
    "a dataset": lambda held: DataLoader(Batches(held), batch_size=None),  # type: ignore[arg-type]
    "a loader of one sample": lambda held: DataLoader(
        held,  # type: ignore[arg-type]
        batch_size=1,
        collate_fn=first,
    ),
    "a stream": Stream,
}


def forks(dbg: Any) -> None:
    dbg.fork(9, lr=[0.1]).discard()


def keeps(dbg: Any) -> None:
    dbg.fork(9, lr=[0.01]).keep(1)


def back_and_on(dbg: Any) -> None:
    dbg.rewind(-7)
    dbg.run(steps=5)
    dbg.rewind(-2)


def breaks(dbg: Any) -> None:
    dbg.break_when(f"step >= {AT + 3}")
    dbg.run(steps=10)
    dbg.check("shapes")
    dbg.clear_breakpoints()


ACTS: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda dbg: None,
    "all checks": lambda dbg: dbg.check(),
    "a rewind": lambda dbg: dbg.rewind(-7),
    "a rewind to the start": lambda dbg: dbg.rewind(0),
    "two rewinds": back_and_on,
    "a fork": forks,
    "a fork that is kept": keeps,
    "a replay": lambda dbg: dbg.replay(),
    "a breakpoint": breaks,
    "a range test": lambda dbg: dbg.lr_range_test(steps=10),
    "worst samples": lambda dbg: dbg.worst_samples(),
    "a look at the network": lambda dbg: dbg.network(),
    "predictions": lambda dbg: dbg.predictions(),
    "a flight record": lambda dbg: dbg.flight_record(),
}


def inputs(batch: Any) -> torch.Tensor:
    if isinstance(batch, dict):
        return batch["x"]
    return batch[0] if isinstance(batch, list | tuple) else batch.x


class Step:
    """A step_fn that writes into its batch, and whose loss depends on it.

    Args:
        late: batches that are met before it begins to write; fails: the call that raises.
    """

    def __init__(self, kind: str, late: int = 0, fails: int = -1) -> None:
        _, self.write, self.read = KINDS[kind]
        self.place = types.SimpleNamespace(calls=0)
        self.late, self.fails = late, fails

    def __call__(self, model: nn.Module, batch: Any) -> torch.Tensor:
        self.place.calls += 1
        written = self.place.calls > self.late
        if written:
            self.write(batch)
        loss = model(inputs(batch).clone()).pow(2).mean()
        if self.fails == self.place.calls:
            raise RuntimeError("once")
        return loss * (1 + 0.01 * self.read(batch)) if written else loss


def made(kind: str) -> tuple[list[Any], nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    held = [KINDS[kind][0](torch.randn(8, 4)) for _ in range(BATCHES)]
    net = nn.Linear(4, 1)
    return held, net, torch.optim.SGD(net.parameters(), lr=0.01)


def left(held: list[Any], net: nn.Module, losses: Any) -> list[Any]:
    contents = [dict(one) if isinstance(one, dict) else one for one in held]
    parts = [vars(one) if hasattr(one, "__dict__") else one for one in contents]
    return [parts, net.state_dict(), losses]


def plain(kind: str, source: str = "a list", late: int = 0) -> list[Any]:
    """What the batches hold behind a loop without nbdebug, its weights and its losses."""
    held, net, optimizer = made(kind)
    step, data, losses = Step(kind, late), SOURCES[source](held), []
    for _ in range(STEPS // BATCHES):
        for batch in data:
            loss = step(net, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return left(held, net, losses)


def trained(kind: str, source: str, act: Callable[[Any], Any], **settings: Any) -> list[Any]:
    held, net, optimizer = made(kind)
    dbg = nbd.Debugger(
        net, SOURCES[source](held), optimizer=optimizer, runs=None,
        **{"step_fn": Step(kind), **settings},
    )  # fmt: skip
    with dbg:
        dbg.run(steps=AT)
        # What cannot be done is refused in words, and leaves all as it is.
        with suppress(nbd.NbdebugError):
            act(dbg)
        dbg.run(steps=STEPS - dbg.history.status.step)
        losses = dbg.history.frame("loss")["loss"].tolist()
    return left(held, net, losses)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_goes_back(kind: str, act: str) -> None:
    assert bitwise_equal(trained(kind, "a list", ACTS[act]), plain(kind))


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kind", ["a number of a dict", "a tensor", "a part of what moves"])
def test_so_it_does_in_other_sources(kind: str, source: str, act: str) -> None:
    assert bitwise_equal(trained(kind, source, ACTS[act]), plain(kind, source))


@pytest.mark.parametrize("at", [5, AT + 2, AT + 9])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_that_fails_leaves_its_batch_as_it_was(kind: str, at: int) -> None:
    held, net, optimizer = made(kind)
    step = Step(kind, fails=at)
    with nbd.Debugger(net, held, step_fn=step, optimizer=optimizer, runs=None) as dbg:
        with pytest.raises(RuntimeError, match="once"):
            dbg.run(steps=STEPS)
        step.fails = -1
        dbg.run(steps=STEPS - dbg.history.status.step)
        losses = dbg.history.frame("loss")["loss"].tolist()
    assert bitwise_equal(left(held, net, losses), plain(kind))


@pytest.mark.parametrize("act", ["a rewind", "a rewind to the start", "a fork", "a breakpoint"])
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"a tensor by its data"}))
def test_what_is_written_late_goes_back_or_is_refused(kind: str, act: str) -> None:
    """Where no copy was made since nothing was written for long."""
    found = trained(kind, "a list", ACTS[act], step_fn=Step(kind, late=AT - 3))
    assert bitwise_equal(found, plain(kind, late=AT - 3))


@pytest.mark.parametrize("kind", KINDS)
def test_steps_of_several_batches(kind: str) -> None:
    plain = trained(kind, "a list", ACTS["nothing"], accumulate=2)
    for act in ("all checks", "a rewind", "a fork", "a breakpoint"):
        assert bitwise_equal(trained(kind, "a list", ACTS[act], accumulate=2), plain)


@pytest.mark.parametrize("kind", KINDS)
def test_a_validation_leaves_its_batches_as_they_were(kind: str) -> None:
    """Whether they are its own, or those of the training."""
    torch.manual_seed(1)
    own = [KINDS[kind][0](torch.randn(8, 4)) for _ in range(3)]
    before = copy.deepcopy(own)
    for held_out in (own, None):
        held, net, optimizer = made(kind)
        with nbd.Debugger(
            net, held, val_data=held_out or held, step_fn=Step(kind), optimizer=optimizer,
            val_every=5, runs=None,
        ) as dbg:  # fmt: skip
            dbg.run(steps=AT)
            dbg.rewind(-7)
            dbg.run(steps=STEPS - dbg.history.status.step)
            losses = dbg.history.frame("loss")["loss"].tolist()
        assert bitwise_equal(left(held, net, losses), plain(kind))
    assert bitwise_equal(left(own, net, 0), left(before, net, 0))


def test_batches_of_workers_are_written_into_once() -> None:
    """Workers make them anew; those that are kept for a rewind are as they came."""
    found = []
    for act in (lambda dbg: None, lambda dbg: dbg.rewind(-3), forks, lambda dbg: dbg.check()):
        held, net, optimizer = made("a tensor")
        data: Any = Batches(held)
        loader: Any = DataLoader(data, batch_size=None, num_workers=1)
        dbg = nbd.Debugger(net, loader, step_fn=Step("a tensor"), optimizer=optimizer, runs=None)
        with dbg:
            dbg.run(steps=8)
            act(dbg)
            dbg.run(steps=14 - dbg.history.status.step)
            found.append(left([], net, dbg.history.frame("loss")["loss"].tolist()))
    assert all(bitwise_equal(one, found[0]) for one in found)


@pytest.mark.parametrize("kind", ["a number of a dict", "a tensor", "never"])
def test_a_resume_tells_of_what_was_written(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(KINDS, "never", (lambda x: {"x": x}, lambda b: None, lambda b: 0))
    titles: list[list[str]] = []
    for begin in (nbd.Debugger, partial(nbd.Debugger.resume, "a run")):
        held, net, optimizer = made(kind)
        settings = {} if titles else {"name": "a run"}
        step = Step(kind)
        with begin(net, held, step_fn=step, optimizer=optimizer, runs=None, **settings) as dbg:
            dbg.run(steps=AT)
        titles.append([one.title for one in dbg.history.notices])
    title = "The batches may not be those of the checkpoint"
    assert title not in titles[0]
    assert (title in titles[1]) == (kind != "never")
