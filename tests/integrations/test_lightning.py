"""A Lightning Trainer that is watched trains as it does alone, and takes controls."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.draw import some
from tests.integrations.live import stopped_by_failure

L = pytest.importorskip("lightning.pytorch")
watching = nbd.integrations.lightning

pytestmark = [
    # Of Lightning and what it imports; nbdebug itself warns as UserWarning of its own module.
    pytest.mark.filterwarnings("ignore::Warning:lightning"),
    pytest.mark.filterwarnings("ignore::Warning:pytorch_lightning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
STEPS, BATCH = 10, 8
X = torch.randn(STEPS * BATCH, 8, generator=torch.Generator().manual_seed(1))
Y = X.sum(1, keepdim=True).sin()
DATA = TensorDataset(X, Y)
QUIET = {
    "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
    "enable_model_summary": False, "accelerator": "cpu",
}  # fmt: skip


class Module(L.LightningModule):  # type: ignore[misc, name-defined]
    """Calls `after` behind each batch, and keeps its losses."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1)
        )
        self.losses: list[float] = []
        self.batches: list[Any] = []
        self.nan_at = -1
        self.after: Callable[[int], None] = lambda step: None

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        loss = functional.mse_loss(self.net(x), y)
        if self.trainer.fit_loop.total_batch_idx == self.nan_at:
            loss = loss * torch.nan
        self.losses.append(loss.item())
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        self.log("loss", loss)
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        self.after(len(self.losses))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.log("val_loss", functional.mse_loss(self.net(x), y))
        self.log("F1 (macro)", 0.5)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


class Manual(Module):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx) / 2
        self.manual_backward(loss)
        if batch_idx % 2:
            optimizer = self.optimizers()
            self.clip_gradients(optimizer, gradient_clip_val=0.5)
            optimizer.step()
            optimizer.zero_grad()
            self.lr_schedulers().step()


class Gan(L.LightningModule):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 8))
        self.critic = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
        self.losses: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> None:
        first, second = self.optimizers()
        fake = self.generator(torch.randn(8, 4))
        loss = -self.critic(fake).mean()
        first.zero_grad()
        self.manual_backward(loss)
        first.step()
        self.losses.append(loss.item())
        second.zero_grad()
        self.manual_backward(self.critic(fake.detach()).mean() - self.critic(batch[0]).mean())
        second.step()

    def configure_optimizers(self) -> Any:
        return (
            torch.optim.Adam(self.generator.parameters(), 1e-3),
            torch.optim.Adam(self.critic.parameters(), 1e-3),
        )


class Fit:
    """A training with its trainer, which may be watched."""

    def __init__(self, watch: Any = None, kind: type[Any] = Module, **arguments: Any) -> None:
        torch.manual_seed(0)
        self.module = kind()
        callbacks = [] if watch is None else [watch]
        self.trainer = L.Trainer(callbacks=callbacks, **{"max_epochs": 3, **QUIET, **arguments})

    def run(self, validate: bool = True, **arguments: Any) -> Fit:
        torch.manual_seed(0)
        held_out = DataLoader(DATA, 40) if validate else None
        self.trainer.fit(self.module, DataLoader(DATA, BATCH, shuffle=True), held_out, **arguments)
        return self

    def state(self) -> Any:
        optimizers = [one.state_dict() for one in self.trainer.optimizers]
        schedules = [one.scheduler.state_dict() for one in self.trainer.lr_scheduler_configs]
        return [self.module.state_dict(), optimizers, schedules]

    def equals(self, other: Fit) -> bool:
        return (
            self.module.losses == other.module.losses
            and bitwise_equal(self.state(), other.state())
            and bitwise_equal(dict(self.trainer.logged_metrics), dict(other.trainer.logged_metrics))
        )


@pytest.fixture
def watch() -> Iterator[Any]:
    made = watching.Watch(runs=None)
    yield made
    made.close()


def frame(watch: Any, *names: str) -> Any:
    return watch.dbg.history.frame(list(names))


SETTINGS = {
    "plain": {},
    "clipped": {"gradient_clip_val": 0.5},
    "clipped by value": {"gradient_clip_val": 0.1, "gradient_clip_algorithm": "value"},
    "accumulated": {"accumulate_grad_batches": 3},
    "validated in the middle": {"val_check_interval": 4, "accumulate_grad_batches": 3},
    "bfloat16": {"precision": "bf16-mixed"},
    "ended by steps": {"max_steps": 13, "max_epochs": -1},
    "few batches": {"limit_train_batches": 4, "num_sanity_val_steps": 0},
}


