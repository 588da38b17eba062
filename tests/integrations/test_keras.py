"""A Keras model on the torch backend is watched by a callback."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.integrations.live import Trigger, paused

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another backend", allow_module_level=True)

from nbdebug.integrations.keras import Watch  # noqa: E402

schedules = keras.optimizers.schedules
Callback: Any = keras.callbacks.Callback
Schedule: Any = schedules.LearningRateSchedule
Model: Any = keras.Model

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
X = np.random.default_rng(0).normal(size=(80, 8)).astype("float32")
Y = np.sin(X.sum(1, keepdims=True)).astype("float32")
PER_EPOCH, EPOCHS = 10, 5
Batch = keras.callbacks.LambdaCallback


def after(act: Callable[..., Any]) -> Any:
    return Batch(on_train_batch_end=lambda batch, logs: act())


class Losses(Callback):
    """The loss of each batch, which Keras itself averages over the epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = list[float]()

    def on_train_begin(self, logs: Any = None) -> None:
        original = self.model.compute_loss

        def compute_loss(*args: Any, **kwargs: Any) -> Any:
            loss = original(*args, **kwargs)
            if kwargs.get("training"):
                self.seen.append(loss.item())
            return loss

        vars(self.model)["compute_loss"] = compute_loss


class Program:
    """A Keras model, with batch normalisation, dropout, clipping and validation."""

    def __init__(self, rate: Any = 1e-2, kind: str = "Adam", **options: Any) -> None:
        keras.utils.set_random_seed(1)
        layers = keras.layers
        self.scale = layers.Rescaling(1.0, name="scale")
        self.drop = layers.Dropout(0.2, name="drop")
        self.model = keras.Sequential([
            layers.Input((8,)), layers.Dense(16, activation="relu", name="first"),
            layers.BatchNormalization(name="norm"), self.drop, self.scale,
            layers.Dense(1, name="last"),
        ])  # fmt: skip
        options = {"global_clipnorm": 0.5, **options}
        self.optimizer = getattr(keras.optimizers, kind)(rate, **options)
        self.model.compile(optimizer=self.optimizer, loss="mse", metrics=["mae"])
        self.losses, self.log = Losses(), dict[str, Any]()

    def fit(self, *callbacks: Any, epochs: int = EPOCHS, **given: Any) -> Program:
        keras.utils.set_random_seed(2)
        wanted = [*callbacks, self.losses]
        done = self.model.fit(
            X, Y, batch_size=8, epochs=epochs, verbose=0, callbacks=wanted,
            validation_data=(X, Y), **given,
        )  # fmt: skip
        self.log = done.history
        return self

    def results(self) -> list[Any]:
        state = [torch.tensor(v.numpy()) for v in self.optimizer.variables]
        weights = [torch.tensor(v.numpy()) for v in self.model.variables]
        return [state, weights, self.losses.seen, self.log]


@pytest.fixture
def watch() -> Iterator[Watch]:
    one = Watch(runs=None)
    yield one
    one.close()


@pytest.mark.parametrize("kind", ["Adam", "AdamW", "SGD", "Adafactor"])
def test_a_watched_model_equals_the_bare_one(watch: Watch, kind: str) -> None:
    bare, seen = Program(kind=kind).fit(), Program(kind=kind).fit(watch)
    assert bitwise_equal(seen.results(), bare.results())
    found = watch.dbg.history.frame(["loss", "samples", "epoch", "val_loss", "mae", "grad_norm"])
    assert found["loss"].dropna().tolist() == bare.losses.seen
    assert found["samples"].iloc[-1] == EPOCHS * 80
    assert found["epoch"].iloc[-1] == EPOCHS
    for name in ("val_loss", "mae"):
        assert found[name].dropna().tolist() == pytest.approx(bare.log[name])
    # Before the clipping of Keras.
    assert found["grad_norm"].max() > 0.5


def test_layers_have_their_names_and_are_seen(watch: Watch) -> None:
    Program().fit(watch)
    names = [name for name, _ in watch.dbg.session.model.named_parameters()]
    assert {"first.kernel", "first.bias", "norm.gamma", "last.kernel"} <= {*names}
    series = watch.dbg.history.series
    layers = {name.partition("/")[2] for name in series if name.startswith("activation_std/")}
    assert layers == {"first", "norm", "scale", "last"}
    assert watch.dbg.optimizer.__class__.__name__ == "Adam"
    assert "layer calls" in watch.dbg.check("shapes")["shapes"].seen


