"""Checks of a loop over a DataLoader see as much of its data as those of a Debugger."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    Sampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)  # fmt: skip

import nbdebug as nbd
from nbdebug.core.results.checks.check_report import CheckReport

X = torch.randn(240, 6, generator=torch.Generator().manual_seed(2))
Y = (X[:, 0] > 0.4).long() + (X[:, 1] > 0.8).long()


def looked_at(
    loader: DataLoader[list[torch.Tensor]], loss_fn: nn.Module, outputs: int, watched: bool = True
) -> tuple[CheckReport | None, list[torch.Tensor]]:
    """Report at step 2 of a loop, and its weights at the end."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, outputs))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train(batches: Iterable[list[torch.Tensor]]) -> None:
        for x, y in batches:
            optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            optimizer.step()

    if not watched:
        train(loader)
        return None, list(model.parameters())
    with nbd.watch(model, optimizer, runs=None) as dbg:
        dbg.break_when("step >= 2")
        dbg.run(lambda: train(dbg.batches(loader)))
        assert dbg.wait(60)
        report = dbg.check()
        dbg.check("one_epoch")
        dbg.clear_breakpoints()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=10_000)
    return report, list(model.parameters())


@pytest.mark.parametrize("target", [Y, X[:, :2].sum(1, keepdim=True)])
@pytest.mark.parametrize("size", [6, 20])
def test_sorted_data_that_is_not_shuffled_is_named(target: torch.Tensor, size: int) -> None:
    order = target.flatten().argsort()
    data = TensorDataset(X[order], target[order])
    loss_fn = nn.MSELoss() if target.is_floating_point() else nn.CrossEntropyLoss()
    outputs = 1 if target.is_floating_point() else 3
    report, _ = looked_at(DataLoader(data, size), loss_fn, outputs)
    assert report is not None
    assert report["shuffling"].status == "fail"
    report, _ = looked_at(DataLoader(data, size, shuffle=True), loss_fn, outputs)
    assert report is not None
    assert report["shuffling"].status == "pass"


def test_data_in_a_random_order_needs_no_shuffling() -> None:
    report, _ = looked_at(DataLoader(TensorDataset(X, Y), 8), nn.CrossEntropyLoss(), 3)
    assert report is not None
    assert report["shuffling"].status == "pass"


def test_small_batches_are_as_many_samples_as_a_check_needs() -> None:
    report, _ = looked_at(
        DataLoader(TensorDataset(X, Y), 8, shuffle=True), nn.CrossEntropyLoss(), 3
    )
    assert report is not None
    assert report["related_targets"].status == "pass"
    # What one batch has alike need not be alike in all.
    order = X[:, 0].argsort()
    steps = torch.cat([X, (torch.arange(240) // 8)[:, None].expand(-1, 120)], 1)[:, -6:]
    report, _ = looked_at(
        DataLoader(TensorDataset(steps.float(), Y[order]), 8), nn.CrossEntropyLoss(), 3
    )
    assert report is not None
    assert report["features"].status == "pass"


def test_labels_that_are_drawn_at_random_are_named() -> None:
    centres = 4 * torch.eye(6)[:4]
    label = torch.arange(240) % 4
    inputs = centres[label] + 0.1 * X
    drawn = torch.where(torch.arange(240) // 4 % 2 == 0, label, torch.randint(4, (240,)))
    report, _ = looked_at(
        DataLoader(TensorDataset(inputs, drawn), 16, shuffle=True), nn.CrossEntropyLoss(), 4
    )
    assert report is not None
    assert report["label_noise"].status == "warning"


class Counting(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Draws noise for each sample, and counts how many were read."""

    def __init__(self) -> None:
        self.reads = 0

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.reads += 1
        return X[index] + 0.1 * torch.randn(6) + 1e-3 * self.reads, Y[index]


SAMPLERS: dict[str, Callable[[], Sampler[int]]] = {
    "a subset": lambda: SubsetRandomSampler(range(200)),
    "weights": lambda: WeightedRandomSampler((Y < 3).float() * (torch.arange(240) < 200), 200),
    "a list": lambda: [*range(200)],  # type: ignore[dict-item, return-value]
}


@pytest.mark.parametrize("kind", SAMPLERS)
def test_no_check_gives_the_loop_what_its_sampler_leaves_out(kind: str) -> None:
    # The loss raises for it, which would end the user's loop.
    targets = torch.where(torch.arange(240) < 200, Y, 99)

    def loader() -> DataLoader[list[torch.Tensor]]:
        torch.manual_seed(3)
        return DataLoader(TensorDataset(X, targets), 8, sampler=SAMPLERS[kind]())

    report, weights = looked_at(loader(), nn.CrossEntropyLoss(), 3)
    assert report is not None
    assert "shuffling" in {result.name for result in report}
    _, plain = looked_at(loader(), nn.CrossEntropyLoss(), 3, watched=False)
    assert all(torch.equal(one, other) for one, other in zip(weights, plain, strict=True))
