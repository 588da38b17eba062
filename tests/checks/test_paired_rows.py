"""Outputs that a step compares with the targets of other rows, and orders that are meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import TensorDataset

from tests.checks.result_of import result_of
from tests.checks.watched import watched

DRAW = torch.Generator().manual_seed(0)
N, CLASSES = 96, 4
X = torch.randn(N, 6, generator=DRAW)
Y = torch.randint(CLASSES, (N,), generator=DRAW)
Z = torch.randn(N, generator=DRAW)
CHOSEN, OTHERS = torch.randperm(N, generator=DRAW).split(N // 2)
MASK = torch.zeros(N, dtype=torch.bool).index_fill(0, CHOSEN, True)
GRAPH = [(X, Y, CHOSEN, OTHERS, MASK)]
Step = Callable[[nn.Module, Any], torch.Tensor]
SHUFFLED = torch.randperm(32, generator=DRAW)


def mlp(out: int = CLASSES) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, out))


def first_labels(model: nn.Module, batch: Any) -> torch.Tensor:
    x, y, chosen, _, _ = batch
    return F.cross_entropy(model(x)[chosen], y[: len(chosen)])


def first_labels_of_a_mask(model: nn.Module, batch: Any) -> torch.Tensor:
    x, y, _, _, mask = batch
    return F.cross_entropy(model(x)[mask], y[: int(mask.sum())])


def last_labels(model: nn.Module, batch: Any) -> torch.Tensor:
    x, y, chosen, _, _ = batch
    return F.cross_entropy(model(x)[chosen], y[-len(chosen) :])


def labels_of_the_others(model: nn.Module, batch: Any) -> torch.Tensor:
    x, y, chosen, others, _ = batch
    return F.cross_entropy(model(x)[chosen], y[others])


def rolled(model: nn.Module, batch: Any) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]), batch[1].roll(1))


def sorted_labels(model: nn.Module, batch: Any) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]), batch[1].sort().values)


def shuffled(model: nn.Module, batch: Any) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]), batch[1][SHUFFLED[: len(batch[1])]])


def numbers_shuffled(model: nn.Module, batch: Any) -> torch.Tensor:
    return F.mse_loss(model(batch[0])[:, 0], batch[2][SHUFFLED])


def numbers_reversed(model: nn.Module, batch: Any) -> torch.Tensor:
    return (model(batch[0])[:, 0] - batch[2].flip(0)).square().sum()


SICK_GRAPH = {
    "first labels": (first_labels, "the first 48"),
    "first labels of a mask": (first_labels_of_a_mask, "the first 48"),
    "last labels": (last_labels, "the last 48"),
    "labels of another index": (labels_of_the_others, "another index"),
}
SICK = {
    "rolled": (rolled, 4, "1 row before"),
    "sorted": (sorted_labels, 4, "sorted"),
    "shuffled": (shuffled, 4, "another order"),
    "numbers shuffled": (numbers_shuffled, 1, "another order"),
    "numbers reversed": (numbers_reversed, 1, "reverse"),
}


@pytest.mark.parametrize("name", SICK_GRAPH)
def test_rows_that_are_chosen(name: str) -> None:
    step, words = SICK_GRAPH[name]
    found = result_of("paired_rows", mlp(), GRAPH, step_fn=step)
    assert (found.status, words in found.seen) == ("fail", True), found.seen


@pytest.mark.parametrize("name", SICK)
def test_rows_in_another_order(name: str) -> None:
    step, out, words = SICK[name]
    found = result_of("paired_rows", mlp(out), TensorDataset(X, Y, Z), step_fn=step, batch_size=32)
    assert (found.status, words in found.seen) == ("fail", True), found.seen


def by_index(model: nn.Module, batch: Any) -> torch.Tensor:
    x, y, chosen, _, _ = batch
    return F.cross_entropy(model(x)[chosen], y[chosen])


def by_mask(model: nn.Module, batch: Any) -> torch.Tensor:
    x, y, _, _, mask = batch
    return F.cross_entropy(model(x)[mask], y[mask])


def of_chosen_inputs(model: nn.Module, batch: Any) -> torch.Tensor:
    x, y, chosen, _, _ = batch
    return F.cross_entropy(model(x[chosen]), y[chosen])


def both_in_an_order(model: nn.Module, batch: Any) -> torch.Tensor:
    order = batch[0][:, 0].argsort()
    return F.cross_entropy(model(batch[0][order]), batch[1][order])


def plain(model: nn.Module, batch: Any) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def of_other_classes(model: nn.Module, batch: Any) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]), (batch[1] + 1) % CLASSES)


def mixed(model: nn.Module, batch: Any) -> torch.Tensor:
    outputs, other = model(batch[0]), batch[1].roll(1)
    return 0.7 * F.cross_entropy(outputs, batch[1]) + 0.3 * F.cross_entropy(outputs, other)


def numbers(model: nn.Module, batch: Any) -> torch.Tensor:
    return F.mse_loss(model(batch[0])[:, 0], batch[2])


def numbers_of_a_row_apart(model: nn.Module, batch: Any) -> torch.Tensor:
    return F.mse_loss(model(batch[0])[:, 0], batch[2] * 2 + 1)


def absolute(model: nn.Module, batch: Any) -> torch.Tensor:
    return F.l1_loss(model(batch[0])[:, 0], batch[2])


@pytest.mark.parametrize("step", [by_index, by_mask, of_chosen_inputs])
def test_an_index_for_both_passes(step: Step) -> None:
    found = result_of("paired_rows", mlp(), GRAPH, step_fn=step)
    assert found.status in ("pass", "not_applicable"), found.seen


@pytest.mark.parametrize("step", [both_in_an_order, plain, of_other_classes, mixed])
def test_classes_of_the_same_rows_pass(step: Step) -> None:
    found = result_of("paired_rows", mlp(), TensorDataset(X, Y, Z), step_fn=step, batch_size=32)
    assert found.status in ("pass", "not_applicable"), found.seen


@pytest.mark.parametrize("step", [numbers, numbers_of_a_row_apart, absolute])
def test_numbers_of_the_same_rows_pass(step: Step) -> None:
    found = result_of("paired_rows", mlp(1), TensorDataset(X, Y, Z), step_fn=step, batch_size=32)
    assert found.status in ("pass", "not_applicable"), found.seen


def test_pairs_of_a_batch_are_no_classes_of_its_rows() -> None:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        codes = F.normalize(model(batch[0]), dim=1)
        return F.cross_entropy(10 * codes @ codes.T, torch.arange(len(codes)))

    data = [(X, torch.randperm(N, generator=DRAW))]
    found = result_of("paired_rows", mlp(), data, step_fn=step)
    assert found.status in ("pass", "not_applicable"), found.seen


def test_two_heads_are_each_compared_with_their_own() -> None:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        one, other = model(batch[0]).split(CLASSES, 1)
        return F.cross_entropy(one, batch[1]) + F.cross_entropy(other, batch[2])

    data = TensorDataset(X, Y, Y[SHUFFLED.repeat(3)])
    found = result_of("paired_rows", mlp(2 * CLASSES), data, step_fn=step, batch_size=32)
    assert found.status in ("pass", "not_applicable"), found.seen


def test_a_watched_loop_is_seen() -> None:
    for step, status in ((rolled, "fail"), (plain, "pass")):
        found = watched(("paired_rows",), mlp(), (X, Y), step, batch_size=32)
        assert found["paired_rows"].status == status


def test_a_matrix_of_a_graph_beside_the_rows_does_not_hide_it() -> None:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        x, links, y, chosen = batch
        return F.cross_entropy((links @ model(x))[chosen], y[: len(chosen)])

    data = [(X, torch.eye(N), Y, CHOSEN)]
    assert result_of("paired_rows", mlp(), data, step_fn=step).status == "fail"