def test_an_update_of_several_batches_is_one_step(watch: Watch) -> None:
    given = {"gradient_accumulation_steps": 3}
    bare, seen = Program(**given).fit(), Program(**given).fit(watch)
    assert bitwise_equal(seen.results(), bare.results())
    found = watch.dbg.history.frame(["loss", "samples", "epoch"]).dropna()
    assert len(found) == 50 // 3
    wanted = [sum(bare.losses.seen[i : i + 3]) / 3 for i in range(0, 48, 3)]
    assert found["loss"].tolist() == pytest.approx(wanted)
    assert found["samples"].tolist() == [24 * (i + 1) for i in range(16)]
    assert found["epoch"].iloc[-1] == pytest.approx(4.8)


@pytest.mark.parametrize("accumulate", [None, 2])
def test_changes_equal_the_same_ones_by_hand(watch: Watch, accumulate: int | None) -> None:
    def change() -> None:
        bare.optimizer.learning_rate = 1e-3
        bare.optimizer.beta_1 = 0.5
        bare.drop.rate = 0.5

    given = {"gradient_accumulation_steps": accumulate}
    bare, seen = Program(**given), Program(**given)
    bare.fit(after(Trigger(20, change)))
    seen.fit(watch, after(Trigger(20, lambda: watch.dbg.set(lr=1e-3, momentum=0.5, dropout=0.5))))
    assert bitwise_equal(seen.results(), bare.results())
    assert float(seen.optimizer.learning_rate) == pytest.approx(1e-3)


def test_clipping_changed_live_equals_that_of_keras(watch: Watch) -> None:
    # Both clip to a norm; the formulas differ in the last bits.
    bare, seen = Program(global_clipnorm=None), Program(global_clipnorm=None)
    bare.fit(after(Trigger(20, lambda: setattr(bare.optimizer, "global_clipnorm", 0.05))))
    change = Trigger(20, lambda: watch.dbg.set(clip_mode="norm", clip_threshold=0.05))
    seen.fit(watch, after(change))
    assert seen.losses.seen[:20] == bare.losses.seen[:20]
    assert seen.losses.seen == pytest.approx(bare.losses.seen, rel=1e-4)


RATES = {
    "exponential": lambda: schedules.ExponentialDecay(1e-2, 10, 0.7),
    "cosine": lambda: schedules.CosineDecay(1e-3, 30, warmup_target=1e-2, warmup_steps=10),
    "piecewise": lambda: schedules.PiecewiseConstantDecay([15, 30], [1e-2, 1e-3, 1e-4]),
}


@pytest.mark.parametrize("name", RATES)
def test_a_learning_rate_lasts_under_the_schedule(watch: Watch, name: str) -> None:
    rates = {True: list[float](), False: list[float]()}

    def rate(one: Program) -> Any:
        return Batch(
            on_train_batch_begin=lambda batch, logs: rates[one is seen].append(
                float(one.optimizer.learning_rate)
            )
        )

    bare, seen = Program(RATES[name]()), Program(RATES[name]())
    bare.fit(rate(bare))
    change = Trigger(20, lambda: watch.dbg.set(lr=float(seen.optimizer.learning_rate) / 4))
    seen.fit(watch, rate(seen), after(change))
    assert seen.losses.seen[:20] == bare.losses.seen[:20]
    assert rates[True][:20] == rates[False][:20]
    assert rates[True][20:] == pytest.approx([one / 4 for one in rates[False][20:]], rel=1e-5)


@pytest.mark.parametrize("kind", ["of the epoch", "of the rate"])
def test_a_learning_rate_lasts_under_a_function(watch: Watch, kind: str) -> None:
    def function(epoch: int, rate: float) -> float:
        return 1e-2 * 0.5**epoch if kind == "of the epoch" else rate * 0.5

    scheduled = keras.callbacks.LearningRateScheduler
    bare, seen = Program(), Program()
    bare.fit(scheduled(function))
    change = Trigger(15, lambda: watch.dbg.set(lr=float(seen.optimizer.learning_rate) / 4))
    seen.fit(scheduled(function), watch, after(change))
    wanted = [*bare.log["learning_rate"][:1], *(r / 4 for r in bare.log["learning_rate"][1:])]
    assert seen.log["learning_rate"] == pytest.approx(wanted, rel=1e-5)


def test_a_schedule_of_your_own_keeps_its_learning_rate(watch: Watch) -> None:
    class Own(Schedule):
        def __call__(self, step: Any) -> Any:
            return 1e-2 / (1 + 0.1 * step)

        def get_config(self) -> dict[str, Any]:
            return {}

    refused = list[str]()

    def change() -> None:
        with pytest.raises(nbd.ControlValueError) as caught:
            watch.dbg.set(lr=1e-4)
        refused.append(str(caught.value))

    bare, seen = Program(Own()).fit(), Program(Own())
    seen.fit(watch, after(Trigger(12, change)))
    assert "your own class" in refused[0]
    assert bitwise_equal(seen.results(), bare.results())


