"""Loops of public programs: functions called once an epoch, prefetchers, gradients read by hand."""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.training.own_loop.loops import LABELS, Batches, Epochs, OwnLoop, X, Y
from tools.jupyterlab_driver import until


class ByFunctions(OwnLoop):
    """A function trains an epoch, its caller steps the schedule; BatchNorm needs two samples."""

    def make(self) -> None:
        self.model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
        self.optimizer = torch.optim.Adadelta(self.model.parameters())
        self.loader = DataLoader(TensorDataset(X, LABELS), batch_size=16, shuffle=True)

    def extra(self) -> dict[str, Any]:
        return {"schedule": self.schedule}

    def run(self, epochs: Epochs, batches: Batches) -> None:
        schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 1, gamma=0.7)
        self.schedule = schedule
        for _ in epochs(self.epochs):
            train(self.model, self.optimizer, batches(self.loader), self.losses)
            schedule.step()


def train(model: Any, optimizer: Any, batches: Any, losses: list[float]) -> None:
    for x, labels in batches:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())


class ReadsGradients(OwnLoop):
    """Scales by hand, and reads gradients between the backward pass and the update."""

    def make(self) -> None:
        super().make()
        self.scaler = torch.amp.GradScaler("cpu", init_scale=64.0)

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                self.optimizer.zero_grad()
                loss = functional.mse_loss(self.model(x), y)
                self.scaler.scale(loss).backward()
                self.scaler.unscale_(self.optimizer)
                sum(float(p.grad.norm()) for p in self.model.parameters())  # type: ignore[union-attr]
                self.scaler.step(self.optimizer)
                self.scaler.update()
                self.losses.append(loss.item())


class CutsTheGraphFirst(OwnLoop):
    """The hidden state keeps its graph until the next step begins."""

    def make(self) -> None:
        self.model = nn.GRU(8, 1, batch_first=True)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.loader = [
            (X.view(24, 4, 8)[i : i + 4], Y.view(24, 4, 1)[i : i + 4]) for i in range(0, 24, 4)
        ]
        self.carried = {"hidden": torch.zeros(1, 4, 1)}

    def extra(self) -> dict[str, Any]:
        return {"hidden": self.carried["hidden"].detach()}

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                out, self.carried["hidden"] = self.model(x, self.carried["hidden"].detach())
                self.optimizer.zero_grad()
                loss = functional.mse_loss(out, y)
                loss.backward()
                self.optimizer.step()
                self.losses.append(loss.item())


class LoaderOfThePass(OwnLoop):
    """Each pass has batches of its own, made before it."""

    epochs = 4

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for epoch in epochs(self.epochs):
            order = torch.randperm(len(X))
            made = [(X[order[i::4]], Y[order[i::4]]) for i in range(3 + epoch % 2)]
            for x, y in batches(made):
                self.optimizer.zero_grad()
                loss = functional.mse_loss(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                self.losses.append(loss.item())


@pytest.mark.parametrize("kind", [ByFunctions, ReadsGradients, CutsTheGraphFirst, LoaderOfThePass])
def test_a_checked_rewound_and_replayed_loop_equals_the_bare_one(kind: type[OwnLoop]) -> None:
    plain = kind()
    plain.run(range, iter)
    loop = kind()
    middle = len(plain.losses) // 2
    with nbd.watch(loop.model, loop.optimizer) as dbg:
        dbg.break_when(f"step >= {middle}")
        dbg.run(lambda: loop.run(dbg.epochs, dbg.batches))
        assert dbg.wait(30)
        dbg.clear_breakpoints()
        before = copy.deepcopy(loop.state())
        dbg.check("train_eval", "zero_gradient", "initial_scale")
        assert bitwise_equal(loop.state(), before)
        assert dbg.replay().equal
        dbg.rewind(0)
        dbg.run(steps=middle)
        assert not dbg.fork(2, lr=[dbg.controls["lr"]]).difference.any()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=10_000)
    assert bitwise_equal(loop.state(), plain.state())


class Prefetcher:
    """Passes batches on by `__next__`, as public prefetchers do."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self._batches = iter(batches)

    def __iter__(self) -> Prefetcher:
        return self

    def __next__(self) -> Any:
        return next(self._batches)


def by_hand(batches: Iterable[Any]) -> Iterator[Any]:
    made = iter(batches)

    def get_batch() -> Any:
        return next(made, None)

    return iter(get_batch, None)


@pytest.mark.parametrize("wrap", [Prefetcher, by_hand])
def test_what_passes_batches_on_may_return_before_a_long_step(wrap: Callable[..., Any]) -> None:
    loop = OwnLoop()
    with nbd.watch(loop.model, loop.optimizer) as dbg:
        for number, (x, y) in enumerate(wrap(dbg.batches(loop.loader))):
            loss = functional.mse_loss(loop.model(x), y)
            if number == 1:
                # Longer than a loop is waited for before it is looked for.
                time.sleep(0.3)
            loss.backward()
            loop.optimizer.step()
            dbg.log(mine=1.0)
        assert dbg.wait(10)
        assert dbg.history.status.step == 6
        assert dbg.history.frame("mine")["mine"].count() == 6


@pytest.mark.slow
@pytest.mark.parametrize("end", ["closed in turn", "closed in reverse", "out of reach"])
def test_torch_is_as_before_when_no_loop_is_watched(end: str) -> None:
    before = torch.autograd.backward, nn.utils.clip_grad_norm_, nn.utils.clip_grad.clip_grad_norm_
    loops = [OwnLoop(), OwnLoop()]
    watches = [nbd.watch(loop.model, loop.optimizer) for loop in loops]
    for loop, dbg in zip(loops, watches, strict=True):
        dbg.run(lambda loop=loop, dbg=dbg: loop.run(dbg.epochs, dbg.batches))  # type: ignore[misc]
    for dbg in watches:
        assert dbg.wait(30)
        assert dbg.history.status.step == 18
    if end == "out of reach":
        del dbg
        watches.clear()
    for dbg in watches if end == "closed in turn" else reversed(watches):
        dbg.close()

    def is_as_before() -> bool:
        gc.collect()
        utils = nn.utils
        free = not any("step" in vars(loop.optimizer) for loop in loops)
        return free and before == (
            torch.autograd.backward, utils.clip_grad_norm_, utils.clip_grad.clip_grad_norm_
        )  # fmt: skip

    assert until(is_as_before, "the functions of torch and the optimizers")


def test_a_step_may_go_over_two_passes() -> None:
    def run(loop: OwnLoop, epochs: Epochs, batches: Batches) -> None:
        count = 0
        for _ in epochs(4):
            for x, y in batches(loop.loader):
                (functional.mse_loss(loop.model(x), y) / 4).backward()
                count += 1
                if count % 4 == 0:
                    loop.optimizer.step()
                    loop.optimizer.zero_grad()

    plain = OwnLoop()
    run(plain, range, iter)
    loop = OwnLoop()
    with nbd.watch(loop.model, loop.optimizer) as dbg:
        run(loop, dbg.epochs, dbg.batches)
    assert bitwise_equal(loop.state(), plain.state())
