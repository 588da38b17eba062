"""Targets of other rows, and targets that are only hard to predict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import nbdebug as nbd
from nbdebug.core.results.checks.check_result import CheckResult
from tests.checks.result_of import result_of

DRAW = torch.Generator().manual_seed(0)
N, FEATURES, CLASSES = 400, 10, 4
LABELS = torch.randint(CLASSES, (N,), generator=DRAW)
X = torch.randn(N, FEATURES, generator=DRAW) + 2 * nn.functional.one_hot(LABELS, FEATURES)
NUMBERS = X[:, :2].sum(1, keepdim=True) + 0.5 * torch.randn(N, 1, generator=DRAW)
WORDS = torch.randint(5, 20, (N, 12), generator=DRAW)
WORDS[:, 3] = LABELS
ORDER, OTHER = (torch.randperm(N, generator=DRAW) for _ in range(2))
TRAIN, HELD_OUT = slice(0, 250), slice(250, N)
CE, MSE = nn.CrossEntropyLoss(), nn.MSELoss()
Pair = tuple[torch.Tensor, torch.Tensor]


def mlp(out: int = CLASSES, width: int = 32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(FEATURES, width), nn.ReLU(), nn.Linear(width, out))


def bag() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.EmbeddingBag(20, 8), nn.Linear(8, CLASSES))


def parts(x: torch.Tensor, y: torch.Tensor) -> tuple[Pair, Pair]:
    return (x[TRAIN], y[TRAIN]), (x[HELD_OUT], y[HELD_OUT])


def row(
    model: nn.Module, data: Any, loss: Any = CE, held_out: Any = None, steps: int = 0
) -> CheckResult:
    """Row of the check after some steps, at a learning rate that learns by heart."""
    with nbd.Debugger(model, data, loss, val_data=held_out, lr=1e-2, batch_size=32) as dbg:
        if steps:
            dbg.run(steps=steps)
        return dbg.check("related_targets")["related_targets"]


class OtherIndex(Dataset[Any]):
    """Takes the inputs by a random index, and the labels by the one that was asked for."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        return X[ORDER[index]], LABELS[index]


def lagged() -> Pair:
    """Noise that nothing predicts, with windows that hold the noise before it."""
    noise = torch.randn(N + 5, generator=DRAW)
    return noise.unfold(0, 5, 1)[:N].repeat(1, 2), noise[5 : N + 5, None]


