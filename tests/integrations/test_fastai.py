"""A Learner of fastai is watched by a callback."""

from __future__ import annotations

import copy
import pickle
import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.integrations.live import Trigger, paused

pytest.importorskip("fastai")
with warnings.catch_warnings():
    # fastai sets an option that pandas 3 has no use for.
    warnings.simplefilter("ignore")
    from fastai.callback import core, training
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader
    from fastai.learner import Learner
    from fastai.optimizer import SGD, Adam, OptimWrapper

    from nbdebug.integrations.fastai import Watch

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
X = torch.randn(80, 8, generator=torch.Generator().manual_seed(0))
Y = X.sum(1, keepdim=True).sin()
PER_EPOCH, EPOCHS = 10, 5
Callback: Any = core.Callback


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.drop, self.last = nn.Linear(8, 16), nn.Dropout(0.2), nn.Linear(16, 1)
        self.scale = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.drop(self.first(x).relu())) * self.scale


class Noted(Callback):
    run_valid = False

    def __init__(self) -> None:
        self.noted, self.rates_seen = list[float](), list[float]()

    def after_batch(self) -> None:
        self.noted.append(self.learn.loss.item())
        self.rates_seen.append(float(self.learn.opt.hypers[-1]["lr"]))


class After(Callback):
    order, run_valid = 70, False

    def __init__(self, act: Callable[[], Any]) -> None:
        self.act = act

    def after_batch(self) -> None:
        self.act()


