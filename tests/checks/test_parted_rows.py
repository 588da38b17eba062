"""Batches whose targets are not beside their inputs, though those of the samples are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate

import nbdebug as nbd
from nbdebug.core.results.checks.check_result import CheckResult

DRAW = torch.Generator().manual_seed(0)
N, CLASSES = 96, 4
Y = torch.randint(CLASSES, (N,), generator=DRAW)
X = torch.randn(N, 10, generator=DRAW)
Rows = list[tuple[torch.Tensor, torch.Tensor]]


def targets_shuffled(rows: Rows) -> Any:
    x, y = default_collate(rows)
    return x, y[torch.randperm(len(y))]


def inputs_sorted(rows: Rows) -> Any:
    """Sorted by length, as for packed sequences, the inputs alone."""
    x, y = default_collate(rows)
    return x[x.norm(dim=1).argsort()], y


def targets_sorted(rows: Rows) -> Any:
    return torch.stack([x for x, _ in rows]), torch.tensor(sorted(int(y) for _, y in rows))


def targets_of_the_next(rows: Rows) -> Any:
    x, y = default_collate(rows)
    return x, y.roll(1)


def as_sets(rows: Rows) -> Any:
    """Inputs by the order of their first number, as a dict that was sorted."""
    inputs = {float(x[0]): x for x, _ in rows}
    return torch.stack([inputs[key] for key in sorted(inputs)]), torch.stack([y for _, y in rows])


def reversed_inputs(rows: Rows) -> Any:
    return torch.stack([x for x, _ in rows][::-1]), torch.stack([y for _, y in rows])


def as_it_is(rows: Rows) -> Any:
    return default_collate(rows)


def both_sorted(rows: Rows) -> Any:
    return default_collate(sorted(rows, key=lambda row: float(row[0].norm())))


def mixed(rows: Rows) -> Any:
    x, y = default_collate(rows)
    order = torch.randperm(len(y))
    return 0.7 * x + 0.3 * x[order], y


def numbered(rows: Rows) -> Any:
    """Each sample is its own class in the batch, as for pairs of images and texts."""
    x, _ = default_collate(rows)
    return x, torch.arange(len(x))


def one_hot(rows: Rows) -> Any:
    x, y = default_collate(rows)
    return x, nn.functional.one_hot(y, CLASSES).float()


def with_noise(rows: Rows) -> Any:
    x, y = default_collate(rows)
    return x + torch.randn_like(x), y


class Noisy(Dataset[Any]):
    """Labels that are drawn anew for each read."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        return X[index], torch.randint(CLASSES, ())


SICK = [
    targets_shuffled, inputs_sorted, targets_sorted, targets_of_the_next, as_sets, reversed_inputs,
]  # fmt: skip
HEALTHY = [as_it_is, both_sorted, mixed, numbered, one_hot, with_noise]


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, CLASSES))


def row(collate: Callable[[Rows], Any], data: Any = None) -> CheckResult:
    held = TensorDataset(X, Y) if data is None else data
    loader = DataLoader(held, 32, shuffle=True, collate_fn=collate)
    with nbd.Debugger(mlp(), loader, nn.CrossEntropyLoss()) as dbg:
        return dbg.check("parted_rows")["parted_rows"]


def in_a_loop(collate: Callable[[Rows], Any]) -> CheckResult:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    loader = DataLoader(TensorDataset(X, Y), 32, shuffle=True, collate_fn=collate)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in dbg.epochs(1):
            for x, y in dbg.batches(loader):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
        return dbg.check("parted_rows")["parted_rows"]


@pytest.mark.parametrize("collate", SICK)
@pytest.mark.parametrize("look", [row, in_a_loop])
def test_a_collate_function_that_parts_rows_fails(look: Any, collate: Any) -> None:
    found = look(collate)
    assert found.status == "fail"
    assert "collate_fn" in found.remedy


@pytest.mark.parametrize("collate", HEALTHY)
@pytest.mark.parametrize("look", [row])
def test_a_collate_function_that_keeps_rows_together_passes(look: Any, collate: Any) -> None:
    assert look(collate).status in ("pass", "not_applicable")


def test_a_plain_loader_passes() -> None:
    assert in_a_loop(as_it_is).status == "pass"
    assert row(as_it_is).status == "pass"
    assert row(both_sorted).status == "pass"


def test_labels_that_are_drawn_anew_are_not_judged() -> None:
    assert row(as_it_is, Noisy()).status in ("pass", "not_applicable")


def test_samples_that_are_equal_are_not_judged() -> None:
    same = TensorDataset(torch.ones(N, 10), Y)
    assert row(as_it_is, same).status == "not_applicable"
