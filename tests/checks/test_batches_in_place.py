"""Batches that a loop keeps in a list, and writes into, are named with the line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbdebug as nbd
from nbdebug.core.results.checks.check_result import CheckResult

ROWS = torch.randn(96, 5, generator=torch.Generator().manual_seed(5))
Change = Callable[[torch.Tensor], torch.Tensor]


def noise(x: torch.Tensor) -> torch.Tensor:
    x += 0.1 * torch.randn_like(x)
    return x


def shrunk(x: torch.Tensor) -> torch.Tensor:
    return x.mul_(0.5)


def hidden(x: torch.Tensor) -> torch.Tensor:
    x[torch.rand_like(x) < 0.3] = 0
    return x


def flipped(x: torch.Tensor) -> torch.Tensor:
    x[:] = -x
    return x


def with_noise(x: torch.Tensor) -> torch.Tensor:
    return x + 0.1 * torch.randn_like(x)


def of_a_copy(x: torch.Tensor) -> torch.Tensor:
    return noise(x.clone())


def clamped(x: torch.Tensor) -> torch.Tensor:
    return x.clamp_(-1, 1)


def filled(x: torch.Tensor) -> torch.Tensor:
    x[x > 2] = 0
    return x


def in_a_tuple() -> Any:
    return tuple((part.clone(), part.sum(1)) for part in ROWS.split(16))


LISTS: dict[str, Callable[[], Any]] = {
    "a list of pairs": lambda: list(in_a_tuple()),
    "a list of lists": lambda: [list(pair) for pair in in_a_tuple()],
    "parts of one tensor": lambda: list(ROWS.clone().split(16)),
    "a tensor": lambda: ROWS.clone().reshape(6, 16, 5),
}


def judged(change: Change, batches: Any) -> tuple[CheckResult, bool]:
    """Row of the check after two steps, and if the batches were left as they are by it."""
    torch.manual_seed(0)
    model = nn.Linear(5, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        dbg.break_when("step >= 2")

        def loop() -> None:
            for _ in dbg.epochs(3):
                for batch in dbg.batches(batches):
                    x = batch if isinstance(batch, torch.Tensor) else batch[0]
                    y = x.sum(1) if isinstance(batch, torch.Tensor) else batch[1]
                    x = change(x)
                    optimizer.zero_grad()
                    functional.mse_loss(model(x)[:, 0], y).backward()
                    optimizer.step()

        dbg.run(loop)
        assert dbg.wait(60)
        before = [one.clone() for one in tensors_in(batches)]
        row = dbg.check("data_in_place")["data_in_place"]
        pairs = zip(before, tensors_in(batches), strict=True)
        same = all(torch.equal(old, new) for old, new in pairs)
        dbg.clear_breakpoints()
        dbg.end_loop()
    return row, same


def tensors_in(batches: Any) -> list[torch.Tensor]:
    if isinstance(batches, torch.Tensor):
        return [batches]
    return [one for part in batches for one in ([part] if torch.is_tensor(part) else part)]


@pytest.mark.parametrize("change", [noise, shrunk, hidden, flipped])
def test_a_write_into_a_kept_batch_is_named_with_its_line(change: Change) -> None:
    row, same = judged(change, LISTS["a list of pairs"]())
    assert row.status == "fail", row.seen
    assert "test_batches_in_place.py" in row.seen
    assert same


@pytest.mark.parametrize("name", LISTS)
def test_batches_are_found_wherever_they_are_kept(name: str) -> None:
    assert judged(noise, LISTS[name]())[0].status == "fail"
    assert judged(with_noise, LISTS[name]())[0].status == "pass"


@pytest.mark.parametrize("change", [with_noise, of_a_copy, clamped, filled])
def test_batches_that_stay_as_they_are_pass(change: Change) -> None:
    row, same = judged(change, LISTS["a list of pairs"]())
    assert row.status == "pass", row.seen
    assert same
