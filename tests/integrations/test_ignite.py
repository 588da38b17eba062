"""An engine of PyTorch-Ignite is watched by what is attached to it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.integrations.live import Trigger, paused

pytest.importorskip("ignite")
from ignite.engine import (
    Engine,
    Events,
    create_supervised_evaluator,
    supervised_training_step,
)
from ignite.handlers import (
    CosineAnnealingScheduler,
    LRScheduler,
    PiecewiseLinear,
    create_lr_scheduler_with_warmup,
)
from ignite.metrics import MeanSquaredError

from nbdebug.integrations.ignite import Watch

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
X = torch.randn(80, 8, generator=torch.Generator().manual_seed(0))
Y = X.sum(1, keepdim=True).sin()
PER_EPOCH, EPOCHS = 10, 5


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.drop, self.last = nn.Linear(8, 16), nn.Dropout(0.2), nn.Linear(16, 1)
        self.scale = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.drop(self.first(x).relu())) * self.scale


class Program:
    """A training program of Ignite, with a schedule, clipping and validation."""

    def __init__(self, watched: bool = False, schedule: str = "torch", accumulate: int = 1) -> None:
        torch.manual_seed(0)
        self.model, self.losses, self.validated = Net(), list[float](), list[float]()
        self.accumulate = accumulate
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-2)
        self.trainer = Engine(self.train)
        self.evaluator = create_supervised_evaluator(self.model, {"mse": MeanSquaredError()})
        self.watch = Watch(self.model, self.optimizer, runs=None)
        if watched:
            self.watch.attach(self.trainer)
            self.watch.attach_metrics(self.evaluator)
        if schedule:
            self.trainer.add_event_handler(Events.ITERATION_STARTED, self.schedule(schedule))
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED(every=7), self.validate)
        self.clips: tuple[float, ...] = (0.5,)

    def schedule(self, kind: str) -> Any:
        if kind == "cosine":
            return CosineAnnealingScheduler(self.optimizer, "lr", 1e-2, 1e-3, 30)
        if kind == "linear":
            return PiecewiseLinear(self.optimizer, "lr", [(0, 1e-2), (30, 1e-3)])
        inner = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 40)
        if kind == "warmup":
            return create_lr_scheduler_with_warmup(inner, 1e-3, 10)
        return LRScheduler(inner)

    def train(self, engine: Engine, batch: Any) -> float:
        x, y = batch
        self.model.train()
        if (engine.state.iteration - 1) % self.accumulate == 0:
            self.optimizer.zero_grad()
        loss = functional.mse_loss(self.model(x), y) / self.accumulate
        loss.backward()
        if engine.state.iteration % self.accumulate == 0:
            for clip in self.clips:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip)
            self.optimizer.step()
        self.losses.append(loss.item())
        return loss.item()

    def validate(self, engine: Engine) -> None:
        state = self.evaluator.run([(X, Y)])
        self.validated.append(state.metrics["mse"])

    def after(self, act: Callable[..., Any]) -> None:
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, act)

    def run(self, epochs: int = EPOCHS, **given: Any) -> Program:
        torch.manual_seed(1)
        loader = DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True)
        self.trainer.run(loader, max_epochs=epochs, **given)
        return self

    def results(self) -> list[Any]:
        state = [self.model.state_dict(), self.optimizer.state_dict()["state"]]
        return [*state, self.losses, self.validated]

    @property
    def lr(self) -> float:
        return self.optimizer.param_groups[0]["lr"]

    @property
    def dbg(self) -> Any:
        return self.watch.dbg


@pytest.fixture
def program() -> Iterator[Callable[..., Program]]:
    made = list[Program]()

    def make(**given: Any) -> Program:
        made.append(Program(watched=True, **given))
        return made[-1]

    yield make
    for one in made:
        one.watch.close()


Make = Callable[..., Program]


@pytest.mark.parametrize("schedule", ["torch", "cosine", "linear", "warmup"])
def test_a_watched_engine_equals_the_bare_one(program: Make, schedule: str) -> None:
    bare, seen = Program(schedule=schedule).run(), program(schedule=schedule).run()
    assert bitwise_equal(seen.results(), bare.results())
    found = seen.dbg.history.frame(["loss", "samples", "epoch", "val_mse", "grad_norm"])
    assert found["loss"].dropna().tolist() == bare.losses
    assert found["samples"].iloc[-1] == EPOCHS * 80
    assert found["epoch"].iloc[-1] == EPOCHS
    assert found["val_mse"].dropna().tolist() == pytest.approx(bare.validated)
    assert found["grad_norm"].max() > 0.5


def test_an_update_of_several_batches_is_one_step(program: Make) -> None:
    bare, seen = Program(accumulate=3).run(), program(accumulate=3).run()
    assert bitwise_equal(seen.results(), bare.results())
    found = seen.dbg.history.frame(["loss", "samples", "epoch"]).dropna()
    assert len(found) == 50 // 3
    assert found["loss"].tolist() == pytest.approx(
        [sum(bare.losses[i : i + 3]) for i in range(0, 48, 3)]
    )
    assert found["samples"].tolist() == [24 * (i + 1) for i in range(16)]
    assert found["epoch"].iloc[-1] == pytest.approx(4.8)


def test_the_training_step_of_ignite_with_accumulation(program: Make) -> None:
    def run(seen: Program) -> Program:
        step = supervised_training_step(
            seen.model, seen.optimizer, functional.mse_loss, gradient_accumulation_steps=2
        )
        seen.trainer = Engine(step)
        if seen.watch is not bare_watch:
            seen.watch = Watch(seen.model, seen.optimizer, runs=None)
            seen.watch.attach(seen.trainer)
        return seen.run()

    bare = Program()
    bare_watch = bare.watch
    bare, seen = run(bare), run(program())
    assert bitwise_equal(seen.results(), bare.results())
    assert seen.dbg.history.status.step == 25


@pytest.mark.parametrize("schedule", ["torch", "cosine", "linear", "warmup"])
def test_a_learning_rate_lasts_under_the_schedule(program: Make, schedule: str) -> None:
    rates = {True: list[float](), False: list[float]()}
    bare, seen = Program(schedule=schedule), program(schedule=schedule)
    for one in (bare, seen):
        one.trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda _, one=one: rates[one is seen].append(one.lr)
        )
    seen.after(Trigger(20, lambda: seen.dbg.set(lr=seen.lr / 2)))
    bare.run()
    seen.run()
    assert rates[True][:20] == rates[False][:20]
    # That of step 21 was written before the change; the change is of the one of step 20.
    assert rates[True][21:] == pytest.approx(
        [rate * rates[True][20] / rates[False][20] for rate in rates[False][21:]], rel=2e-2
    )
    # What was asked for at step 20 holds at step 21, whatever the schedule wrote for it.
    assert rates[True][20] == pytest.approx(rates[False][19] / 2, rel=2e-2)


def test_a_scheduler_of_your_own_handler_is_given(program: Make) -> None:
    seen = program(schedule="")
    seen.watch.close()
    inner = torch.optim.lr_scheduler.LinearLR(seen.optimizer, 1.0, 0.5, 40)
    seen.trainer = Engine(seen.train)
    seen.watch = Watch(seen.model, seen.optimizer, schedulers=[inner], runs=None)
    seen.watch.attach(seen.trainer)
    seen.after(lambda _: inner.step())
    seen.after(Trigger(20, lambda: seen.dbg.set(lr=seen.lr / 2)))
    seen.run()
    assert seen.lr == pytest.approx(0.5e-2 / 2)


def test_changes_equal_the_same_ones_by_hand(program: Make) -> None:
    bare, seen = Program(schedule=""), program(schedule="")

    def change() -> None:
        bare.optimizer.param_groups[0]["lr"] = 1e-3
        bare.clips += (0.05,)

    bare.after(Trigger(20, change))
    seen.after(Trigger(20, lambda: seen.dbg.set(lr=1e-3, clip_mode="norm", clip_threshold=0.05)))
    assert bitwise_equal(seen.run().results(), bare.run().results())


def test_a_paused_engine_steps_and_refuses_to_go_back(program: Make) -> None:
    bare, seen = Program().run(), program()
    trigger = Trigger(13, lambda: None)
    seen.after(trigger)
    with paused(seen.watch, seen.run, trigger):
        seen.dbg.step(3)
        assert seen.dbg.history.status.step == 16
        with pytest.raises(nbd.DataError, match="Ignite reads its batches itself"):
            seen.dbg.rewind(2)
        with pytest.raises(nbd.ControlValueError, match="Ignite reads its batches itself"):
            seen.dbg.set(batch_size=4)
        # Its first steps are computed again; without loss= nothing else can be.
        assert seen.dbg.check("shapes")["shapes"].status == "pass"
        assert "cannot repeat" in seen.dbg.check("mixed_targets")["mixed_targets"].seen
    assert bitwise_equal(seen.results(), bare.results())


def test_nan_leaves_an_update_out_and_pauses(program: Make) -> None:
    seen, weights = program(), list[Any]()

    def spoil(engine: Engine) -> None:
        if engine.state.iteration == 11:
            weights.append(copy.deepcopy(seen.model.state_dict()))
            seen.model.scale = float("nan")
            trigger.reached.set()

    trigger = Trigger(-1, lambda: None)
    seen.after(spoil)
    with paused(seen.watch, seen.run, trigger):
        assert seen.dbg.history.status.step == 11
        assert bitwise_equal(seen.model.state_dict(), weights[0])
        seen.model.scale = 1.0
    assert all(torch.isfinite(p).all() for p in seen.model.parameters())
    assert seen.trainer.state.epoch == EPOCHS


def test_an_interrupted_engine_goes_on_in_its_epoch(program: Make) -> None:
    def interrupt(one: Program) -> None:
        one.trainer.add_event_handler(
            Events.ITERATION_COMPLETED(once=15), lambda engine: engine.interrupt()
        )

    bare, seen = Program(), program()
    if not Engine.interrupt_resume_enabled:
        pytest.skip("Ignite does not resume here")
    for one in (bare, seen):
        interrupt(one)
        one.run()
        one.trainer.run()
    assert bitwise_equal(seen.results(), bare.results())
    found = seen.dbg.history.frame(["epoch"])["epoch"].dropna().tolist()
    assert found == pytest.approx([(i + 1) / 10 for i in range(50)])


def test_an_engine_goes_on_from_its_state(program: Make) -> None:
    seen = program()
    seen.trainer.load_state_dict({"epoch": 3, "epoch_length": 10, "max_epochs": 5})
    seen.run()
    found = seen.dbg.history.frame(["epoch"])["epoch"].dropna()
    assert found.iloc[0] == pytest.approx(3.1)
    assert found.iloc[-1] == 5


def test_two_runs_go_on_with_one_dashboard(program: Make) -> None:
    seen = program().run(1)
    first = seen.dbg
    seen.trainer.state.max_epochs = None
    seen.run(1)
    assert seen.dbg is first
    assert first.history.status.step == 20


@pytest.mark.parametrize("end", ["terminate", "terminate_epoch", "interrupt"])
def test_training_that_ends_early_ends_its_watch(program: Make, end: str) -> None:
    bare, seen = Program(), program()
    for one in (bare, seen):
        one.after(Trigger(13, getattr(one.trainer, end)))
        one.run()
    assert bitwise_equal(seen.results(), bare.results())
    assert seen.dbg.wait(10)


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_an_error_passes(program: Make, kind: type[BaseException]) -> None:
    seen = program()

    def fail() -> None:
        raise kind("stop")

    seen.after(Trigger(12, fail))
    with pytest.raises(kind, match="stop"):
        seen.run()
    assert seen.dbg.wait(10)
    assert seen.dbg.history.status.step == 12
    seen.trainer.state.max_epochs = None
    seen.run(1)
    assert seen.dbg.history.status.step == 22


def test_an_engine_runs_on_when_its_watch_is_closed_while_it_is_paused(program: Make) -> None:
    seen, trigger = program(), Trigger(12, lambda: None)
    seen.after(trigger)
    with paused(seen.watch, seen.run, trigger) as thread:
        seen.dbg.close()
        thread.join(20)
        assert not thread.is_alive()
        seen.dbg.start = lambda: None
    assert bitwise_equal(seen.results(), Program().run().results())


def test_another_optimizer_is_told(program: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbdebug.integrations.ignite.MAX_BATCHES", 20)
    seen = program(schedule="")
    other = torch.optim.Adam(seen.model.parameters(), lr=1e-2)
    seen.optimizer = other
    with pytest.warns(UserWarning, match="20 iterations went by without an update"):
        seen.run()
    bare = Program(schedule="")
    assert bitwise_equal(seen.results(), bare.run().results())


def test_what_is_no_engine_is_refused(program: Make) -> None:
    seen = program()
    with pytest.raises(nbd.ArgumentError, match="Engine that trains; got a Net"):
        seen.watch.attach(seen.model)
    with pytest.raises(nbd.ArgumentError, match="another engine"):
        seen.watch.attach(seen.evaluator)
    seen.watch.attach(seen.trainer)


def test_an_optimizer_of_another_model_is_told(program: Make) -> None:
    seen = program()
    other = Watch(Net(), seen.optimizer, runs=None)
    seen.trainer = Engine(seen.train)
    other.attach(seen.trainer)
    with pytest.warns(UserWarning, match="Ignite trains without nbdebug"):
        seen.run()


def test_a_watch_is_copied_and_pickled(program: Make) -> None:
    seen = program().run(1)
    for twin in (copy.deepcopy(seen.watch), pickle.loads(pickle.dumps(seen.watch))):
        with pytest.raises(nbd.ArgumentError, match="not begun"):
            _ = twin.dbg
