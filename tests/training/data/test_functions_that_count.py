"""What functions of the data count with, outside of the dataset, goes back and on too."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, Sampler, default_collate

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.training.timeline import timelines
from tests.training.timeline.timelines import Items, N, X, Y, state

STEPS, BATCH = 10, 8
# Each makes `change`, a function of one tensor, and what it counts.
COUNTS = {
    "a variable of the function around": """
def make():
    count = 0
    def change(x):
        nonlocal count
        count += 1
        return x * (1 + 0.01 * (count % 7))
    return change, lambda: count

change, told = make()
""",
    "a global number": """
count = 0

def change(x):
    global count
    count += 1
    return x * (1 + 0.01 * (count % 7))

def told():
    return count
""",
    "a global that comes later": """
def change(x):
    global late
    try:
        late += 1
    except NameError:
        late = 1
    return x * (1 + 0.01 * (late % 7))

def told():
    return late
""",
    "a global by its text": """
def change(x):
    globals()["clock"] = globals().get("clock", 0) + 1
    return x * (1 + 0.01 * (globals()["clock"] % 7))

def told():
    return globals().get("clock")
""",
    "an attribute that comes later": """
def change(x):
    change.count = getattr(change, "count", 0) + 1
    return x * (1 + 0.01 * (change.count % 7))

def told():
    return getattr(change, "count", None)
""",
    "a global dict": """
counts = {"all": 0, "by": [0, 0]}

def change(x):
    counts["all"] += 1
    counts["by"][counts["all"] % 2] += 1
    return x * (1 + 0.01 * (counts["by"][0] % 7))

def told():
    return repr(counts)
""",
    "a window": """
import collections
window = collections.deque(maxlen=5)

def change(x):
    window.append(float(x.sum()))
    return x + 0.01 * sum(window)

def told():
    return list(window)
""",
    "an average": """
import torch
average = torch.zeros(2)

def change(x):
    average.mul_(0.9).add_(0.1 * x[:2])
    return x - average.sum()

def told():
    return average.tolist()
""",
    "an array": """
import numpy as np
average = np.zeros(2)

def change(x):
    average[:] = 0.9 * average + 0.1 * x[:2].numpy()
    return x - float(average.sum())

def told():
    return average.tolist()
""",
    "an attribute of the function": """
def change(x):
    change.count += 1
    return x * (1 + 0.01 * (change.count % 7))

change.count = 0

def told():
    return change.count
""",
    "a number of a class": """
class Change:
    count = 0

    @classmethod
    def apply(cls, x):
        cls.count += 1
        return x * (1 + 0.01 * (cls.count % 7))

change = lambda x: Change.apply(x)

def told():
    return Change.count
""",
    "an object": """
class Counter:
    def __init__(self):
        self.count = 0

counter = Counter()

def change(x):
    counter.count += 1
    return x * (1 + 0.01 * (counter.count % 7))

def told():
    return counter.count
""",
    "a default": """
def change(x, seen=[]):
    seen.append(len(seen))
    return x * (1 + 0.01 * (len(seen) % 7))

def told():
    return len(change.__defaults__[0])
""",
    "an iterator": """
import itertools
counter = itertools.count()

def change(x):
    return x * (1 + 0.01 * (next(counter) % 7))

def told():
    return repr(counter)
