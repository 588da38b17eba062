"""State that a loop changes by code that is not its own function goes back with it."""

from __future__ import annotations

import importlib.util
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import nbdebug as nbd

COMMON = """
import contextlib, copy, functools, time, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X = torch.randn(96, 4)
loader = DataLoader(TensorDataset(X, X.sum(1, keepdim=True)), batch_size=16, shuffle=True)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
average = copy.deepcopy(model).requires_grad_(False)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

def move():
    for mine, theirs in zip(average.parameters(), model.parameters()):
        mine.mul_(0.9).add_(theirs.detach(), alpha=0.1)
"""
LOOP = """
def loop(epochs, batches):
    for _ in epochs(4):
        for x, y in batches(loader):
            loss = nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            {call}
"""
CASES = {
    "a function": ("", "move()"),
    "a decorator of torch": ("@torch.no_grad()\ndef update():\n    move()", "update()"),
    "inference mode": ("@torch.inference_mode()\ndef update():\n    move()", "update()"),
    "a cache": ("@functools.lru_cache(1)\ndef made():\n    return move", "made()()"),
    "a cached update": (
        "@functools.lru_cache(None)\ndef update(n):\n    move()",
        "update(time.monotonic_ns())",
    ),
    "a context": (
        "@contextlib.contextmanager\ndef updating():\n    yield\n    move()",
        "with updating():\n                pass",
    ),
    "wraps of ones own": (
        "def twice(f):\n    @functools.wraps(f)\n    def inner():\n        f()\n    return inner\n"
        "@twice\ndef update():\n    move()",
        "update()",
    ),
    "dispatch": (
        "@functools.singledispatch\ndef update(x):\n    move()\n"
        "@update.register\ndef _(x: int):\n    move()",
        "update(1)",
    ),
    "a method": (
        "class Helper:\n    def update(self):\n        move()\nhelper = Helper()",
        "helper.update()",
    ),
    "a method that is decorated": (
        "class Helper:\n    @torch.no_grad()\n    def update(self):\n        move()\n"
        "helper = Helper()",
        "helper.update()",
    ),
    "an inherited method": (
        "class Base:\n    def update(self):\n        move()\nclass Helper(Base): pass\n"
        "helpers = [Helper()]",
        "for helper in helpers: helper.update()",
    ),
    "a static method": (
        "class Helper:\n    @staticmethod\n    def update():\n        move()", "Helper.update()"
    ),
    "a class method": (
        "class Helper:\n    @classmethod\n    def update(cls):\n        move()", "Helper.update()"
    ),
    "a property": (
        "class Helper:\n    @property\n    def update(self):\n        move()\nhelper = Helper()",
        "helper.update",
    ),
    "an object made in the step": (
        "class Helper:\n    def __init__(self):\n        move()", "Helper()"
    ),
    "slots": (
        "class Helper:\n    __slots__ = ('average',)\n"
        "    def update(self):\n        move()\nhelper = Helper()\nhelper.average = average",
        "helper.update()",
    ),
    "another module": ("import {other} as others", "others.update()"),
    "a function of another module": ("from {other} import update", "update()"),
    "a network of ones own": (
        "class Updates(nn.Module):\n    def forward(self):\n        move()\nupdates = Updates()",
        "updates()",
    ),
}  # fmt: skip
OTHER = """
from {name} import *
import {name} as here

def update():
    here.move()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def program(folder: Path, case: str) -> ModuleType:
    """The program of a case, as a module of its own."""
    name = f"program_{uuid.uuid4().hex}"
    helper, call = CASES[case]
    base, other = f"{name}_base", f"{name}_other"
    (folder / f"{base}.py").write_text(COMMON)
    (folder / f"{other}.py").write_text(OTHER.format(name=base))
    own = f"from {base} import *\n{helper.format(other=other)}\n{LOOP.format(call=call)}"
    (folder / f"{name}.py").write_text(own)
    spec = importlib.util.find_spec(name)
    assert spec is not None
    return importlib.import_module(name)


def state(module: ModuleType) -> list[Any]:
    return [*module.average.state_dict().values(), *module.model.state_dict().values()]


@pytest.mark.parametrize("case", CASES)
def test_it_goes_back_after_checks_and_a_rewind(case: str, folder: Path) -> None:
    bare = program(folder, case)
    torch.manual_seed(1)
    bare.loop(range, iter)
    seen = program(folder, case)
    torch.manual_seed(1)
    with nbd.watch(seen.model, seen.optimizer, runs=None) as dbg:
        dbg.break_when("step >= 9")
        dbg.run(lambda: seen.loop(dbg.epochs, dbg.batches))
        assert dbg.wait(60)
        dbg.check()
        dbg.rewind(3)
        dbg.clear_breakpoints()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=1000)
    for found, wanted in zip(state(seen), state(bare), strict=True):
        assert torch.equal(found, wanted)