def mae(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return (found - wanted).abs().mean()


def halves(model: Any) -> list[Any]:
    return [list(model.first.parameters()), list(model.last.parameters())]


def wrapped(parameters: Any, **given: Any) -> Any:
    return OptimWrapper(parameters, opt=torch.optim.AdamW, **given)


OPTIMIZERS = {"Adam": Adam, "SGD": SGD, "torch": wrapped}


class Program:
    """A Learner with dropout, clipping and validation."""

    def __init__(self, *callbacks: Any, kind: str = "Adam", **given: Any) -> None:
        # The loaders of fastai draw their order from Python's own generator.
        random.seed(0)
        torch.manual_seed(0)
        self.model, self.losses = Net(), Noted()
        pairs = list(zip(X, Y, strict=True))
        loader = DataLoader(pairs, bs=8, shuffle=True, num_workers=0)
        self.learn = Learner(
            DataLoaders(loader, DataLoader(pairs, bs=40, num_workers=0)), self.model,
            loss_func=functional.mse_loss, opt_func=OPTIMIZERS[kind], metrics=[mae], lr=1e-2,
            cbs=[training.GradientClip(0.5), self.losses, *callbacks], **given,
        )  # fmt: skip

    def fit(self, epochs: int = EPOCHS, one_cycle: bool = True, **given: Any) -> Program:
        torch.manual_seed(1)
        learn = self.learn
        with learn.no_bar(), learn.no_logging():
            (learn.fit_one_cycle if one_cycle else learn.fit)(epochs, **given)
        return self

    def results(self) -> list[Any]:
        opt = self.learn.opt
        state = opt.opt.state_dict() if isinstance(opt, OptimWrapper) else opt.state_dict()["state"]
        values = [[float(v) for v in row] for row in self.learn.recorder.values]
        return [self.model.state_dict(), state, self.losses.noted, self.losses.rates_seen, values]


@pytest.fixture
def watch() -> Iterator[Watch]:
    one = Watch(runs=None)
    yield one
    one.close()


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_watched_learner_equals_the_bare_one(watch: Watch, kind: str) -> None:
    bare, seen = Program(kind=kind).fit(), Program(watch, kind=kind).fit()
    assert bitwise_equal(seen.results(), bare.results())
    found = watch.dbg.history.frame(["loss", "samples", "epoch", "val_loss", "mae", "grad_norm"])
    assert found["loss"].dropna().tolist() == bare.losses.noted
    assert found["samples"].iloc[-1] == EPOCHS * 80
    assert found["epoch"].iloc[-1] == EPOCHS
    values = bare.results()[-1]
    assert found["val_loss"].dropna().tolist() == pytest.approx([row[1] for row in values])
    assert found["mae"].dropna().tolist() == pytest.approx([row[2] for row in values])
    assert found["grad_norm"].max() > 0.5
    assert "step" not in vars(seen.learn.opt)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("split", [False, True])
def test_a_learning_rate_lasts_under_one_cycle(watch: Watch, kind: str, split: bool) -> None:
    given = {"splitter": halves} if split else {}
    bare, seen = Program(kind=kind, **given).fit(), Program(watch, kind=kind, **given)
    seen.learn.add_cb(After(Trigger(20, lambda: change())))

    def change() -> None:
        watch.dbg.set(lr=watch.dbg.optimizer.param_groups[0]["lr"] / 4)

    seen.fit()
    assert seen.losses.rates_seen[:20] == bare.losses.rates_seen[:20]
    wanted = [rate / 4 for rate in bare.losses.rates_seen[20:]]
    # At the step after the change the schedule was one step further, or was not yet.
    assert seen.losses.rates_seen[20] == pytest.approx(wanted[0], rel=0.05)
    assert seen.losses.rates_seen[21:] == pytest.approx(wanted[1:], rel=0.05)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_changes_equal_the_same_ones_by_hand(watch: Watch, kind: str) -> None:
    bare, seen = Program(kind=kind), Program(watch, kind=kind)

    def by_hand() -> None:
        bare.learn.opt.set_hypers(lr=1e-3, wd=0.1, mom=0.5)
        bare.model.drop.p = 0.5
        bare.learn.add_cb(training.GradientClip(0.05))

    bare.learn.add_cb(After(Trigger(20, by_hand)))
    values = {"lr": 1e-3, "weight_decay": 0.1, "momentum": 0.5, "dropout": 0.5}
    clip = {"clip_mode": "norm", "clip_threshold": 0.05}
    seen.learn.add_cb(After(Trigger(20, lambda: watch.dbg.set(**values, **clip))))
    assert bitwise_equal(seen.fit(one_cycle=False).results(), bare.fit(one_cycle=False).results())


def test_a_momentum_that_is_scheduled_is_refused(watch: Watch) -> None:
    said = list[str]()

    def change() -> None:
        with pytest.raises(nbd.ControlValueError) as caught:
            watch.dbg.set(momentum=0.5)
        said.append(str(caught.value))

    Program(watch, After(Trigger(12, change))).fit()
    assert "fit_one_cycle" in said[0]


def test_an_update_of_several_batches_is_one_step(watch: Watch) -> None:
    def accumulate() -> Any:
        return training.GradientAccumulation(24)

    bare, seen = Program(accumulate()).fit(), Program(accumulate(), watch).fit()
    assert bitwise_equal(seen.results(), bare.results())
    found = watch.dbg.history.frame(["loss", "samples", "epoch"]).dropna()
    assert found["samples"].tolist() == [24 * (i + 1) for i in range(16)]
    assert found["epoch"].iloc[-1] == pytest.approx(4.8)


def test_a_paused_learner_steps_and_refuses_to_go_back(watch: Watch) -> None:
    bare, trigger = Program().fit(), Trigger(13, lambda: None)
    seen = Program(watch, After(trigger))
    with paused(watch, seen.fit, trigger):
        watch.dbg.step(3)
        assert watch.dbg.history.status.step == 16
        with pytest.raises(nbd.DataError, match="fastai reads its batches itself"):
            watch.dbg.rewind(2)
        with pytest.raises(nbd.DataError, match="make model and trainer again"):
            watch.dbg.reset()
        with pytest.raises(nbd.ControlValueError, match="fastai reads its batches itself"):
            watch.dbg.set(batch_size=4)
        assert watch.dbg.check("shapes")["shapes"].status == "pass"
    assert bitwise_equal(seen.results(), bare.results())


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_nan_leaves_an_update_out_and_pauses(watch: Watch, kind: str) -> None:
    weights = list[Any]()

    def spoil() -> None:
        weights.append(copy.deepcopy(seen.model.state_dict()))
        seen.model.scale = float("nan")
        trigger.reached.set()

    trigger = Trigger(-1, lambda: None)
    seen = Program(watch, After(Trigger(12, spoil)), kind=kind)
    with paused(watch, seen.fit, trigger):
        assert watch.dbg.history.status.step == 12
        assert bitwise_equal(seen.model.state_dict(), weights[0])
        seen.model.scale = 1.0
    assert all(torch.isfinite(p).all() for p in seen.model.parameters())
    assert len(seen.losses.noted) == 50


def test_two_fits_go_on_with_one_dashboard(watch: Watch) -> None:
    seen = Program(watch).fit(1)
    first = watch.dbg
    seen.fit(2, one_cycle=False)
    assert watch.dbg is first
    found = first.history.frame(["epoch"])["epoch"].dropna()
    assert (len(found), found.iloc[-1]) == (30, 3)


def test_a_search_and_predictions_are_no_training(watch: Watch) -> None:
    seen = Program(watch)
    with seen.learn.no_bar(), seen.learn.no_logging():
        seen.learn.lr_find(num_it=12, show_plot=False)
        seen.learn.get_preds()
        seen.learn.validate()
    with pytest.raises(nbd.ArgumentError, match="fastai has not begun"):
        _ = watch.dbg
    seen.fit(1)
    assert watch.dbg.history.status.step == 10


@pytest.mark.parametrize("kind", ["CancelFitException", "CancelEpochException"])
def test_training_that_ends_early_ends_its_watch(watch: Watch, kind: str) -> None:
    def cancel() -> None:
        raise getattr(core, kind)

    bare = Program(After(Trigger(12, cancel))).fit()
    seen = Program(watch, After(Trigger(12, cancel)))
    seen.fit()
    assert bitwise_equal(seen.results()[:4], bare.results()[:4])
    assert watch.dbg.wait(10)


@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])
def test_an_error_passes(watch: Watch, kind: type[BaseException]) -> None:
    def fail() -> None:
        raise kind("stop")

    seen = Program(watch, After(Trigger(12, fail)))
    with pytest.raises(kind):
        seen.fit()
    assert watch.dbg.wait(10)
    assert watch.dbg.history.status.step == 12
    seen.fit(1)
    assert watch.dbg.history.status.step == 22


def test_a_learner_trains_on_when_its_watch_is_closed(watch: Watch) -> None:
    bare, trigger = Program().fit(), Trigger(12, lambda: None)
    seen = Program(watch, After(trigger))
    with paused(watch, seen.fit, trigger) as thread:
        watch.dbg.close()
        thread.join(20)
        assert not thread.is_alive()
        watch.dbg.start = lambda: None  # type: ignore[method-assign]
    assert bitwise_equal(seen.results(), bare.results())


def test_a_watch_is_copied_and_pickled(watch: Watch) -> None:
    Program(watch).fit(1)
    for twin in (copy.deepcopy(watch), pickle.loads(pickle.dumps(watch))):
        with pytest.raises(nbd.ArgumentError, match="not begun"):
            _ = twin.dbg