def test_a_paused_model_steps_and_refuses_to_go_back(watch: Watch) -> None:
    bare, seen = Program().fit(), Program()
    trigger = Trigger(13, lambda: None)
    with paused(watch, lambda: seen.fit(watch, after(trigger)), trigger):
        watch.dbg.step(3)
        assert watch.dbg.history.status.step == 16
        with pytest.raises(nbd.DataError, match="Keras reads its batches itself"):
            watch.dbg.rewind(2)
        with pytest.raises(nbd.DataError, match="make model and trainer again"):
            watch.dbg.reset()
        with pytest.raises(nbd.ControlValueError, match="Keras reads its batches itself"):
            watch.dbg.set(batch_size=4)
        # Checks put everything back, with what dropout draws from.
        assert watch.dbg.check("shapes")["shapes"].status == "pass"
        assert watch.dbg.check()["shapes"].status == "pass"
    # All but the list of losses, to which those of checks were added.
    found, wanted = seen.results(), bare.results()
    assert bitwise_equal(found[:2] + found[3:], wanted[:2] + wanted[3:])


def test_checks_that_would_make_updates_do_not_apply(watch: Watch) -> None:
    # Keras makes its updates itself: what stands for its optimizer would change no weight.
    Program().fit(watch)
    found = watch.dbg.check("unchanged_parameters", "overfit", "baselines", "one_epoch")
    assert {result.status for result in found} == {"not_applicable"}
    assert "only the trainer itself" in found["unchanged_parameters"].seen


def test_frozen_layers_stay(watch: Watch) -> None:
    seen = Program()
    first = list[Any]()

    def freeze() -> None:
        first.extend(seen.model.layers[0].get_weights())
        watch.dbg.set(frozen={"first": "frozen"})

    seen.fit(watch, after(Trigger(10, freeze)))
    now = seen.model.layers[0].get_weights()
    assert all((one == other).all() for one, other in zip(first, now, strict=True))


@pytest.mark.parametrize("accumulate", [None, 2])
def test_nan_leaves_an_update_out_and_pauses(watch: Watch, accumulate: int | None) -> None:
    seen, weights = Program(gradient_accumulation_steps=accumulate), list[Any]()

    def spoil() -> None:
        weights.extend(seen.model.get_weights())
        seen.scale.scale = float("nan")

    trigger = Trigger(-1, lambda: None)
    spoiling = Trigger(12, lambda: (spoil(), trigger.reached.set()))
    with paused(watch, lambda: seen.fit(watch, after(spoiling)), trigger):
        trained = [v.numpy() for v in seen.model.trainable_variables]
        assert len(trained) == 6
        step = 12 // (accumulate or 1)
        assert watch.dbg.history.status.step == step
        assert all(np.isfinite(one).all() for one in trained)
        seen.scale.scale = 1.0
        # What batch normalisation saw of NaN stays; it is not an update.
        for variable in seen.model.non_trainable_variables:
            if "moving" in variable.path:
                variable.assign(np.nan_to_num(variable.numpy()))
    assert all(np.isfinite(v.numpy()).all() for v in seen.model.trainable_variables)


def test_two_fits_go_on_with_one_dashboard(watch: Watch) -> None:
    seen = Program().fit(watch, epochs=1)
    first = watch.dbg
    seen.fit(watch, epochs=2)
    assert watch.dbg is first
    found = first.history.frame(["epoch"])["epoch"].dropna()
    assert len(found) == 30
    assert found.iloc[-1] == 3
    seen.model.compile(optimizer="sgd", loss="mse")
    seen.fit(watch, epochs=1)
    assert watch.dbg is not first


def test_a_fit_that_begins_in_a_later_epoch(watch: Watch) -> None:
    Program().fit(watch, initial_epoch=3)
    found = watch.dbg.history.frame(["epoch"])["epoch"].dropna()
    assert found.iloc[0] == pytest.approx(3.1)
    assert found.iloc[-1] == 5


def test_evaluation_and_prediction_are_no_steps(watch: Watch) -> None:
    seen = Program()
    for work in (seen.model.evaluate, seen.model.predict):
        work(X, **({"y": Y} if work == seen.model.evaluate else {}), verbose=0, callbacks=[watch])
    with pytest.raises(nbd.ArgumentError, match="Keras has not begun"):
        _ = watch.dbg


def test_training_that_ends_early_ends_its_watch(watch: Watch) -> None:
    seen = Program()
    seen.fit(watch, after(Trigger(12, lambda: setattr(seen.model, "stop_training", True))))
    assert watch.dbg.history.status.step == 12
    assert watch.dbg.wait(10)
    assert "train_step" not in vars(seen.model)
    assert not {"apply", "_clip_gradients"} & vars(seen.optimizer).keys()


