"""A loop with Accelerate is watched as any loop: to the bit, and back in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.inside import forget_accelerators

accelerate = pytest.importorskip("accelerate")
X = torch.randn(80, 8, generator=torch.Generator().manual_seed(1))
Y = X.sum(1, keepdim=True).sin()


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Forget the state that all Accelerators of a process share, another test's too."""
    forget_accelerators()
    yield
    forget_accelerators()


class Loop:
    """A loop in the idiom of Accelerate."""

    def __init__(self, watched: bool, seedable: bool = False, **arguments: Any) -> None:
        torch.manual_seed(0)
        config = accelerate.DataLoaderConfiguration(use_seedable_sampler=seedable)
        self.accelerator = accelerate.Accelerator(cpu=True, dataloader_config=config, **arguments)
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        scheduler = CosineAnnealingLR(optimizer, 60)
        loader = DataLoader(TensorDataset(X, Y), 8, shuffle=True)
        prepared = self.accelerator.prepare(model, optimizer, loader, scheduler)
        self.model, self.optimizer, self.loader, self.scheduler = prepared
        self.dbg = nbd.watch(self.model, self.optimizer, runs=None) if watched else None
        self.losses: list[float] = []
        self.after: Callable[[int], None] = lambda step: None

    def run(self, epochs: int = 3) -> Loop:
        dbg, accelerator = self.dbg, self.accelerator
        model, optimizer, scheduler = self.model, self.optimizer, self.scheduler
        torch.manual_seed(0)
        for _ in range(epochs) if dbg is None else dbg.epochs(epochs):
            for x, y in self.loader if dbg is None else dbg.batches(self.loader):
                with accelerator.accumulate(model):
                    loss = functional.mse_loss(model(x), y)
                    accelerator.backward(loss)
                    if accelerator.sync_gradients:
                        accelerator.clip_grad_norm_(model.parameters(), 0.5)
                    optimizer.step()
                    scheduler.step()
                    optimizer.zero_grad()
                if dbg is None or not dbg.on_trial:
                    self.losses.append(loss.item())
                self.after(len(self.losses))
        return self

    def state(self) -> Any:
        return [
            self.model.state_dict(), self.optimizer.state_dict(), self.scheduler.state_dict(),
            torch.get_rng_state(),
        ]  # fmt: skip


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "seedable": {"seedable": True},
    "accumulated": {"gradient_accumulation_steps": 2},
    "accumulated unevenly": {"gradient_accumulation_steps": 3},
    "bfloat16": {"mixed_precision": "bf16"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_watched_loop_equals_the_bare_one(name: str) -> None:
    bare = Loop(False, **SETTINGS[name]).run()
    watched = Loop(True, **SETTINGS[name]).run()
    assert watched.losses == bare.losses
    assert bitwise_equal(watched.state(), bare.state())


def test_an_accumulated_step_has_all_its_batches() -> None:
    watched = Loop(True, gradient_accumulation_steps=4).run(2)
    assert watched.dbg is not None
    found = watched.dbg.history.frame(["samples", "loss"])
    # The last batch of the loader makes an update.
    assert found["samples"].tolist() == [32, 64, 80, 112, 144, 160]
    wanted = [sum(watched.losses[:4]) / 4, sum(watched.losses[8:10]) / 4]
    assert [found["loss"].iloc[n] for n in (0, 2)] == pytest.approx(wanted, rel=1e-5)


def test_lr_that_is_changed_lasts_under_the_scheduler() -> None:
    bare, watched = Loop(False), Loop(True)

    def halve(step: int) -> None:
        if step == 12:
            scheduler = bare.scheduler.scheduler
            scheduler.base_lrs = [lr / 2 for lr in scheduler.base_lrs]
            bare.optimizer.param_groups[0]["lr"] /= 2

    def change(step: int) -> None:
        if step == 12 and watched.dbg is not None:
            watched.dbg.set(lr=watched.optimizer.param_groups[0]["lr"] / 2)

    bare.after, watched.after = halve, change
    bare.run()
    watched.run()
    assert watched.losses == bare.losses


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("target", [0, 3, 7])
def test_a_rewound_loop_repeats_its_steps(name: str, target: int) -> None:
    watched = Loop(True, **SETTINGS[name])
    dbg = watched.dbg
    assert dbg is not None
    paused: list[int] = []

    def pause(count: int) -> None:
        if dbg.history.status.step == 11 and not paused:
            paused.append(count)
            dbg.pause()

    watched.after = pause
    dbg.run(lambda: watched.run(4))
    assert dbg.wait(20)
    before = dbg.history.frame(["loss"])["loss"].tolist()
    now = dbg.history.status.step
    dbg.rewind(target)
    dbg.step(now - target)
    assert dbg.history.frame(["loss"])["loss"].tolist() == before
    notices = [notice for notice in dbg.history.snapshot().notices if notice.severity != "info"]
    assert notices == []
    dbg.fork(steps=2)
    assert dbg.replay().equal
    dbg.end_loop()
    dbg.close()


class Scaled:
    """A loop whose optimizer Accelerate prepared with a scaler; on a CPU it refuses to make one."""

    def __init__(self, watched: bool) -> None:
        torch.manual_seed(0)
        accelerate.Accelerator(cpu=True)
        self.model = nn.Linear(8, 1)
        self.inner = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        self.optimizer = accelerate.optimizer.AcceleratedOptimizer(self.inner, scaler=self.scaler)
        self.dbg = nbd.watch(self.model, self.optimizer, runs=None) if watched else None
        self.losses: list[float] = []

    def run(self, nan_at: int = -1) -> Scaled:
        loader = DataLoader(TensorDataset(X, Y), 8)
        for x, y in loader if self.dbg is None else self.dbg.batches(loader):
            loss = functional.mse_loss(self.model(x), y)
            if len(self.losses) == nan_at:
                loss = loss * torch.nan
            self.scaler.scale(loss).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.losses.append(loss.item())
        return self


def test_steps_with_a_scaler_are_seen() -> None:
    bare, watched = Scaled(False).run(), Scaled(True).run()
    assert watched.losses == bare.losses
    assert bitwise_equal(watched.model.state_dict(), bare.model.state_dict())
    assert watched.dbg is not None
    found = watched.dbg.history.frame(["loss", "grad_norm"])
    assert found["loss"].tolist() == pytest.approx(bare.losses)
    assert len(found) == 10
    assert (found["grad_norm"] < 100).all()
    watched.dbg.close()
    # Nothing of the watch is left on the optimizer.
    watched.dbg = None
    watched.run()
    bare.run()
    assert watched.losses == bare.losses


def test_two_prepared_optimizers_are_watched_by_name() -> None:
    torch.manual_seed(0)
    accelerator = accelerate.Accelerator(cpu=True)
    G, D = nn.Linear(4, 8), nn.Linear(8, 1)
    first, second = torch.optim.SGD(G.parameters(), lr=0.1), torch.optim.SGD(D.parameters(), lr=0.2)
    G, D, first, second = accelerator.prepare(G, D, first, second)
    dbg = nbd.watch({"G": G, "D": D}, {"G": first, "D": second}, runs=None)
    for (x,) in dbg.batches(DataLoader(TensorDataset(X), 8)):
        fake = G(torch.randn(8, 4))
        first.zero_grad()
        accelerator.backward(-D(fake).mean())
        first.step()
        second.zero_grad()
        accelerator.backward(D(fake.detach()).mean() - D(x).mean())
        second.step()
    found = dbg.history.frame(["lr/G", "lr/D"])
    assert found.iloc[-1].tolist() == pytest.approx([0.1, 0.2])
    assert len(found) == 10
    dbg.close()