@pytest.mark.soak
@pytest.mark.parametrize("name", some(SETTINGS, 2))
def test_a_watched_trainer_equals_the_bare_one(watch: Any, name: str) -> None:
    bare, trained = Fit(**SETTINGS[name]).run(), Fit(watch, **SETTINGS[name]).run()
    assert trained.equals(bare)
    assert watch.dbg.state == "paused"


def test_manual_optimization_equals_the_bare_one(watch: Any) -> None:
    bare, trained = Fit(kind=Manual).run(), Fit(watch, Manual).run()
    assert trained.equals(bare)
    found = frame(watch, "loss", "samples", "grad_norm")
    losses = torch.tensor(bare.module.losses).reshape(-1, 2) / 2
    assert found["loss"].tolist() == pytest.approx(losses.sum(1).tolist(), abs=1e-6)
    assert found["samples"].tolist() == [16.0 * n for n in range(1, 16)]


def test_loss_gradients_and_progress_are_those_of_the_training(watch: Any) -> None:
    bare = Fit(gradient_clip_val=1e-3).run()
    Fit(watch, gradient_clip_val=1e-3).run()
    found = frame(watch, "loss", "grad_norm", "samples", "epoch", "train_loss_step", "lr")
    assert found["loss"].tolist() == bare.module.losses
    assert found["train_loss_step"].tolist() == bare.module.losses
    # Before the clipping of the trainer.
    assert (found["grad_norm"] > 1e-2).all()
    assert found["samples"].tolist() == [8.0 * n for n in range(1, 31)]
    assert found["epoch"].tolist() == pytest.approx([n / 10 for n in range(1, 31)])


def test_an_accumulated_step_has_all_its_batches(watch: Any) -> None:
    bare = Fit(accumulate_grad_batches=4, max_epochs=2).run()
    Fit(watch, accumulate_grad_batches=4, max_epochs=2).run()
    found = frame(watch, "loss", "samples", "epoch")
    losses = torch.tensor(bare.module.losses).reshape(2, 10) / 4
    wanted = [part.sum().item() for row in losses for part in row.split(4)]
    assert found["loss"].tolist() == pytest.approx(wanted, abs=1e-6)
    assert found["samples"].tolist() == [32, 64, 80, 112, 144, 160]
    assert found["epoch"].tolist() == pytest.approx([0.4, 0.8, 1, 1.4, 1.8, 2])


def test_what_the_module_logs_is_shown(watch: Any) -> None:
    trained = Fit(watch, max_epochs=2).run()
    found = frame(watch, "val_loss", "train_loss_epoch", "F1 _macro_")
    assert found["val_loss"].dropna().index.tolist() == [9, 19]
    wanted = trained.trainer.logged_metrics
    assert found["val_loss"].iloc[-1] == pytest.approx(wanted["val_loss"].item())
    assert found["train_loss_epoch"].iloc[-1] == pytest.approx(wanted["train_loss_epoch"].item())


def test_lr_that_is_changed_lasts_under_the_scheduler(watch: Any) -> None:
    bare, trained = Fit(), Fit(watch)

    def halve(step: int) -> None:
        if step == 12:
            config = bare.trainer.lr_scheduler_configs[0].scheduler
            config.base_lrs = [lr / 2 for lr in config.base_lrs]
            config.optimizer.param_groups[0]["lr"] /= 2

    def change(step: int) -> None:
        if step == 12:
            watch.dbg.set(lr=trained.trainer.optimizers[0].param_groups[0]["lr"] / 2)

    bare.module.after, trained.module.after = halve, change
    bare.run()
    trained.run()
    assert trained.module.losses == bare.module.losses
    assert trained.trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(
        bare.trainer.optimizers[0].param_groups[0]["lr"]
    )


def test_clipping_that_is_changed_acts_from_the_next_step_on(watch: Any) -> None:
    bare, trained = Fit(), Fit(watch)

    def clip(step: int) -> None:
        if step == 12:
            bare.trainer.gradient_clip_val = 0.1

    def change(step: int) -> None:
        if step == 12:
            watch.dbg.set(clip_mode="norm", clip_threshold=0.1)

    bare.module.after, trained.module.after = clip, change
    bare.run()
    trained.run()
    assert trained.module.losses == bare.module.losses
    assert frame(watch, "clipped")["clipped"].iloc[12:].mean() > 0.5


