"""Outputs, targets and samples that meet in the wrong way; also through a step_fn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from nbdebug.examples.setups.base import CE, X, mlp, regression, y
from tests.checks.result_of import result_of

NUMBER = regression()[1]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def step_of(loss: Loss) -> Any:
    return lambda model, batch: loss(model(batch[0]), batch[1])


def by_hand(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return ((outputs - targets) ** 2).mean()


def logits(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (functional.softplus(outputs) - outputs * (targets > 0)).mean()


@pytest.mark.parametrize("column", [True, False], ids=["[N, 1] and [N, 1]", "[N, 1] and [N]"])
@pytest.mark.parametrize("loss", [by_hand, logits, functional.l1_loss])
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_step_fn_does_not_hide_broadcasting(loss: Loss, column: bool) -> None:
    data = (X, NUMBER if column else NUMBER[:, 0])
    found = result_of("broadcast", mlp(out=1), data, step_fn=step_of(loss), batch_size=50)
    assert found.status == ("pass" if column else "fail"), found.seen
    assert column or "(50, 1) and (50,) to (50, 50)" in found.seen


def pairs(model: nn.Module, batch: Any) -> torch.Tensor:
    codes = functional.normalize(model(batch[0]), dim=1)
    same = (batch[1][:, None] == batch[1][None]).float()
    return ((codes @ codes.T - same) ** 2).mean()


def rebuilt(model: nn.Module, batch: Any) -> torch.Tensor:
    return ((model(batch[0] + 0.1) - batch[0]) ** 2).mean()


@pytest.mark.parametrize(("step", "out"), [(pairs, 4), (rebuilt, 12)])
def test_pairs_and_inputs_as_targets_are_meant(step: Any, out: int) -> None:
    found = result_of("broadcast", mlp(out=out), (X, y), step_fn=step, batch_size=50)
    assert found.status == "pass", found.seen


class Pixels(nn.Module):
    """Scores of 3 classes for each pixel."""

    def __init__(self, last: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.last = nn.Conv2d(1, 3, 1), last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.body(x)
        return scores.permute(0, 2, 3, 1).contiguous() if self.last else scores


IMAGES = torch.randn(60, 1, 4, 5, generator=torch.Generator().manual_seed(0))
LABELS = (IMAGES[:, 0] > 0).long() + (IMAGES[:, 0] > 0.5).long()


def flat(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(outputs.reshape(-1, 3), targets.flatten())


def moved(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return flat(outputs.permute(0, 2, 3, 1), targets)


def viewed(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(outputs.view(-1, 3, 4, 5), targets)


@pytest.mark.parametrize("hidden", [True, False], ids=["step_fn", "loss"])
@pytest.mark.parametrize(
    ("last", "loss", "remedy"),
    [
        (False, flat, "permute(0, 2, 3, 1)"),
        (True, viewed, "permute(0, 3, 1, 2)"),
        (False, moved, ""),
        (False, functional.cross_entropy, ""),
        (True, flat, ""),
    ],
)
def test_classes_lie_along_an_axis(last: bool, loss: Any, remedy: str, hidden: bool) -> None:
    how = {"step_fn": step_of(loss)} if hidden else {"loss": loss}
    found = result_of("class_axis", Pixels(last), (IMAGES, LABELS), batch_size=30, **how)
    assert found.status == ("fail" if remedy else "pass"), found.seen
    assert remedy in found.remedy


class Placed(nn.Module):
    """Positions along the sequence, or along the batch."""

    def __init__(self, along_batch: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.places, self.along_batch = nn.Parameter(torch.randn(100, 1)), along_batch
        self.body = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.along_batch:
            return self.body(x + self.places[: x.size(0)])  # type: ignore[no-any-return]
        return self.body(x + self.places[: x.size(1), 0])  # type: ignore[no-any-return]


class Rolled(nn.Module):
    """A recurrent layer that expects the samples on the second axis, or the first."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.GRU(1, 4, batch_first=batch_first), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x[:, :, None])[0][:, -1])  # type: ignore[no-any-return]


SEQUENCES = torch.randn(90, 6, generator=torch.Generator().manual_seed(0))
THREE = SEQUENCES[:, 0].ge(0).long() + SEQUENCES[:, 1].ge(0).long()