MOVED: dict[str, tuple[Callable[[], nn.Module], Any, Any, str]] = {
    "by one row": (mlp, (X, LABELS.roll(1)), CE, "1 row after"),
    "by one row, the other way": (mlp, (X[1:], LABELS[:-1]), CE, "1 row after"),
    "a lost label": (mlp, (X[:-1], LABELS[1:]), CE, "1 row before"),
    "numbers by two rows": (lambda: mlp(1), (X, NUMBERS.roll(-2, 0)), MSE, "2 rows before"),
    "sentences by one row": (bag, (WORDS, LABELS.roll(1)), CE, "1 row after"),
    "in a loader": (
        mlp, DataLoader(TensorDataset(X.roll(-1, 0), LABELS), 32, shuffle=True), CE, "1 row after"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVED)
def test_rows_that_are_moved(name: str) -> None:
    model, data, loss, words = MOVED[name]
    found = result_of("related_targets", model(), data, loss)
    assert (found.status, words in found.seen) == ("warning", True), found.seen


ONE_PART: dict[str, tuple[Callable[[], nn.Module], Pair, Pair, Any, str]] = {
    "labels of training shuffled": (
        mlp, (X[TRAIN], LABELS[TRAIN].sort().values), parts(X, LABELS)[1], CE, "training"
    ),
    "labels of validation sorted": (
        mlp, parts(X, LABELS)[0], (X[HELD_OUT], LABELS[HELD_OUT].sort().values), CE, "validation"
    ),
    "validation of another split": (
        lambda: mlp(1), parts(X, NUMBERS)[0], (X[HELD_OUT], NUMBERS[ORDER][HELD_OUT]), MSE,
        "validation",
    ),
    "first labels in place of the last": (
        mlp, parts(X, LABELS)[0], (X[HELD_OUT], LABELS[: N - 250]), CE, "validation"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_PART)
def test_one_part_of_the_data(name: str) -> None:
    model, train, held_out, loss, part = ONE_PART[name]
    found = row(model(), train, loss, held_out)
    assert found.status == "fail", found.seen
    assert f"targets of the {part} data" in found.seen


NEVER_LEARNT: dict[str, tuple[Callable[[], nn.Module], Any, Any, Any]] = {
    "split apart": (mlp, *parts(X[ORDER], LABELS[OTHER]), CE),
    "numbers shuffled": (lambda: mlp(1), *parts(X, NUMBERS[ORDER]), MSE),
    "sorted labels": (mlp, (X, LABELS.sort().values), None, CE),
    "another index": (mlp, OtherIndex(), None, CE),
    "sentences shuffled": (bag, *parts(WORDS, LABELS[ORDER]), CE),
    "learnt by heart": (lambda: mlp(width=512), *parts(X[ORDER], LABELS[OTHER]), CE),
}


@pytest.mark.parametrize("name", NEVER_LEARNT)
def test_it_takes_a_model_that_learns_nothing(name: str) -> None:
    model, data, held_out, loss = NEVER_LEARNT[name]
    found = row(model(), data, loss, held_out)
    assert (found.status, "shuffled apart" in found.seen) == ("not_applicable", True), found.seen
    few = 1 if name != "learnt by heart" else 2
    found = row(nn.Sequential(model(), nn.Identity()), data, loss, held_out, steps=200 * few)
    if held_out is not None:
        assert found.status == "warning", found.seen
        assert "that of a constant" in found.seen
    else:
        # Without validation data, learning by heart looks like learning.
        assert found.status in ("warning", "pass", "not_applicable")


def parity() -> Pair:
    bits = torch.randint(2, (N, FEATURES), generator=DRAW).float()
    return bits, bits[:, :6].sum(1).long() % 2


def circle() -> Pair:
    return X, (X[:, 4:6].norm(dim=1) > 1.2).long()


def prices() -> Pair:
    """The last ten prices, and the direction of the next step, which nothing predicts."""
    steps = torch.randn(N + 10, generator=DRAW)
    return steps.cumsum(0).unfold(0, 10, 1)[:N], (steps[10:] > 0).long()


HEALTHY: dict[str, tuple[Callable[[], nn.Module], Any, Any, Any]] = {
    "classes": (mlp, *parts(X, LABELS), CE),
    "numbers": (lambda: mlp(1), *parts(X, NUMBERS), MSE),
    "sorted by class, both": (mlp, (X[LABELS.argsort()], LABELS.sort().values), None, CE),
    "sentences": (bag, *parts(WORDS, LABELS), CE),
    "noise to be forecast": (lambda: mlp(1), lagged(), None, MSE),
    "the direction of prices": (lambda: mlp(2), prices(), None, CE),
    "parity, which no simple function gives": (mlp, *parts(*parity()), CE),
    "inside of a circle": (mlp, *parts(*circle()), CE),
    "little noise": (lambda: mlp(1), (X, NUMBERS + 3 * torch.randn(N, 1)), None, MSE),
    "validation data not scaled": (
        mlp, parts(X, LABELS)[0], (20 * X[HELD_OUT] + 5, LABELS[HELD_OUT]), CE
    ),
    "one class held out": (mlp, (X, LABELS), (X[LABELS == 2], LABELS[LABELS == 2]), CE),
    "few samples": (mlp, (X[:60], LABELS[:60].roll(1)), None, CE),
}  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
def test_untrained_it_says_nothing_of_healthy_data(name: str) -> None:
    model, data, held_out, loss = HEALTHY[name]
    found = row(model(), data, loss, held_out)
    assert found.status in ("pass", "not_applicable"), found.seen


@pytest.mark.parametrize("name", ["classes", "numbers", "inside of a circle", "sentences"])
def test_trained_it_says_nothing_of_healthy_data(name: str) -> None:
    model, data, held_out, loss = HEALTHY[name]
    assert row(model(), data, loss, held_out, steps=200).status == "pass"


def test_what_only_a_network_finds_passes_once_it_is_found() -> None:
    bits = torch.randint(2, (600, FEATURES), generator=DRAW).float()
    train, held_out = (bits[:400], bits[:400, 0]), (bits[400:], bits[400:, 0])
    labels = [(one[:, :3].sum(1) % 2).long() for one, _ in (train, held_out)]
    found = row(mlp(2, 64), (train[0], labels[0]), CE, (held_out[0], labels[1]), steps=400)
    assert found.status == "pass", found.seen


def test_a_rule_asks_for_it_again_after_training() -> None:
    train, held_out = parts(X[ORDER], LABELS[OTHER])
    with nbd.Debugger(mlp(), train, CE, val_data=held_out, batch_size=16, lr=1e-3) as dbg:
        assert dbg.check("related_targets")["related_targets"].status == "not_applicable"
        dbg.run(steps=260)
        found = {one.name: one for one in dbg.findings}
    assert "do not predict the targets" in found["warned_check"].seen


def test_what_is_learnt_by_heart_is_explained() -> None:
    train, held_out = parts(X[ORDER], LABELS[OTHER])
    model = mlp(width=512)
    with nbd.Debugger(model, train, CE, val_data=held_out, batch_size=16, lr=1e-2) as dbg:
        dbg.run(steps=480)
        found = {one.name: one for one in dbg.findings}
    assert "do not predict the targets" in found["warned_check"].seen
    assert found["overfitting"].cause == "warned_check"


FACTORS = torch.randn(N, 4, generator=DRAW)
MIXED = torch.randn(4, FEATURES, generator=DRAW)
TABLE = FACTORS @ MIXED + torch.randn(N, FEATURES, generator=DRAW)
KINDS = FACTORS[:, :CLASSES].argmax(1)
PRICES = FACTORS[:, :2].sum(1, keepdim=True) + torch.randn(N, 1, generator=DRAW)
FEW = slice(N - 48, N)

APART: dict[str, tuple[Callable[[], nn.Module], Any, Any, Any]] = {
    "classes": (mlp, (TABLE, KINDS[ORDER]), None, CE),
    "classes, validation too": (mlp, *parts(TABLE[OTHER], KINDS[ORDER]), CE),
    "numbers": (lambda: mlp(1), (TABLE, PRICES[ORDER]), None, MSE),
    "few samples": (mlp, (TABLE[:130], KINDS[ORDER][:130]), None, CE),
}


@pytest.mark.parametrize("name", APART)
def test_a_table_whose_targets_go_with_no_column_is_told_before_training(name: str) -> None:
    model, data, held_out, loss = APART[name]
    found = row(model(), data, loss, held_out)
    assert found.status == "warning", found.seen
    assert "do not seem to belong together (shuffled apart?)" in found.seen


@pytest.mark.parametrize("data", [(TABLE, KINDS), (X, LABELS)], ids=["a table", "classes"])
def test_few_validation_samples_show_what_training_has_not(data: Pair) -> None:
    x, labels = data
    found = row(mlp(), (x[TRAIN], labels[ORDER][TRAIN]), CE, (x[FEW], labels[FEW]))
    assert found.status == "fail", found.seen
    assert "do not belong together (shuffled apart?)" in found.seen
    assert row(mlp(), (x[TRAIN], labels[TRAIN]), CE, (x[FEW], labels[FEW])).status == "pass"


def flat(x: torch.Tensor) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), CLASSES))


