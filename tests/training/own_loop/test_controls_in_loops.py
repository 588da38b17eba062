"""Controls act in a loop of the user's own as in a plain loop that makes the same change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.optim import lr_scheduler
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.training.own_loop.loops import Epochs, OwnLoop, TwoOptimizers, X, Y

MIDDLE = 8


class Changed(OwnLoop):
    """Calls `between` before the step `MIDDLE`."""

    epochs = 3
    between: Callable[[], None] = staticmethod(lambda: None)
    scheduler: Any = None

    def run(self, epochs: Epochs, batches: Callable[[Iterable[Any]], Iterable[Any]]) -> None:
        step = 0
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                self.optimizer.zero_grad()
                loss = functional.mse_loss(self.model(x), y)
                loss.backward()
                self.clip()
                self.optimizer.step()
                if self.scheduler is not None:
                    self.scheduler.step()
                self.losses.append(loss.item())
                step += 1
                if step == MIDDLE:
                    self.between()

    def clip(self) -> None:
        pass


SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "none": lambda optimizer: None,
    "step": lambda optimizer: lr_scheduler.StepLR(optimizer, 3, gamma=0.5),
    "lambda": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "cosine": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 40),
    "one cycle": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=40),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_new_learning_rate_lasts_under_the_scheduler_of_the_loop(name: str) -> None:
    rates: list[list[float]] = []
    for factor in (None, 0.1):
        loop = Changed()
        loop.scheduler = SCHEDULERS[name](loop.optimizer)
        seen: list[float] = []
        with nbd.watch(loop.model, loop.optimizer) as dbg:
            if factor is not None:
                loop.between = lambda dbg=dbg: dbg.set(lr=0.1 * dbg.controls["lr"])  # type: ignore[misc]
            loop.run(dbg.epochs, dbg.batches)
            seen = dbg.history.frame("lr")["lr"].tolist()
        rates.append(seen)
    plain, scaled = rates
    assert scaled[:MIDDLE] == plain[:MIDDLE]
    assert scaled[MIDDLE:] == pytest.approx([0.1 * rate for rate in plain[MIDDLE:]])


def test_clipping_clips_as_torch_does() -> None:
    class Clips(Changed):
        def clip(self) -> None:
            if len(self.losses) >= MIDDLE:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 0.05)

    plain = Clips()
    plain.run(range, iter)
    loop = Changed()
    with nbd.watch(loop.model, loop.optimizer) as dbg:
        loop.between = lambda: dbg.set(clip_mode="norm", clip_threshold=0.05)
        loop.run(dbg.epochs, dbg.batches)
    assert loop.losses == plain.losses
    assert bitwise_equal(loop.state(), plain.state())


def test_dropout_is_that_of_the_module() -> None:
    plain = Changed()
    plain.between = lambda: setattr(plain.model[2], "p", 0.5)  # type: ignore[index]
    plain.run(range, iter)
    loop = Changed()
    with nbd.watch(loop.model, loop.optimizer) as dbg:
        loop.between = lambda: dbg.set(dropout=0.5)
        loop.run(dbg.epochs, dbg.batches)
    assert loop.losses == plain.losses


def test_the_batch_size_changes_within_a_pass() -> None:
    sizes: list[int] = []
    loop = Changed()
    with nbd.watch(loop.model, loop.optimizer) as dbg:
        loop.between = lambda: dbg.set(batch_size=32)
        loop.run(dbg.epochs, dbg.batches)
        sizes = dbg.history.frame("batch_size")["batch_size"].astype(int).tolist()
    # 96 samples: six batches, then two of 16 and two of 32, then three of 32.
    assert sizes == [16] * 8 + [32] * 5


@pytest.mark.parametrize(
    ("loader", "why"),
    [
        ([(X[:16], Y[:16])] * 4, "no DataLoader"),
        (DataLoader(TensorDataset(X, Y), batch_size=16, num_workers=1), "workers"),
        (
            DataLoader(
                TensorDataset(X, Y), batch_sampler=BatchSampler(RandomSampler(X), 16, False)
            ),
            "",
        ),
    ],
)
def test_a_batch_size_that_cannot_change_says_why(loader: Any, why: str) -> None:
    loop = Changed()
    loop.loader, said = loader, list[str]()
    with nbd.watch(loop.model, loop.optimizer) as dbg:

        def change() -> None:
            try:
                dbg.set(batch_size=8)
            except nbd.ControlValueError as error:
                said.append(str(error))

        loop.between = change
        loop.run(dbg.epochs, dbg.batches)
    assert why in (said or [""])[0]
    assert bool(said) is bool(why)


def test_the_loss_of_another_network_is_not_that_of_the_model() -> None:
    loop = TwoOptimizers()
    with nbd.watch(loop.model, loop.optimizer) as dbg:
        loop.run(dbg.epochs, dbg.batches)
        found = dbg.history.frame(["loss", "left_gradient"])
    assert found["loss"].tolist() == pytest.approx(loop.losses)
    assert found["left_gradient"].dropna().max() == 0.0


def test_a_control_set_between_two_passes_acts_from_the_next_step_on() -> None:
    rates = []
    for _ in range(5):
        loop = Changed()
        with nbd.watch(loop.model, loop.optimizer, runs=None) as dbg:
            for epoch in dbg.epochs(4):
                dbg.set(lr=10.0 ** -(epoch + 2))
                for x, y in dbg.batches(loop.loader):
                    loop.optimizer.zero_grad()
                    functional.mse_loss(loop.model(x), y).backward()
                    loop.optimizer.step()
            rates.append(dbg.history.frame("lr")["lr"].tolist())
    wanted = [10.0 ** -(epoch + 2) for epoch in range(4) for _ in range(6)]
    assert rates == [pytest.approx(wanted)] * 5


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"optimizer": "sgd"}, "its own optimizer"),
        ({"excluded_samples": [1]}, "reads its batches itself"),
        ({"relabelled": {1: 0.0}}, "reads its batches itself"),
    ],
)
def test_a_control_that_a_loop_cannot_take_says_why(values: dict[str, Any], why: str) -> None:
    loop, said = Changed(), list[str]()
    with nbd.watch(loop.model, loop.optimizer, runs=None) as dbg:

        def change() -> None:
            with pytest.raises(nbd.ControlValueError) as error:
                dbg.set(**values)
            said.append(str(error.value))

        loop.between = change
        loop.run(dbg.epochs, dbg.batches)
    assert why in said[0]