@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])
def test_an_error_passes(watch: Watch, kind: type[BaseException]) -> None:
    def fail() -> None:
        raise kind("stop")

    seen = Program()
    fails = Program()
    fails.model.compute_loss = lambda *args, **kwargs: fail()
    with pytest.raises(kind, match="stop"):
        fails.fit(watch)
    assert not {"apply", "_clip_gradients"} & vars(fails.optimizer).keys()
    with pytest.raises(kind, match="stop"):
        seen.fit(watch, after(Trigger(12, fail)))
    assert watch.dbg.wait(10)
    assert watch.dbg.history.status.step == 12
    seen.fit(watch, epochs=1)
    assert watch.dbg.history.status.step == 22


def test_a_model_trains_on_when_its_watch_is_closed(watch: Watch) -> None:
    bare, seen = Program().fit(), Program()
    trigger = Trigger(12, lambda: None)
    with paused(watch, lambda: seen.fit(watch, after(trigger)), trigger) as thread:
        watch.dbg.close()
        thread.join(20)
        assert not thread.is_alive()
        watch.dbg.start = lambda: None  # type: ignore[method-assign]
    assert bitwise_equal(seen.results(), bare.results())


def test_a_watched_model_is_saved_and_copied(watch: Watch, tmp_path: Any) -> None:
    path = str(tmp_path / "model.keras")
    seen = Program().fit(watch, keras.callbacks.ModelCheckpoint(path), epochs=1)
    loaded = keras.models.load_model(path)
    for twin in (loaded, pickle.loads(pickle.dumps(seen.model)), copy.deepcopy(seen.model)):
        pairs = zip(twin.get_weights(), seen.model.get_weights(), strict=True)
        assert all((one == other).all() for one, other in pairs)
    assert isinstance(copy.deepcopy(Watch(runs=None)), Watch)


REFUSED = {
    "jit_compile=True": lambda one: one.model.compile("sgd", "mse", jit_compile=True),
    "scales the loss": lambda one: setattr(one.optimizer, "loss_scale_factor", 2.0),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_cannot_be_watched_trains_without(watch: Watch, said: str) -> None:
    seen = Program()
    REFUSED[said](seen)
    seen.model.jit_compile, jit = False, seen.model.jit_compile
    asked = Batch(on_train_begin=lambda logs: setattr(seen.model, "jit_compile", jit))
    done = Batch(on_train_begin=lambda logs: setattr(seen.model, "jit_compile", False))
    with pytest.warns(UserWarning, match=f"Keras trains without nbdebug: .*{said}"):
        seen.fit(asked, watch, done, epochs=1)
    assert len(seen.losses.seen) == 10


def test_a_torch_module_inside_of_a_model(watch: Watch) -> None:
    def made() -> Any:
        keras.utils.set_random_seed(1)
        inner = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Dropout(0.1))
        layers = [keras.layers.Input((8,)), keras.layers.TorchModuleWrapper(inner)]
        model = keras.Sequential([*layers, keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    bare, seen = made(), made()
    for one, callbacks in ((bare, []), (seen, [watch])):
        keras.utils.set_random_seed(2)
        one.fit(X, Y, batch_size=8, verbose=0, callbacks=callbacks)
    pairs = zip(bare.get_weights(), seen.get_weights(), strict=True)
    assert all((one == other).all() for one, other in pairs)
    assert watch.dbg.history.status.step == 10


def test_a_train_step_of_your_own(watch: Watch) -> None:
    class Own(Model):
        def __init__(self) -> None:
            super().__init__()
            self.first = keras.layers.Dense(4, activation="relu")
            self.last = keras.layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.last(self.first(x))

        def train_step(self, data: Any) -> Any:
            x, y = data[:2]
            self.zero_grad()
            loss = ((self(x) - y) ** 2).mean() * 2
            loss.backward()
            trained = list(self.trainable_weights)
            with torch.no_grad():
                self.optimizer.apply([v.value.grad for v in trained], trained)
            return {"double": loss}

    def fitted(*callbacks: Any) -> Any:
        keras.utils.set_random_seed(1)
        model = Own()
        model.compile("adam")
        model.fit(X, Y, batch_size=8, verbose=0, callbacks=list(callbacks))
        return model

    bare, seen = fitted(), fitted(watch)
    pairs = zip(bare.get_weights(), seen.get_weights(), strict=True)
    assert all((one == other).all() for one, other in pairs)
    assert watch.dbg.history.status.step == 10