def waves() -> torch.Tensor:
    """Windows of a smooth series, in a random order."""
    line = torch.randn(N + 30, generator=DRAW).cumsum(0)
    return line.unfold(0, 16, 1)[:N][ORDER]


BITS = torch.randint(2, (N, 2), generator=DRAW)
NOT_KNOWN: dict[str, Pair] = {
    "a table, and products of its factors": (TABLE, (FACTORS[:, 0] * FACTORS[:, 1] > 0).long()),
    "either of two bits": (
        torch.cat([BITS + 0.1 * torch.randn(N, 2, generator=DRAW), X[:, 4:8]], 1),
        BITS[:, 0] ^ BITS[:, 1],
    ),
    "parity of six": parity(),
    "windows of a series": (waves(), LABELS),
    "pictures": (TABLE[:, :9].reshape(N, 1, 3, 3), LABELS[ORDER]),
    "sequences": (TABLE[:, :8].reshape(N, 4, 2), LABELS[ORDER]),
    "one column": (TABLE[:, :1], LABELS[ORDER]),
    "drawn numbers": (torch.randn(N, 20, generator=DRAW), LABELS),
}


@pytest.mark.parametrize("name", NOT_KNOWN)
def test_a_relation_that_is_hard_to_see_is_not_judged(name: str) -> None:
    x, labels = NOT_KNOWN[name]
    found = row(flat(x), (x, labels), CE)
    assert found.status in ("pass", "not_applicable"), found.seen
