"""A net of skorch is watched by a callback."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.integrations.live import Trigger, paused

pytest.importorskip("skorch")
from sklearn.base import clone
from sklearn.model_selection import cross_validate
from skorch import NeuralNetRegressor
from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping, LRScheduler

from nbdebug.integrations.skorch import Watch

pytestmark = pytest.mark.filterwarnings("ignore:.*weights_only.*", "ignore:.*sklearn.*")

X = np.random.default_rng(0).normal(size=(100, 8)).astype("float32")
Y = np.sin(X.sum(1, keepdims=True)).astype("float32")
# 80 of 100 samples are trained on.
PER_EPOCH, EPOCHS = 10, 5


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.drop, self.last = nn.Linear(8, 16), nn.Dropout(0.2), nn.Linear(16, 1)
        self.scale = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.drop(self.first(x).relu())) * self.scale


class After(Callback):
    """Calls a function after each batch that is trained on."""

    def __init__(self, act: Any) -> None:
        self.act = act

    def on_batch_end(self, net: Any, training: bool = False, **_: Any) -> None:
        if training:
            self.act(net)


class Losses(Callback):
    def __init__(self) -> None:
        self.seen = list[float]()

    def on_batch_end(self, net: Any, training: bool = False, loss: Any = None, **_: Any) -> None:
        if training:
            self.seen.append(loss.item())


def made(*callbacks: Any, **changed: Any) -> NeuralNetRegressor:
    torch.manual_seed(0)
    given: dict[str, Any] = {
        "module": Net, "optimizer": torch.optim.Adam, "lr": 1e-2, "max_epochs": EPOCHS,
        "batch_size": 8, "iterator_train__shuffle": True, "verbose": 0,
        "callbacks": [GradientNormClipping(0.5), *callbacks],
    }  # fmt: skip
    return NeuralNetRegressor(**{**given, **changed})


def stepwise() -> LRScheduler:
    return LRScheduler("StepLR", step_size=7, gamma=0.7, step_every="batch")


def fit(net: NeuralNetRegressor, **arguments: Any) -> NeuralNetRegressor:
    torch.manual_seed(1)
    return net.fit(X, Y, **arguments)


def results(net: NeuralNetRegressor) -> list[Any]:
    """Everything that a net writes: weights, state of the optimizer, history."""
    rows = [{k: v for k, v in row.items() if k not in ("dur", "batches")} for row in net.history]
    batches = [row["batches"] for row in net.history]
    return [net.module_.state_dict(), net.optimizer_.state_dict(), rows, batches]


def same(net: NeuralNetRegressor, bare: NeuralNetRegressor) -> bool:
    return bitwise_equal(results(net)[:2], results(bare)[:2]) and (
        results(net)[2:] == results(bare)[2:]
    )


def lr(watch: Watch) -> float:
    return watch.dbg.optimizer.param_groups[0]["lr"]


@pytest.fixture
def watch() -> Iterator[Watch]:
    one = Watch(runs=None)
    yield one
    one.close()


@pytest.mark.parametrize("step_every", ["batch", "epoch"])
def test_a_watched_net_equals_the_bare_one(watch: Watch, step_every: str) -> None:
    def schedule() -> LRScheduler:
        return LRScheduler("WarmRestartLR", base_period=3, step_every=step_every)

    losses = Losses()
    bare, net = fit(made(schedule(), losses)), fit(made(watch, schedule()))
    assert same(net, bare)
    found = watch.dbg.history.frame(["loss", "samples", "epoch", "val_loss"])
    assert found["loss"].dropna().tolist() == losses.seen
    assert found["samples"].iloc[-1] == EPOCHS * 80
    assert found["epoch"].iloc[-1] == EPOCHS
    assert found["val_loss"].dropna().tolist() == pytest.approx(list(bare.history[:, "valid_loss"]))


def test_gradients_are_those_before_the_clipping_of_skorch(watch: Watch) -> None:
    norms = list[float]()

    class Norm(Callback):
        def on_grad_computed(self, net: Any, named_parameters: Any, **_: Any) -> None:
            grads = [p.grad for _, p in named_parameters]
            norms.append(torch.nn.utils.get_total_norm(grads).item())

    fit(made(callbacks=[Norm(), GradientNormClipping(0.1)]))
    fit(made(callbacks=[GradientNormClipping(0.1), watch]))
    assert watch.dbg.history.frame(["grad_norm"])["grad_norm"].tolist() == pytest.approx(norms)
    assert max(norms) > 0.1


def test_a_learning_rate_lasts_under_the_scheduler(watch: Watch) -> None:
    def change(net: Any) -> None:
        group = net.optimizer_.param_groups[0]
        group["lr"], group["initial_lr"] = group["lr"] * 0.5, 5e-3

    def halve() -> None:
        watch.dbg.set(lr=lr(watch) * 0.5)

    lone = Trigger(20, lambda: None)
    bare = made(stepwise(), After(lambda net: (lone(), lone.steps == 20 and change(net))))
    fit(bare)
    # The change is made once the scheduler was stepped.
    net = fit(made(watch, stepwise(), After(Trigger(20, halve))))
    assert same(net, bare)
    assert net.optimizer_.param_groups[0]["lr"] == pytest.approx(0.5e-2 * 0.7**7)


def test_warm_restarts_are_scaled_too(watch: Watch) -> None:
    def schedule() -> LRScheduler:
        return LRScheduler("WarmRestartLR", base_period=20, step_every="batch")

    bare = fit(made(schedule()))
    change = Trigger(10, lambda: watch.dbg.set(lr=lr(watch) / 4))
    net = fit(made(watch, schedule(), After(change)))
    rates = [net.history[:, "batches", :, "event_lr"] for net in (net, bare)]
    assert rates[0][0] == rates[1][0]
    # What the scheduler says of the first step after the change, it computed before.
    found, wanted = ([rate for row in rows[1:] for rate in row][1:] for rows in rates)
    assert found == pytest.approx([rate / 4 for rate in wanted])


def test_clipping_changed_live_equals_clipping_by_hand(watch: Watch) -> None:
    class Clip(Callback):
        batch = 0

        def on_batch_begin(self, net: Any, training: bool = False, **_: Any) -> None:
            self.batch += training

        def on_grad_computed(self, net: Any, named_parameters: Any, **_: Any) -> None:
            if self.batch > 15:
                torch.nn.utils.clip_grad_norm_([p for _, p in named_parameters], 0.05)

    bare = fit(made(Clip()))
    change = Trigger(15, lambda: watch.dbg.set(clip_mode="norm", clip_threshold=0.05))
    net = fit(made(watch, After(change)))
    assert bitwise_equal(net.module_.state_dict(), bare.module_.state_dict())


def test_a_paused_net_steps_and_refuses_to_go_back(watch: Watch) -> None:
    bare = fit(made())
    trigger = Trigger(13, lambda: None)
    net = made(watch, After(trigger))
    with paused(watch, lambda: fit(net), trigger):
        watch.dbg.step(3)
        assert watch.dbg.history.status.step == 16
        with pytest.raises(nbd.DataError, match="skorch reads its batches itself"):
            watch.dbg.rewind(2)
        with pytest.raises(nbd.ControlValueError, match="skorch reads its batches itself"):
            watch.dbg.set(batch_size=4)
        with pytest.raises(nbd.DataError, match="make model and trainer again"):
            watch.dbg.reset()
        assert {one.status for one in watch.dbg.check("shapes", "seeds")} == {"pass"}
        with pytest.raises(nbd.ControlValueError, match="NeuralNet"):
            watch.dbg.set(optimizer="sgd")
    assert same(net, bare)


def test_nan_leaves_an_update_out_and_pauses(watch: Watch) -> None:
    weights = list[Any]()

    def spoil(net: Any) -> None:
        if len(weights) == 0 and len(net.history) == 2:
            weights.append(copy.deepcopy(net.module_.state_dict()))
            net.module_.scale = float("nan")
            trigger.reached.set()

    trigger = Trigger(-1, lambda: None)
    net = made(watch, After(spoil), train_split=None)
    with paused(watch, lambda: fit(net), trigger):
        assert watch.dbg.history.status.step == 13 + 1
        assert bitwise_equal(net.module_.state_dict(), weights[0])
        net.module_.scale = 1.0
    assert all(torch.isfinite(p).all() for p in net.module_.parameters())
    assert len(net.history) == EPOCHS


@pytest.mark.slow
def test_lbfgs_which_calls_its_closure_many_times(watch: Watch) -> None:
    given = {"optimizer": torch.optim.LBFGS, "lr": 0.1, "max_epochs": 2}
    bare, net = fit(made(**given)), fit(made(watch, **given))
    assert same(net, bare)
    found = watch.dbg.history.frame(["loss"])["loss"].tolist()
    rows = [row for epoch in bare.history for row in epoch["batches"] if "train_loss" in row]
    assert found == pytest.approx([row["train_loss"] for row in rows])


def test_partial_fit_goes_on_and_fit_begins_anew(watch: Watch) -> None:
    net = fit(made(watch, max_epochs=1))
    first = watch.dbg
    net.partial_fit(X, Y)
    assert watch.dbg is first
    assert first.history.status.step == 2 * PER_EPOCH
    assert len(first.history.frame(["val_loss"]).dropna()) == 2
    fit(net)
    assert watch.dbg is not first
    assert first.state == "closed"


def test_training_that_ends_early_ends_its_watch(watch: Watch) -> None:
    def stop(net: Any) -> None:
        raise KeyboardInterrupt

    fit(made(watch, EarlyStopping(patience=1), LRScheduler("ExponentialLR", gamma=0.0)))
    assert watch.dbg.state == "paused"
    fit(made(watch, After(stop)))
    assert watch.dbg.history.status.step == 1


def test_an_error_in_a_callback_passes(watch: Watch) -> None:
    def fail(net: Any) -> None:
        if len(net.history) == 2:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fit(made(watch, After(fail)))
    assert watch.dbg.wait(10)
    assert watch.dbg.history.status.step == PER_EPOCH + 1
    fit(made(watch))
    assert watch.dbg.history.status.step == EPOCHS * PER_EPOCH


def test_a_net_trains_on_after_its_watch_was_closed(watch: Watch) -> None:
    net = fit(made(watch, After(Trigger(12, watch.close))))
    assert same(net, fit(made()))


def test_a_net_trains_on_when_its_watch_is_closed_while_it_is_paused(watch: Watch) -> None:
    trigger = Trigger(12, lambda: None)
    net = made(watch, After(trigger))
    with paused(watch, lambda: fit(net), trigger) as thread:
        watch.dbg.close()
        thread.join(20)
        assert not thread.is_alive()
        watch.dbg.start = lambda: None  # type: ignore[method-assign]
    assert same(net, fit(made()))


def test_clones_are_not_watched(watch: Watch) -> None:
    net = made(watch)
    with pytest.warns(UserWarning, match="clone"):
        fit(clone(net))
    with pytest.raises(nbd.ArgumentError, match="not begun"):
        _ = watch.dbg


def test_a_search_warns_once_of_its_clones(watch: Watch) -> None:
    # Each split is fitted where warnings are caught, by which Python forgets what it has shown.
    with pytest.warns(UserWarning, match="clone") as warned:
        cross_validate(made(watch), X, Y, cv=4, error_score="raise")
    assert len([one for one in warned if "clone" in str(one.message)]) == 1


def test_a_net_is_copied_and_pickled_with_its_watch(watch: Watch) -> None:
    net = fit(made(watch))
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert bitwise_equal(twin.module_.state_dict(), net.module_.state_dict())
        assert isinstance(dict(twin.callbacks_)["Watch"], Watch)
    assert net.get_params()["callbacks__Watch"] is watch


def test_a_model_that_cannot_be_watched_trains_without(watch: Watch) -> None:
    class Lazy(Net):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.LazyLinear(16)

    with pytest.warns(UserWarning, match="trains without nbdebug: .*lazy layers"):
        fit(made(watch, module=Lazy))


def test_a_misspelt_control_is_refused_at_once() -> None:
    with pytest.raises(nbd.ArgumentError, match="clip_mode"):
        Watch(clip_mod="norm")


def test_one_optimizer_of_several_is_watched(watch: Watch) -> None:
    class Two(NeuralNetRegressor):
        def initialize_optimizer(self, *args: Any, **kwargs: Any) -> Any:
            first, last = self.module_.first, self.module_.last
            self.optimizer_ = torch.optim.SGD(first.parameters(), lr=0.01)
            self.optimizer2_ = torch.optim.SGD(last.parameters(), lr=0.01)
            return self

    def net(*callbacks: Any) -> NeuralNetRegressor:
        torch.manual_seed(0)
        return Two(Net, max_epochs=2, batch_size=8, verbose=0, callbacks=list(callbacks))

    bare, seen = fit(net()), fit(net(watch))
    assert bitwise_equal(seen.module_.state_dict(), bare.module_.state_dict())
    titles = [notice.title for notice in watch.dbg.history.notices]
    assert "One optimizer of several is watched" in titles
