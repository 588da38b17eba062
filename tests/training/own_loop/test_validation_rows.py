"""A validation whose rows are those that the loop trains with."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Subset, TensorDataset

import nbdebug as nbd
from tests.inside import global_hooks

RULE = "validation_rows"
SEEDED = torch.Generator().manual_seed(7)
ROWS = torch.randn(160, 6, generator=SEEDED)
CLASSES = (ROWS[:, 0] > 0).long()
TRAIN, VAL = TensorDataset(ROWS[:96], CLASSES[:96]), TensorDataset(ROWS[96:], CLASSES[96:])
Prepare = Callable[[torch.Tensor], torch.Tensor]
Validate = Callable[[Any, nn.Module, Any], None]


def loss_over(model: nn.Module, loader: Any, prepare: Prepare = lambda x: x) -> float:
    model.eval()
    total = 0.0
    with torch.no_grad():
        for x, y in loader:
            total += float(functional.cross_entropy(model(prepare(x)), y)) / len(loader)
    model.train()
    return total


def trained(
    validate: Validate, prepare: Prepare = lambda x: x, val: Any = None, epochs: int = 4
) -> list[str]:
    """What is seen of the rule where a loop validates so after each pass."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 2))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    loader = DataLoader(TRAIN, 16, shuffle=True)
    with nbd.watch(model, optimizer, val=val, runs=None) as dbg:
        for _ in dbg.epochs(epochs):
            for x, y in dbg.batches(loader):
                optimizer.zero_grad()
                functional.cross_entropy(model(prepare(x)), y).backward()
                optimizer.step()
            validate(dbg, model, loader)
        found = dbg.findings
    assert global_hooks() == 0
    return [one.seen for one in found if one.name == RULE]


def over_train(dbg: Any, model: nn.Module, loader: Any) -> None:
    dbg.log(val_loss=loss_over(model, loader))


def over_a_second_loader(dbg: Any, model: nn.Module, loader: Any) -> None:
    dbg.log(validation_loss=loss_over(model, DataLoader(TRAIN, 64)))


def over_a_part(dbg: Any, model: nn.Module, loader: Any) -> None:
    dbg.log(test_loss=loss_over(model, DataLoader(Subset(TRAIN, range(40)), 20)))


def all_at_once(dbg: Any, model: nn.Module, loader: Any) -> None:
    model.eval()
    with torch.no_grad():
        right = (model(ROWS[:96]).argmax(1) == CLASSES[:96]).float().mean()
    model.train()
    dbg.log(val_accuracy=right)


def twice(dbg: Any, model: nn.Module, loader: Any) -> None:
    dbg.log(train_loss=loss_over(model, loader), val_loss=loss_over(model, loader))


def held_out(dbg: Any, model: nn.Module, loader: Any) -> None:
    dbg.log(val_loss=loss_over(model, DataLoader(VAL, 16)))


def of_training(dbg: Any, model: nn.Module, loader: Any) -> None:
    dbg.log(train_accuracy=loss_over(model, loader))


def both(dbg: Any, model: nn.Module, loader: Any) -> None:
    at = loss_over(model, loader)
    dbg.log(train_acc=at, val_acc=loss_over(model, DataLoader(VAL, 16)))


def one_after_the_other(dbg: Any, model: nn.Module, loader: Any) -> None:
    dbg.log(train_acc=loss_over(model, loader))
    dbg.log(val_acc=loss_over(model, DataLoader(VAL, 16)))


def by_an_average(dbg: Any, model: nn.Module, loader: Any) -> None:
    average = copy.deepcopy(model)
    at = loss_over(model, loader)
    dbg.log(train_acc=at, val_acc=loss_over(average, DataLoader(VAL, 16)))


def by_its_layers(dbg: Any, model: nn.Module, loader: Any) -> None:
    assert isinstance(model, nn.Sequential)
    with torch.no_grad():
        value = float(model[3](model[1](ROWS[96:])).mean())
    dbg.log(train_acc=loss_over(model, loader), val_mean=value)


@pytest.mark.parametrize(
    "validate", [over_train, over_a_second_loader, over_a_part, all_at_once, twice]
)
def test_a_validation_on_rows_of_training_is_named(validate: Validate) -> None:
    (text,) = trained(validate)
    assert "test_validation_rows.py" in text


def test_so_is_one_whose_rows_the_loop_scales() -> None:
    def scaled(x: torch.Tensor) -> torch.Tensor:
        return (x / 3).view(-1, 2, 3)

    def validate(dbg: Any, model: nn.Module, loader: Any) -> None:
        dbg.log(val_loss=loss_over(model, loader, scaled))

    assert trained(validate, scaled)


def test_so_is_a_function_that_validates() -> None:
    def val(model: nn.Module) -> float:
        return float(functional.cross_entropy(model(ROWS[:96]), CLASSES[:96]))

    def other(model: nn.Module) -> float:
        return float(functional.cross_entropy(model(ROWS[96:]), CLASSES[96:]))

    assert trained(lambda *_: None, val=val)
    assert not trained(lambda *_: None, val=other)


@pytest.mark.parametrize(
    "validate", [held_out, of_training, both, one_after_the_other, by_an_average, by_its_layers]
)
def test_other_validations_are_no_finding(validate: Validate) -> None:
    assert not trained(validate)


def test_rows_that_come_often_by_nature_are_no_finding() -> None:
    def signs(x: torch.Tensor) -> torch.Tensor:
        return x.sign() * torch.tensor([1.0, 1, 1, 0, 0, 0])

    def validate(dbg: Any, model: nn.Module, loader: Any) -> None:
        dbg.log(val_loss=loss_over(model, DataLoader(VAL, 32), signs))

    assert not trained(validate, signs)
