"""A trainer that reads its batches itself is watched by what it calls back."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from IPython.core import getipython
from IPython.core.interactiveshell import InteractiveShell
from torch import nn
from torch.nn import functional
from traitlets.config import Config

import nbdebug as nbd
from nbdebug.integrations import base
from nbdebug.integrations.base import TrainerWatch
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.training.own_loop import updates
from nbdebug.training.own_loop.meeting.loop_thread import LoopEnded
from tests.integrations.live import wait_until

X = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
Y = X.sum(1, keepdim=True).sin()
STEPS = 8


class ToyTrainer:
    """Draws random numbers between two steps, and validates there."""

    def __init__(self, watch: TrainerWatch | None = None) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-2)
        self.watch, self.losses, self.validated = watch, list[float](), list[float]()
        self.after: Callable[[int], None] = lambda step: None

    def fit(self, epochs: int = 3) -> None:
        torch.manual_seed(0)
        watch = self.watch
        if watch is not None:
            watch.begin(self.model, self.optimizer)
        for _ in range(epochs):
            if watch is not None:
                watch.begin_epoch(STEPS)
            for batch in self.batches():
                if watch is not None:
                    watch.begin_step()
                    watch.saw(batch)
                self.train(*batch)
                if watch is not None:
                    watch.end_step()
                self.after(len(self.losses))
            with torch.no_grad():
                self.validated.append(functional.mse_loss(self.model(X), Y).item())
        if watch is not None:
            watch.end()

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for indices in torch.randperm(64).split(8):
            yield X[indices] + 0.01 * torch.randn(8, 8), Y[indices]

    def train(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        loss = functional.mse_loss(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        self.losses.append(loss.item())

    def state(self) -> Any:
        return [self.model.state_dict(), self.optimizer.state_dict()]


class ToyWatch(TrainerWatch):
    trainer = "Toy"
    packages = (__name__.partition(".")[0],)


@pytest.fixture
def watch() -> Iterator[ToyWatch]:
    made = ToyWatch(runs=None)
    yield made
    made.close()


def test_a_watched_trainer_equals_the_bare_one(watch: ToyWatch) -> None:
    bare, trainer = ToyTrainer(), ToyTrainer(watch)
    bare.fit()
    trainer.fit()

    assert trainer.losses == bare.losses
    assert trainer.validated == bare.validated
    assert bitwise_equal(trainer.state(), bare.state())
    found = watch.dbg.history.frame(["loss", "samples", "epoch"])
    assert found["loss"].tolist() == bare.losses
    assert found["samples"].iloc[-1] == 3 * 64
    assert found["epoch"].iloc[-1] == 3.0


def test_controls_act_from_the_next_step_on(watch: ToyWatch) -> None:
    bare, trainer = ToyTrainer(), ToyTrainer(watch)

    def change(step: int) -> None:
        if step == 10:
            bare.optimizer.param_groups[0]["lr"] = 1e-3

    bare.after = change
    trainer.after = lambda step: watch.dbg.set(lr=1e-3) if step == 10 else None
    bare.fit()
    trainer.fit()
    assert trainer.losses == bare.losses


def test_a_paused_trainer_waits(watch: ToyWatch) -> None:
    bare, trainer = ToyTrainer(), ToyTrainer(watch)
    bare.fit()
    began = threading.Event()

    def pause(step: int) -> None:
        if step == 5:
            watch.dbg.pause()
            began.set()

    trainer.after = pause
    thread = threading.Thread(target=trainer.fit, daemon=True)
    thread.start()
    assert began.wait(20)
    dbg = watch.dbg
    assert dbg.wait(20)
    stopped = len(trainer.losses)
    # What another cell draws meanwhile is not seen by the trainer.
    torch.randn(5)
    dbg.step(3)
    assert len(trainer.losses) == stopped + 3
    with pytest.raises(nbd.DataError, match="Toy reads its batches itself"):
        dbg.rewind(2)
    with pytest.raises(nbd.ControlValueError, match="Toy reads its batches itself"):
        dbg.set(batch_size=4)
    dbg.set(clip_mode="norm", clip_threshold=1e9)
    dbg.start()
    thread.join(20)
    assert not thread.is_alive()
    assert trainer.losses == bare.losses


def test_the_dashboard_goes_on_with_the_same_model(watch: ToyWatch) -> None:
    trainer = ToyTrainer(watch)
    trainer.fit(1)
    first = watch.dbg
    trainer.fit(1)
    assert watch.dbg is first
    assert first.history.status.step == 2 * STEPS


def test_training_goes_on_after_the_watch_was_closed(watch: ToyWatch) -> None:
    bare, trainer = ToyTrainer(), ToyTrainer(watch)
    trainer.after = lambda step: watch.close() if step == 5 else None
    bare.fit()
    trainer.fit()
    assert trainer.losses == bare.losses


def test_the_batch_size_is_that_of_the_batches(watch: ToyWatch) -> None:
    ToyTrainer(watch).fit()
    assert watch.dbg.controls["batch_size"] == 8


def test_a_trainer_that_never_calls_its_optimizer_is_told(watch: ToyWatch) -> None:
    trainer = ToyTrainer(watch)
    other = torch.optim.Adam(trainer.model.parameters(), lr=1e-2)

    def train(x: torch.Tensor, y: torch.Tensor) -> None:
        other.zero_grad()
        functional.mse_loss(trainer.model(x), y).backward()
        other.step()

    trainer.train = train  # type: ignore[method-assign]
    trainer.fit(2)
    wait_until(lambda: watch.dbg.failure is not None)
    assert f"took {2 * STEPS} batches, and made no update" in watch.dbg.failure.text
    with pytest.raises(nbd.LoopLeft, match="not training: run the cell that trains"):
        watch.dbg.step(1)


def test_nan_leaves_an_update_out_and_pauses(watch: ToyWatch) -> None:
    trainer = ToyTrainer(watch)
    weights: list[Any] = []

    def spoil(step: int) -> None:
        if step == 4:
            trainer.optimizer.zero_grad()
            weights.append([p.detach().clone() for p in trainer.model.parameters()])
            X_nan.fill_(torch.nan)

    X_nan = torch.zeros(1)
    original = trainer.train
    trainer.train = lambda x, y: original(x + X_nan, y)  # type: ignore[method-assign]
    trainer.after = spoil
    thread = threading.Thread(target=trainer.fit, daemon=True)
    thread.start()
    while not weights:
        thread.join(0.01)
    assert watch.dbg.wait(20)
    assert watch.dbg.history.status.step == 4
    assert bitwise_equal([p.detach() for p in trainer.model.parameters()], weights[0])
    X_nan.zero_()
    watch.dbg.start()
    thread.join(20)
    assert not thread.is_alive()
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())


def test_what_logs_no_number_is_left_out(watch: ToyWatch) -> None:
    trainer = ToyTrainer(watch)
    given: Any = {"loss": 3.0, "lr": 7.0, "a (b)": 1.0, "text": "x", "pair": torch.ones(2), "": 1.0}
    trainer.after = lambda step: watch.log(**given, good=float(step))
    trainer.fit(1)
    found = watch.dbg.history.frame(["loss", "lr", "a _b_", "good"])
    assert found["loss"].tolist() == trainer.losses
    assert found["lr"].tolist() == [1e-2] * STEPS
    assert found["a _b_"].tolist() == [1.0] * STEPS
    assert found["good"].tolist() == [float(n) for n in range(1, STEPS + 1)]


def test_a_batch_without_an_update_belongs_to_the_next_step(watch: ToyWatch) -> None:
    trainer = ToyTrainer(watch)

    def train(x: torch.Tensor, y: torch.Tensor) -> None:
        loss = functional.mse_loss(trainer.model(x), y)
        loss.backward()
        trainer.losses.append(loss.item())
        if len(trainer.losses) % 3 == 0:
            trainer.optimizer.step()

    trainer.train = train  # type: ignore[method-assign]
    trainer.fit(3)
    found = watch.dbg.history.frame(["samples"])["samples"].tolist()
    assert found == [24.0 * n for n in range(1, 9)]


def test_a_loop_that_is_ended_between_two_passes_ends(watch: ToyWatch) -> None:
    trainer = ToyTrainer(watch)
    trainer.validated = Ending(watch)
    with pytest.raises(LoopEnded):
        trainer.fit(3)
    assert len(trainer.losses) == STEPS
    # The next training of this thread is another one.
    trainer.validated = []
    trainer.fit(1)
    assert len(trainer.losses) == 2 * STEPS


class Ending(list[float]):
    def __init__(self, watch: TrainerWatch) -> None:
        self.watch = watch

    def append(self, value: float) -> None:
        self.watch.dbg.end_loop()


def test_whatever_fails_in_nbdebug_does_not_end_a_training(
    watch: ToyWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("a fault of nbdebug")

    monkeypatch.setattr("nbdebug.integrations.base.watched", fail)
    bare, trainer = ToyTrainer(), ToyTrainer(watch)
    bare.fit()
    with pytest.warns(UserWarning, match="Toy trains without nbdebug: RuntimeError: a fault"):
        trainer.fit()
    assert trainer.losses == bare.losses


def test_the_dashboard_is_asked_for_too_early(watch: ToyWatch) -> None:
    with pytest.raises(nbd.ArgumentError, match="Toy has not begun to train"):
        _ = watch.dbg


def test_a_training_in_several_processes_is_not_watched(
    watch: ToyWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare, trainer = ToyTrainer(), ToyTrainer(watch)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    bare.fit()
    with pytest.warns(UserWarning, match="Toy trains without nbdebug: .*several processes"):
        trainer.fit()
    assert trainer.losses == bare.losses
    with pytest.raises(nbd.ArgumentError, match="several processes"):
        _ = watch.dbg


def test_two_trainers_of_one_process_are_watched_at_once() -> None:
    bare = ToyTrainer()
    bare.fit()
    trainers = [ToyTrainer(ToyWatch(runs=None)) for _ in range(2)]
    for trainer in trainers:
        trainer.batches = same_batches  # type: ignore[method-assign]
        trainer.model[2].p = 0.0  # type: ignore[assignment, union-attr]
    threads = [threading.Thread(target=one.fit, daemon=True) for one in trainers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert trainers[0].losses == trainers[1].losses
    for trainer in trainers:
        assert trainer.watch is not None
        assert trainer.watch.dbg.history.status.step == 3 * STEPS
        trainer.watch.close()


def same_batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for indices in torch.arange(64).split(8):
        yield X[indices], Y[indices]


@pytest.mark.parametrize(
    ("trainer", "package"),
    [("skorch", "skorch"), ("ignite", "ignite"), ("keras", "keras"), ("fastai", "fastai")],
)
def test_a_package_that_is_missing_is_named(
    trainer: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"nbdebug.integrations.{trainer}"
    monkeypatch.delitem(sys.modules, name, raising=False)
    for one in list(sys.modules):
        if one.partition(".")[0] == package:
            monkeypatch.delitem(sys.modules, one)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(nbd.MissingPackageError, match="Install it with: pip install"):
        importlib.import_module(name)


def test_commands_wait_for_a_trainer_that_is_on_its_own(watch: ToyWatch) -> None:
    trainer, answered, early = ToyTrainer(watch), threading.Event(), list[bool]()

    def ask() -> None:
        with pytest.raises(nbd.DataError):
            watch.dbg.rewind(2)
        answered.set()

    def after(step: int) -> None:
        if step == 5:
            threading.Thread(target=ask, daemon=True).start()
            # What a command restores may be what the trainer writes now, such as a schedule.
            early.append(answered.wait(0.2))

    trainer.after = after
    trainer.fit()
    assert answered.wait(20)
    assert early == [False]


def test_the_cell_that_trains_runs_in_a_thread_before_there_is_a_dashboard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell(config=config)
    monkeypatch.setattr(getipython, "get_ipython", lambda: shell)
    trainer = ToyTrainer(ToyWatch(runs=None, show=False))
    threads = list[int]()
    trainer.after = lambda step: threads.append(threading.get_ident())
    shell.user_ns["fit"] = trainer.fit
    shell.run_cell_magic("nbd", "", "fit()")
    assert trainer.watch is not None
    wait_until(lambda: len(threads) == 3 * STEPS)
    assert threading.get_ident() not in threads
    trainer.watch.close()


def test_the_dashboard_is_waited_for_right_after_a_cell_that_trains(
    watch: ToyWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, begins = ToyTrainer(watch), threading.Event()

    def later() -> None:
        assert begins.wait(20)
        trainer.fit()

    thread = threading.Thread(target=later, daemon=True)
    monkeypatch.setattr(base, "cell_runs", thread.is_alive)
    thread.start()
    threading.Timer(0.2, begins.set).start()
    assert watch.dbg.history.status.step >= 0
    thread.join(20)
    assert len(trainer.losses) == 3 * STEPS


def test_what_measuring_raises_for_a_trainer_does_not_end_it(
    watch: ToyWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("no norm of this")

    bare, trainer = ToyTrainer(), ToyTrainer(watch)
    bare.fit()
    original = trainer.train

    def train(x: torch.Tensor, y: torch.Tensor) -> None:
        watch.measure()
        original(x, y)

    trainer.train = train  # type: ignore[method-assign]
    monkeypatch.setattr(updates, "Gradients", fails)
    trainer.fit()
    assert trainer.losses == bare.losses


@pytest.mark.parametrize("where", ["between steps", "in a step"])
@pytest.mark.parametrize("raises", [False, True])
def test_a_training_inside_of_the_watched_one_is_left_alone(
    watch: ToyWatch, where: str, raises: bool
) -> None:
    runs = []
    for given in (None, watch):
        outer, inner = ToyTrainer(given), ToyTrainer(given)
        once = [9]

        def nested(step: int, inner: ToyTrainer = inner, once: list[int] = once) -> None:
            if step in once and not inner.losses:
                state = torch.random.get_rng_state()
                if raises:
                    inner.after = lambda step: 1 // (4 - step) and None
                with contextlib.suppress(ZeroDivisionError):
                    inner.fit()
                torch.random.set_rng_state(state)

        if where == "between steps":
            outer.after = nested
        else:
            train = outer.train

            def trains(
                *batch: Any, train: Any = train, outer: Any = outer, n: Any = nested
            ) -> None:
                n(len(outer.losses))
                train(*batch)

            outer.train = trains  # type: ignore[method-assign]
        if given is None:
            outer.fit()
        else:
            with pytest.warns(UserWarning, match="began inside of the one that is watched") as seen:
                outer.fit()
            assert len(seen) == 1
        runs.append((outer, inner))
    (plain, plain_inner), (outer, inner) = runs
    assert outer.losses == plain.losses
    assert inner.losses == plain_inner.losses
    assert bitwise_equal(outer.state(), plain.state())
    assert bitwise_equal(inner.state(), plain_inner.state())
    assert watch.dbg.history.frame("loss")["loss"].tolist() == plain.losses


def test_one_training_after_the_other_is_watched_in_one_function(watch: ToyWatch) -> None:
    for _ in range(2):
        trainer = ToyTrainer(watch)
        trainer.after = lambda step: 1 // (4 - step) and None
        with pytest.raises(ZeroDivisionError):
            trainer.fit()
    trainer = ToyTrainer(watch)
    trainer.fit()
    assert watch.dbg.history.frame("loss")["loss"].tolist() == trainer.losses