""",
}


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "counting_data", types.ModuleType("counting_data"))


class Rows(IterableDataset[Any]):
    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.change = change

    def __iter__(self) -> Iterator[Any]:
        return ((self.change(x), y) for x, y in zip(X, Y, strict=True))


class Order(Sampler[int]):
    """An order that depends on the number of passes before."""

    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.change = change

    def __len__(self) -> int:
        return N

    def __iter__(self) -> Iterator[int]:
        shift = int(1000 * abs(float(self.change(torch.ones(X.shape[1])).sum())))
        return iter(torch.arange(N).roll(shift % N).tolist())


def collated(change: Any) -> Any:
    def collate(items: Any) -> Any:
        x, y = default_collate(items)
        return torch.stack([change(row) for row in x]), y

    return DataLoader(Items(), BATCH, shuffle=True, collate_fn=collate)


READERS: dict[str, Callable[[Any], Any]] = {
    "a dataset": lambda change: DataLoader(Items(change), BATCH, shuffle=True),
    "a collate_fn": collated,
    "a stream": lambda change: DataLoader(Rows(change), BATCH),
    "a sampler": lambda change: DataLoader(Items(), BATCH, sampler=Order(change)),
}
# A pass of a stream or a sampler asks once; which batch moves the count makes no difference there.
PAIRS = [
    (reader, kind)
    for number, kind in enumerate(COUNTS)
    for place, reader in enumerate(READERS)
    if place < 2 or number % 4 == place
]


def made(kind: str) -> Any:
    """The functions of a module of its own."""
    module: Any = types.ModuleType("counting_data")
    module.__file__ = "counting_data.py"
    sys.modules["counting_data"] = module
    exec(compile(COUNTS[kind], "<counting>", "exec"), vars(module))
    return module


def debugger(data: Any, **options: Any) -> nbd.Debugger:
    torch.manual_seed(0)
    loss = nn.CrossEntropyLoss()
    return nbd.Debugger(timelines.net(), data, loss, overhead=0.0, runs=None, **options)


def expected(reader: str, kind: str, steps: int) -> tuple[Any, Any]:
    """Weights and counts of a training that nobody looks at."""
    functions = made(kind)
    with debugger(READERS[reader](functions.change)) as dbg:
        dbg.run(steps=steps)
        return state(dbg), functions.told()


@pytest.mark.parametrize(("reader", "kind"), PAIRS)
def test_looks_and_rewinds_leave_them_as_they_were(reader: str, kind: str) -> None:
    functions = made(kind)
    with debugger(READERS[reader](functions.change)) as dbg:
        dbg.check()
        dbg.run(steps=4)
        assert bitwise_equal((state(dbg), functions.told()), expected(reader, kind, 4))
        dbg.check()
        dbg.fork(2, lr=0.1).discard()
        assert dbg.replay().equal
        dbg.worst_samples()
        dbg.run(steps=STEPS - 4)
        assert bitwise_equal((state(dbg), functions.told()), expected(reader, kind, STEPS))
        assert dbg.rewind(3).equal
        dbg.run(steps=STEPS - 3)
        assert bitwise_equal((state(dbg), functions.told()), expected(reader, kind, STEPS))


def test_a_resume_without_what_came_later_is_refused() -> None:
    reader, kind = "a dataset", "an attribute that comes later"
    with debugger(READERS[reader](made(kind).change), name="n") as dbg:
        dbg.run(steps=4)
    data = READERS[reader](made(kind).change)
    with pytest.raises(nbd.NbdebugError, match="count, which its functions count with, is not as"):
        nbd.Debugger.resume("n", timelines.net(), data, nn.CrossEntropyLoss(), runs=None)


@pytest.mark.parametrize(("reader", "kind"), [one for one in PAIRS if "comes later" not in one[1]])
def test_a_resume_goes_on_with_them(reader: str, kind: str) -> None:
    with debugger(READERS[reader](made(kind).change), name="n") as dbg:
        dbg.run(steps=4)
    functions = made(kind)
    torch.manual_seed(0)
    data = READERS[reader](functions.change)
    with nbd.Debugger.resume(
        "n", timelines.net(), data, nn.CrossEntropyLoss(), overhead=0.0, runs=None
    ) as dbg:
        dbg.run(steps=STEPS - 4)
        assert bitwise_equal((state(dbg), functions.told()), expected(reader, kind, STEPS))


def loop(model: nn.Module, optimizer: Any, data: Any, epochs: Any, batches: Any) -> None:
    for _ in epochs(2):
        for x, y in batches(data):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()


def of_loop(reader: str, kind: str) -> tuple[Any, nn.Module, torch.optim.Optimizer, Any]:
    functions = made(kind)
    torch.manual_seed(0)
    model = timelines.net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return functions, model, optimizer, READERS[reader](functions.change)


@pytest.mark.parametrize(("reader", "kind"), PAIRS)
def test_a_loop_of_the_users_own_reads_them_as_without_a_look(reader: str, kind: str) -> None:
    told, model, optimizer, data = of_loop(reader, kind)
    loop(model, optimizer, data, range, lambda one: one)
    wanted = state_of(model), told.told()
    told, model, optimizer, data = of_loop(reader, kind)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        dbg.break_when("step >= 5")
        dbg.run(lambda: loop(model, optimizer, data, dbg.epochs, dbg.batches))
        assert dbg.wait(60)
        dbg.check()
        dbg.run(steps=2)
        assert dbg.replay().equal
        dbg.rewind(4)
        dbg.clear_breakpoints()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=1000)
        assert dbg.wait(60)
    assert bitwise_equal((state_of(model), told.told()), wanted)


def state_of(model: nn.Module) -> Any:
    return {name: value.clone() for name, value in model.state_dict().items()}