@pytest.mark.parametrize("hidden", [True, False], ids=["step_fn", "loss"])
@pytest.mark.parametrize(
    ("model", "status"),
    [
        (Placed(True), "fail"),
        (Rolled(False), "fail"),
        (Placed(False), "pass"),
        (Rolled(True), "pass"),
        (nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)), "pass"),
    ],
    ids=["positions", "batch_first", "positions of the sequence", "recurrent", "BatchNorm"],
)
def test_the_place_in_the_batch_does_not_matter(
    model: nn.Module, status: str, hidden: bool
) -> None:
    how = {"step_fn": step_of(CE)} if hidden else {"loss": CE}
    found = result_of("batch_order", model, TensorDataset(SEQUENCES, THREE), batch_size=30, **how)
    assert found.status == status, found.seen


class Linked(nn.Module):
    """A mean over linked nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 3)

    def forward(self, nodes: torch.Tensor, links: torch.Tensor) -> torch.Tensor:
        return links @ self.body(nodes)  # type: ignore[no-any-return]


def test_a_matrix_of_pairs_is_not_turned_round() -> None:
    links = torch.rand(30, 30, generator=torch.Generator().manual_seed(0)).softmax(1)
    data = [(SEQUENCES[:30], links, THREE[:30])]
    found = result_of("batch_order", Linked(), data, CE)
    assert found.status == "not_applicable"


HOT = functional.one_hot(y, 4).float()


@pytest.mark.parametrize(
    ("inputs", "targets", "columns"),
    [
        (torch.cat([X, y[:, None]], 1), y, "column 12 "),
        (torch.cat([X, y[:, None] * -2.0 + 5], 1), y, "column 12 "),
        (torch.cat([HOT, X], 1), y, "columns 0, 1, 2, 3 "),
        (X, y, ""),
        (torch.cat([X, HOT[:, :1]], 1), y, ""),
        (torch.cat([X, NUMBER + 0.01 * torch.randn(NUMBER.shape)], 1), NUMBER, ""),
        (X, X[:, :1], ""),
        (HOT, y, ""),
    ],
    ids=[
        "a label", "a code of the label", "one-hot", "none", "of one class",
        "a good predictor", "a number of its own", "nothing else",
    ],
)  # fmt: skip
def test_no_input_is_the_target(inputs: torch.Tensor, targets: torch.Tensor, columns: str) -> None:
    numbers = targets.is_floating_point()
    torch.manual_seed(0)
    model = nn.Linear(inputs.shape[1], 1 if numbers else 4)
    loss = nn.MSELoss() if numbers else CE
    found = result_of("leaked_targets", model, (inputs, targets), loss, batch_size=50)
    if not columns:
        assert found.status in ("pass", "not_applicable"), found.seen
        return
    assert found.status == "warning"
    assert columns in found.seen


class Told(nn.Module):
    """A network with a condition, which it reads or drops."""

    def __init__(self, reads: bool) -> None:
        super().__init__()
        self.body, self.told, self.reads = mlp(), nn.Linear(1, 4), reads

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return self.body(x) + self.told(time) * float(self.reads)  # type: ignore[no-any-return]


@pytest.mark.parametrize("reads", [True, False])
def test_a_step_fn_does_not_hide_an_input_without_effect(reads: bool) -> None:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        return CE(model(batch[0], time=torch.rand(len(batch[0]), 1)), batch[1])

    found = result_of("ignored_inputs", Told(reads), (X, y), step_fn=step, batch_size=50)
    assert found.status == ("pass" if reads else "warning"), found.seen
    assert reads or "input 2 of 2" in found.seen


class Mixed(nn.Module):
    """A softmax over the samples, or over the classes."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.body, self.dim = mlp(), dim

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x).softmax(self.dim)  # type: ignore[no-any-return]


@pytest.mark.parametrize("dim", [0, 1])
def test_a_step_fn_does_not_hide_samples_that_mix(dim: int) -> None:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        return functional.nll_loss(model(batch[0]).log(), batch[1])

    found = result_of("sample_independence", Mixed(dim), (X, y), step_fn=step, batch_size=50)
    assert found.status == ("fail" if dim == 0 else "pass"), found.seen
