"""Seeds that a sample or a step sets again, and random numbers that may repeat."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import nbdebug as nbd
from nbdebug.examples.setups.base import CE, X, mlp, y
from tests.checks.result_of import result_of


class Noisy(Dataset[Any]):
    """Samples with noise, before which something is done."""

    def __init__(self, before: Callable[[int], Any] = lambda index: None) -> None:
        self.before = before

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        self.before(index)
        noise = torch.rand(()) + np.random.rand() + random.random()
        return X[index] + 0.01 * noise.float(), y[index]


class Seeding(nn.Module):
    """Seeds in its forward."""

    def __init__(self, before: Callable[[], Any]) -> None:
        super().__init__()
        self.net, self.drop, self.before = mlp(), nn.Dropout(0.1), before

    def forward(self, x: torch.Tensor) -> Any:
        self.before()
        return self.net(self.drop(x))


def forked() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.rand(3)


def kept_aside() -> None:
    state = np.random.get_state()
    np.random.seed(0)
    np.random.set_state(state)


STATE: torch.Tensor = torch.Generator().get_state()
SETS: dict[str, tuple[Callable[[int], Any], str]] = {
    "NumPy": (lambda index: np.random.seed(0), "NumPy"),
    "NumPy by index": (np.random.seed, "NumPy"),
    "torch": (lambda index: torch.manual_seed(7), "torch"),
    "torch by index": (torch.manual_seed, "torch"),
    "Python": (lambda index: random.seed(3), "Python's random"),
    "a state": (lambda index: torch.set_rng_state(STATE), "torch"),
}
LEAVES: dict[str, Callable[[int], Any]] = {
    "nothing": lambda index: None,
    "a generator of its own": lambda index: np.random.default_rng(index).random(),
    "a generator of torch": lambda index: torch.Generator().manual_seed(index),
    "a fork": lambda index: forked(),
    "a state that is put back": lambda index: kept_aside(),
    "the time": lambda index: random.random(),
}


@pytest.mark.parametrize("case", SETS)
def test_a_sample_that_sets_a_seed_is_named(case: str) -> None:
    before, name = SETS[case]
    found = result_of("reseeding", mlp(), Noisy(before), CE)
    assert found.status == "warning"
    assert f"reading a sample sets the seed of {name}" in found.seen


@pytest.mark.parametrize("case", SETS)
def test_so_is_a_forward(case: str) -> None:
    before, name = SETS[case]
    found = result_of("reseeding", Seeding(lambda: before(1)), (X, y), CE)
    assert found.status == "warning"
    assert f"a step sets the seed of {name}" in found.seen


@pytest.mark.parametrize("case", LEAVES)
def test_what_leaves_the_generators_alone_is_not(case: str) -> None:
    before = LEAVES[case]
    assert result_of("reseeding", mlp(), Noisy(before), CE).status == "pass"
    assert result_of("reseeding", Seeding(lambda: before(1)), (X, y), CE).status == "pass"


def test_the_line_is_named() -> None:
    found = result_of("reseeding", mlp(), Noisy(lambda index: np.random.seed(0)), CE)
    assert "test_reseeding.py: found = result_of" in found.seen


def test_how_arrays_are_printed_does_not_matter() -> None:
    with np.printoptions(threshold=2, edgeitems=1, precision=0):
        assert result_of("reseeding", mlp(), Noisy(), CE).status == "pass"


@pytest.mark.parametrize("sets", ["nothing", "the data", "the loop"])
def test_a_loop_and_its_data_are_looked_at(sets: str) -> None:
    def seed(_: int) -> None:
        np.random.seed(0)

    data = Noisy(seed) if sets == "the data" else Noisy()
    loader, model = DataLoader(data, batch_size=16, shuffle=True), mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with nbd.watch(model, optimizer, runs=None) as dbg:

        def loop() -> None:
            for _ in dbg.epochs(3):
                for inputs, targets in dbg.batches(loader):
                    if sets == "the loop":
                        torch.manual_seed(0)
                    loss = CE(model(inputs), targets)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()

        dbg.break_when("step >= 4")
        dbg.run(loop)
        assert dbg.wait(60)
        state = repr(np.random.get_state())
        found = dbg.check("reseeding")["reseeding"]
        assert repr(np.random.get_state()) == state
        dbg.clear_breakpoints()
    words = {"the data": "reading a sample sets the seed of NumPy", "the loop": "of torch"}
    assert (found.status == "warning") == (sets != "nothing")
    assert words.get(sets, "no generator is set") in found.seen
