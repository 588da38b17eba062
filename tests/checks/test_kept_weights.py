"""Weights that are kept for later: copies, or names for the weights of the model."""

from __future__ import annotations

import copy
import io
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.examples.setups.base import CE, X, mlp, y

BATCHES = [(X[at : at + 16], y[at : at + 16]) for at in range(0, 64, 16)]
Keep = Callable[[nn.Module], Any]


class Record:
    """What a loop writes down."""

    best_weights: Any = None


KEPT: dict[str, Keep] = {
    "state_dict": lambda model: model.state_dict(),
    "a copy of the dictionary alone": lambda model: dict(model.state_dict()),
    "the same device": lambda model: {n: p.cpu() for n, p in model.state_dict().items()},
    "detached": lambda model: {n: p.detach() for n, p in model.named_parameters()},
    "a list": lambda model: list(model.parameters()),
    "a shallow copy": lambda model: copy.copy(model.state_dict()),
    "data": lambda model: [p.data for p in model.parameters()],
}
COPIED: dict[str, Keep] = {
    "deepcopy": lambda model: copy.deepcopy(model.state_dict()),
    "clones": lambda model: {n: p.clone() for n, p in model.state_dict().items()},
    "a copy of the model": copy.deepcopy,
    "a number": lambda model: next(model.parameters()).sum().item(),
    "a file": lambda model: (f := io.BytesIO(), torch.save(model.state_dict(), f))[0],
    "another type": lambda model: {n: p.double() for n, p in model.state_dict().items()},
}


def status(body: Callable[[nn.Module, int], None]) -> tuple[str, str]:
    """Train with a loop that calls `body` after each pass; outcome of the check in the third."""
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    with nbd.watch(model, optimizer) as dbg:

        def loop() -> None:
            for epoch in dbg.epochs(4):
                for inputs, labels in dbg.batches(BATCHES):
                    optimizer.zero_grad()
                    CE(model(inputs), labels).backward()
                    optimizer.step()
                body(model, epoch)

        dbg.break_when("step >= 10")
        dbg.run(loop)
        assert dbg.wait(60)
        found = dbg.check("kept_weights")["kept_weights"]
        dbg.end_loop()
        return found.status, found.seen


@pytest.mark.parametrize("name", KEPT)
def test_weights_that_are_kept_by_reference_are_named(name: str) -> None:
    best: dict[str, Any] = {"loss": 9.0, "state": None}

    def body(model: nn.Module, epoch: int) -> None:
        best["state"] = KEPT[name](model)

    found = status(body)
    assert found[0] == "warning", found
    assert "best['state']" in found[1]


@pytest.mark.parametrize("name", COPIED)
def test_copies_pass(name: str) -> None:
    best: dict[str, Any] = {"loss": 9.0, "state": None}

    def body(model: nn.Module, epoch: int) -> None:
        best["state"] = COPIED[name](model)

    assert status(body)[0] in ("pass", "not_applicable")


def test_an_attribute_is_seen() -> None:
    record = Record()

    def body(model: nn.Module, epoch: int) -> None:
        record.best_weights = model.state_dict()

    assert status(body)[0] == "warning"


def test_weights_that_are_not_kept_for_later_are_left_alone() -> None:
    record: dict[str, Any] = {}

    def body(model: nn.Module, epoch: int) -> None:
        record["state"] = model.state_dict()
        record["checkpoint"] = {"model": model.state_dict(), "epoch": epoch}

    assert status(body)[0] in ("pass", "not_applicable")


def test_a_loop_that_runs_on_is_told() -> None:
    best: dict[str, Any] = {}
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    with nbd.watch(model, optimizer) as dbg:

        def loop() -> None:
            for _ in dbg.epochs(10**6):
                for inputs, labels in dbg.batches(BATCHES):
                    optimizer.zero_grad()
                    CE(model(inputs), labels).backward()
                    optimizer.step()
                best["state"] = model.state_dict()

        dbg.run(loop)
        deadline = time.monotonic() + 60
        seen: list[str] = []
        while not seen:
            assert time.monotonic() < deadline
            time.sleep(0.1)
            seen = [one.seen for one in dbg.findings if one.name == "kept_by_reference"]
        assert "best['state']" in seen[0]
        dbg.end_loop()
