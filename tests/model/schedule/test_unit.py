"""A scheduler of the user's counts steps or epochs; what is unclear is asked."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim import SGD, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

import nbdebug as nbd

X = torch.randn(320, 8, generator=torch.Generator().manual_seed(0))
Y = X.sum(1, keepdim=True)
BATCH = 16
PER_EPOCH = 20
Make = Callable[[SGD], LRScheduler]
BY_EPOCH: dict[str, Make] = {
    "StepLR": lambda sgd: lr_scheduler.StepLR(sgd, 1, 0.7),
    "MultiStepLR": lambda sgd: lr_scheduler.MultiStepLR(sgd, [1, 3], 0.1),
    "ExponentialLR": lambda sgd: lr_scheduler.ExponentialLR(sgd, 0.9),
    "CosineAnnealingLR": lambda sgd: lr_scheduler.CosineAnnealingLR(sgd, 5),
    "LambdaLR": lambda sgd: lr_scheduler.LambdaLR(sgd, lambda epoch: 0.5**epoch),
    "SequentialLR": lambda sgd: lr_scheduler.SequentialLR(
        sgd, [lr_scheduler.LinearLR(sgd, 0.1, total_iters=2), lr_scheduler.ExponentialLR(sgd, 0.5)],
        [2],
    ),
}  # fmt: skip


def debugger(make: Make, **options: object) -> nbd.Debugger:
    torch.manual_seed(0)
    model = nn.Linear(8, 1)
    sgd = SGD(model.parameters(), lr=0.1)
    return nbd.Debugger(
        model, (X, Y), nn.MSELoss(), optimizer=sgd, schedule=make(sgd), batch_size=BATCH,
        runs=None, **options,
    )  # fmt: skip


def rates(make: Make, epochs: int) -> list[float]:
    """Learning rate of every step of a plain loop that steps the scheduler once an epoch."""
    sgd = SGD(nn.Linear(8, 1).parameters(), lr=0.1)
    scheduler, found = make(sgd), []
    for _ in range(epochs):
        for _ in range(PER_EPOCH):
            found.append(sgd.param_groups[0]["lr"])
            sgd.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("name", BY_EPOCH)
def test_a_scheduler_that_counts_epochs_is_stepped_once_an_epoch(name: str) -> None:
    with debugger(BY_EPOCH[name], schedule_every="epoch") as dbg:
        dbg.run(epochs=4)
        assert dbg.history.frame("lr")["lr"].tolist() == rates(BY_EPOCH[name], 4)
        assert dbg.replay().equal
        dbg.rewind(25)
        dbg.run(steps=4 * PER_EPOCH - 25)
        assert dbg.history.frame("lr")["lr"].tolist() == rates(BY_EPOCH[name], 4)


@pytest.mark.parametrize("name", ["StepLR", "LambdaLR", "MultiStepLR"])
def test_one_that_would_take_the_rate_within_half_an_epoch_is_asked_about(name: str) -> None:
    make = BY_EPOCH[name]
    with pytest.raises(nbd.ArgumentError, match="schedule_every='epoch'"):
        debugger(make)
    with debugger(make, schedule_every="step") as dbg:
        dbg.run(steps=6)
        sgd = SGD(nn.Linear(8, 1).parameters(), lr=0.1)
        scheduler, expected = make(sgd), []
        for _ in range(6):
            expected.append(sgd.param_groups[0]["lr"])
            sgd.step()
            scheduler.step()
        assert dbg.history.frame("lr")["lr"].tolist() == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda sgd: lr_scheduler.CosineAnnealingLR(sgd, PER_EPOCH),
        lambda sgd: lr_scheduler.LinearLR(sgd, 0.001, total_iters=5),
        lambda sgd: lr_scheduler.StepLR(sgd, 500, 0.1),
    ],
)
def test_one_that_may_well_count_steps_is_told_of(make: Make) -> None:
    with debugger(make) as dbg:
        (notice,) = dbg.history.notices
        assert notice.title == "The schedule counts steps"
        assert "20 times an epoch" in notice.text
    with debugger(make, schedule_every="step") as dbg:
        assert dbg.history.notices == ()


def test_one_that_is_made_for_batches_needs_no_word() -> None:
    with debugger(lambda sgd: lr_scheduler.OneCycleLR(sgd, 0.1, total_steps=8)) as dbg:
        assert dbg.history.notices == ()


def test_the_forecast_knows_the_epochs() -> None:
    from nbdebug.core.records import Forecast

    with debugger(BY_EPOCH["StepLR"], schedule_every="epoch") as dbg:
        dbg.run(steps=PER_EPOCH + 5)
        coming = dbg.history.snapshot(()).results.of(Forecast)
        assert coming is not None
        dbg.run(steps=3 * PER_EPOCH)
        came = dbg.history.frame("lr")["lr"]
        shown = [(step, lr) for step, lr in zip(coming.step, coming.lr, strict=True)
                 if step < 4 * PER_EPOCH]  # fmt: skip
        assert len(shown) > 10
        assert [lr for _, lr in shown] == [came[step] for step, _ in shown]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"schedule_every": "batch"}, "'step' or 'epoch', got 'batch'"),
        ({"schedule": "cosine", "schedule_every": "epoch"}, "counts steps"),
        ({"schedule_every": "epoch"}, "counts steps"),
    ],
)
def test_a_unit_that_is_none_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(nbd.ArgumentError, match=said):
        nbd.Debugger(nn.Linear(8, 1), (X, Y), nn.MSELoss(), runs=None, **options)