def in_thread(run: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_a_paused_trainer_waits(watch: Any) -> None:
    bare, trained, paused = Fit().run(), Fit(watch), threading.Event()

    def pause(step: int) -> None:
        if step == 5:
            watch.dbg.pause()
            paused.set()

    trained.module.after = pause
    thread = in_thread(trained.run)
    assert paused.wait(20)
    dbg = watch.dbg
    assert dbg.wait(20)
    before = len(trained.module.losses)
    dbg.step(3)
    assert len(trained.module.losses) == before + 3
    for refused in (lambda: dbg.rewind(2), dbg.fork, dbg.replay):
        with pytest.raises(nbd.NbdebugError, match="Lightning reads its batches itself"):
            refused()
    with pytest.raises(nbd.ControlValueError, match="Lightning reads its batches itself"):
        dbg.set(batch_size=4)
    dbg.start()
    thread.join(20)
    assert not thread.is_alive()
    assert trained.equals(bare)


def test_a_trainer_that_waits_goes_on_when_the_watch_is_closed(watch: Any) -> None:
    bare, trained, paused = Fit().run(), Fit(watch), threading.Event()

    def pause(step: int) -> None:
        if step == 5:
            watch.dbg.pause()
            paused.set()

    trained.module.after = pause
    thread = in_thread(trained.run)
    assert paused.wait(20)
    assert watch.dbg.wait(20)
    watch.close()
    thread.join(20)
    assert not thread.is_alive()
    assert trained.equals(bare)


def test_a_loop_is_ended_from_outside(watch: Any) -> None:
    trained, paused, seen = Fit(watch), threading.Event(), list[BaseException]()

    def pause(step: int) -> None:
        if step == 5:
            watch.dbg.pause()
            paused.set()

    def run() -> None:
        try:
            trained.run()
        except BaseException as error:
            seen.append(error)

    trained.module.after = pause
    thread = in_thread(run)
    assert paused.wait(20)
    assert watch.dbg.wait(20)
    watch.dbg.end_loop()
    thread.join(20)
    assert type(seen[0]).__name__ == "LoopEnded"
    assert len(trained.module.losses) == 5


def test_nan_leaves_an_update_out_and_pauses(watch: Any) -> None:
    trained = Fit(watch)
    trained.module.nan_at = 7
    thread = in_thread(trained.run)
    stopped_by_failure(watch)
    assert watch.dbg.history.status.step == 7
    assert watch.dbg.failure.kind == "non_finite"
    watch.dbg.start()
    thread.join(20)
    assert not thread.is_alive()
    # What the step that failed put on the module is as before it.
    assert len(trained.module.losses) == 29
    assert all(torch.isfinite(p).all() for p in trained.module.parameters())
    # The trainer counts the step that was left out.
    assert trained.trainer.global_step == 30


def test_dropout_and_freezing_are_live(watch: Any) -> None:
    trained, kept = Fit(watch), list[Any]()

    def change(step: int) -> None:
        if step == 5:
            watch.dbg.set(dropout=0.5, frozen={"net.0": "frozen"})
        if step == 7:
            kept.append(trained.module.net[0].weight.detach().clone())

    trained.module.after = change
    trained.run()
    assert trained.module.net[3].p == 0.5
    assert torch.equal(trained.module.net[0].weight, kept[0])


def test_several_optimizers_are_watched(watch: Any) -> None:
    bare, trained = Fit(kind=Gan).run(False), Fit(watch, Gan)
    trained.run(False)
    assert trained.equals(bare)
    found = frame(watch, "loss/generator", "loss/critic", "grad_norm/critic", "lr/critic")
    assert found["loss/generator"].tolist() == bare.module.losses
    assert found["grad_norm/critic"].min() > 0
    watch.dbg.set(lr={"critic": 5e-4})
    assert trained.trainer.optimizers[1].param_groups[0]["lr"] == 5e-4


def test_the_scale_of_a_scaler_is_taken_out(watch: Any) -> None:
    def plugins() -> Any:
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        return L.plugins.MixedPrecision("16-mixed", "cpu", scaler)

    bare = Fit(plugins=plugins(), gradient_clip_val=0.5).run()
    trained = Fit(watch, plugins=plugins(), gradient_clip_val=0.5).run()
    assert trained.equals(bare)
    found = frame(watch, "loss", "grad_norm")
    assert found["loss"].tolist() == pytest.approx(bare.module.losses, rel=1e-3)
    assert (found["grad_norm"] < 100).all()


class Failing(Module):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if len(self.losses) == 5:
            raise ValueError("a fault of the user")
        return super().training_step(batch, batch_idx)


class Leaving(Module):
    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        return -1 if batch_idx == 4 else None


class WithoutLoss(Module):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        return None if batch_idx == 4 else loss


class Impatient(Module):
    def on_train_batch_end(self, *_: Any) -> None:
        self.trainer.should_stop = len(self.losses) >= 7


def test_an_exception_ends_the_loop(watch: Any) -> None:
    with pytest.raises(ValueError, match="a fault of the user"):
        Fit(watch, Failing).run()
    assert watch.dbg.wait(20)
    assert watch.dbg.history.status.step == 5
    with pytest.raises(nbd.LoopLeft):
        watch.dbg.step(1)


@pytest.mark.parametrize("kind", [Leaving, WithoutLoss, Impatient])
@pytest.mark.parametrize("each", [1, 3])
def test_steps_that_are_left_out_do_no_harm(watch: Any, kind: type[Any], each: int) -> None:
    bare = Fit(kind=kind, accumulate_grad_batches=each).run()
    trained = Fit(watch, kind, accumulate_grad_batches=each).run()
    assert trained.equals(bare)
    assert watch.dbg.wait(20)


def test_a_trainer_that_trains_twice_is_watched_twice(watch: Any) -> None:
    bare, trained = Fit(), Fit(watch)
    for one in (bare, trained):
        one.run()
        one.trainer.fit_loop.max_epochs = 5
        one.run()
    assert trained.equals(bare)
    assert watch.dbg.history.status.step == 20


def test_a_training_is_resumed_from_a_checkpoint(watch: Any, tmp_path: Any) -> None:
    path = str(tmp_path / "a.ckpt")

    class Saving(Module):
        def on_train_batch_end(self, *_: Any) -> None:
            if len(self.losses) == 14:
                self.trainer.save_checkpoint(path, weights_only=False)

    first = Fit(watch, Saving).run()
    assert first.module.losses[29:]
    bare = Fit().run(ckpt_path=path)
    trained = Fit(watch).run(ckpt_path=path)
    assert trained.equals(bare)
    assert frame(watch, "epoch")["epoch"].iloc[-1] == 3.0


def test_validation_test_and_prediction_alone_make_no_dashboard(watch: Any) -> None:
    fit = Fit(watch)
    fit.trainer.validate(fit.module, DataLoader(DATA, 40), verbose=False)
    with pytest.raises(nbd.ArgumentError, match="Lightning has not begun to train"):
        _ = watch.dbg


def test_copies_of_the_callback_watch_nothing_yet(watch: Any, tmp_path: Any) -> None:
    trained = Fit(watch).run()
    for made in (copy.deepcopy(watch), pickle.loads(pickle.dumps(watch))):
        assert isinstance(made, L.Callback)
        with pytest.raises(nbd.ArgumentError, match="has not begun"):
            _ = made.dbg
    assert watch.dbg.history.status.step == 30
    path = str(tmp_path / "a.ckpt")
    trained.trainer.save_checkpoint(path, weights_only=False)
    assert "Watch" not in str(torch.load(path, weights_only=False)["callbacks"])


def test_two_trainers_are_watched_at_a_time() -> None:
    bare, made = Fit().run(), [watching.Watch(runs=None) for _ in range(2)]
    fits = [Fit(one) for one in made]
    inner: list[Fit] = []

    def train_another(step: int) -> None:
        if step == 5:
            kept = torch.get_rng_state()
            inner.append(fits[1].run())
            torch.set_rng_state(kept)

    fits[0].module.after = train_another
    fits[0].run()
    assert fits[0].equals(bare)
    assert inner[0].equals(bare)
    assert [one.dbg.history.status.step for one in made] == [30, 30]
    for one in made:
        one.close()


def test_one_callback_in_two_trainers_at_a_time(watch: Any) -> None:
    bare, outer, inner = Fit().run(), Fit(watch), Fit(watch)

    def train_another(step: int) -> None:
        if step == 5:
            kept = torch.get_rng_state()
            inner.run()
            torch.set_rng_state(kept)

    outer.module.after = train_another
    with pytest.warns(UserWarning, match="began inside of the one that is watched"):
        outer.run()
    assert outer.equals(bare)
    assert inner.equals(bare)
    assert len(frame(watch, "loss")) == 3 * STEPS


def test_several_processes_are_refused(watch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bare, trained = Fit().run(), Fit(watch)
    monkeypatch.setattr(watching.Watch, "on_fit_start", widen, raising=False)
    with pytest.warns(UserWarning, match="Lightning trains without nbdebug: it trains in 2 proc"):
        trained.run()
    assert trained.module.losses == bare.module.losses
    with pytest.raises(nbd.ArgumentError, match="2 processes"):
        _ = watch.dbg


def widen(watch: Any, trainer: Any, module: Any) -> None:
    """Let a trainer say at its beginning that it has two processes."""
    original = watch.on_train_start

    def start(*arguments: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(trainer), "world_size", 2)
            original(*arguments)

    watch.on_train_start = start


def test_a_module_that_cannot_be_watched_trains_unwatched(watch: Any) -> None:
    class Elsewhere(Module):
        def configure_optimizers(self) -> Any:
            self.other = [nn.Parameter(torch.zeros(1))]
            return torch.optim.SGD(self.other, lr=0.1)

    bare = Fit(kind=Elsewhere).run()
    with pytest.warns(UserWarning, match="Lightning trains without nbdebug: The optimizer does"):
        trained = Fit(watch, Elsewhere).run()
    assert trained.module.losses == bare.module.losses


@pytest.mark.filterwarnings("ignore:.*this fit will run with no optimizer")
def test_a_module_without_an_optimizer_trains_unwatched(watch: Any) -> None:
    class Without(Module):
        def configure_optimizers(self) -> Any:
            return None

    with pytest.warns(UserWarning, match="configure_optimizers returns no optimizer"):
        Fit(watch, Without).run()


def test_a_scheduler_that_is_none_of_torch_keeps_its_learning_rate(watch: Any) -> None:
    class Constant:
        def __init__(self, optimizer: Any) -> None:
            self.optimizer = optimizer

        def step(self, *_: Any) -> None:
            self.optimizer.param_groups[0]["lr"] = 1e-3

        def state_dict(self) -> dict[str, Any]:
            return {}

        load_state_dict = state_dict

    class Own(Module):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            return [optimizer], [{"scheduler": Constant(optimizer), "interval": "step"}]

        def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
            scheduler.step()

    Fit(watch, Own).run()
    with pytest.raises(nbd.ControlValueError, match="Constant sets the learning rate"):
        watch.dbg.set(lr=1e-2)


def test_a_misspelt_keyword_is_refused() -> None:
    with pytest.raises(nbd.ArgumentError, match="clip_mode"):
        watching.Watch(clip_mod="norm")


def test_a_control_is_set_from_the_beginning() -> None:
    made = watching.Watch(runs=None, clip_mode="norm", clip_threshold=0.1)
    bare, trained = Fit(gradient_clip_val=0.1).run(), Fit(made).run()
    assert trained.module.losses == bare.module.losses
    made.close()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PACKAGES", {})
    with pytest.raises(nbd.MissingPackageError, match="pip install lightning"):
        watching.Watch()


def test_an_old_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(L, "__version__", "1.9.5")
    with pytest.raises(nbd.MissingPackageError, match=r"installed is lightning 1\.9\.5"):
        watching.Watch()


def test_the_other_name_of_the_package_is_watched() -> None:
    other = pytest.importorskip("pytorch_lightning")
    made = watching.Watch(runs=None)
    assert isinstance(made, other.Callback)
    assert isinstance(made, L.Callback)
    trainer = other.Trainer(max_epochs=1, callbacks=[made], **QUIET)

    class Other(other.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(8, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return functional.mse_loss(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer.fit(Other(), DataLoader(DATA, BATCH))
    assert made.dbg.history.status.step == 10
    made.close()


class WithoutBatchNorm(Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.05)


@pytest.mark.parametrize("kind", [Module, WithoutBatchNorm])
def test_averaging_of_weights_counts_no_step_and_is_the_trainers_own(
    watch: Any, kind: type[Any]
) -> None:
    def averages() -> Any:
        return L.callbacks.StochasticWeightAveraging(
            swa_lrs=0.02, swa_epoch_start=2, annealing_epochs=1
        )

    bare = Fit(kind=kind, max_epochs=4)
    bare.trainer.callbacks.append(averages())
    bare.run()
    fit = Fit(watch, kind=kind, max_epochs=4)
    fit.trainer.callbacks.append(averages())
    fit.run()
    assert bitwise_equal(fit.module.state_dict(), bare.module.state_dict())
    assert fit.module.losses == bare.module.losses
    found = watch.dbg.history.frame("loss")["loss"]
    assert len(found) == 4 * STEPS
    assert found.tolist() == pytest.approx(bare.module.losses[: 4 * STEPS])
