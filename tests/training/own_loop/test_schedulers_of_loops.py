"""Schedulers that a loop steps: registered, put back, scaled, and named where they undo an edit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler
from torch.optim.swa_utils import SWALR

import nbdebug as nbd
from nbdebug.core.results.timeline import ReplayResult
from nbdebug.model.state.bits import bitwise_equal
from tests import inside
from tests.training.own_loop.loops import OwnLoop, mlp
from tests.training.own_loop.test_controls_in_loops import MIDDLE, Changed


class Hidden:
    """Holds a scheduler where no search looks."""

    scheduler: Any = None


class StepsHidden(Changed):
    """Its scheduler is an attribute of a class."""

    def run(self, epochs: Any, batches: Any) -> None:
        outer = self

        class Steps:
            def step(self) -> None:
                Hidden.scheduler.step()

        outer.scheduler = Steps()
        super().run(epochs, batches)


class Noam(lr_scheduler.LRScheduler):
    """Computes its rates without regard to anything that is set."""

    def get_lr(self) -> list[float]:  # type: ignore[override]
        step = max(self.last_epoch, 1)
        return [0.02 * min(step**-0.5, step * 10**-1.5) for _ in self.base_lrs]


def sequence(optimizer: Any) -> Any:
    warm = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=4)
    after = lr_scheduler.ExponentialLR(optimizer, 0.9)
    return lr_scheduler.SequentialLR(optimizer, [warm, after], [4])


KINDS: dict[str, Callable[[Any], Any]] = {
    "step": lambda optimizer: lr_scheduler.StepLR(optimizer, 3, gamma=0.5),
    "lambda": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "one cycle": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=40),
    "sequence": sequence,
    "cyclic": lambda optimizer: lr_scheduler.CyclicLR(
        optimizer, 0.01, 0.1, step_size_up=4, cycle_momentum=False
    ),
    "chained": lambda optimizer: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ExponentialLR(optimizer, 0.9), lr_scheduler.StepLR(optimizer, 5)]
    ),
    "own": Noam,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_registered_scheduler_goes_back_that_no_search_finds(kind: str) -> None:
    plain = StepsHidden()
    Hidden.scheduler = KINDS[kind](plain.optimizer)
    plain.run(range, iter)
    wanted = Hidden.scheduler.state_dict()
    loop, found = StepsHidden(), list[ReplayResult]()
    Hidden.scheduler = KINDS[kind](loop.optimizer)
    with nbd.watch(loop.model, loop.optimizer, scheduler=Hidden.scheduler, runs=None) as dbg:
        dbg.break_when("step >= 13")
        dbg.run(lambda: loop.run(dbg.epochs, dbg.batches))
        assert dbg.wait(20)
        dbg.rewind(5)
        found.append(dbg.replay())
        dbg.clear_breakpoints()
        dbg.run(steps=13)
        rates = dbg.history.frame("lr")["lr"]
    assert found[0].equal
    assert len(rates) == 18
    assert bitwise_equal(plain.state(), loop.state())
    got = Hidden.scheduler.state_dict()
    assert got["last_epoch"] == wanted["last_epoch"] if "last_epoch" in wanted else True
    assert got["_last_lr"] == wanted["_last_lr"]


def edited(kind: str, by: float, **given: Any) -> tuple[list[float], str]:
    """Learning rates and note of a loop whose rate is multiplied in the middle."""
    loop = Changed()
    loop.scheduler = KINDS[kind](loop.optimizer)
    with nbd.watch(loop.model, loop.optimizer, runs=None, **given) as dbg:
        loop.between = lambda: dbg.set(lr=by * dbg.controls["lr"])  # type: ignore[misc]
        loop.run(dbg.epochs, dbg.batches)
        dbg.wait(10)
        changes = [one for one in dbg.history.changes if one.control == "lr"]
        rates = dbg.history.frame("lr")["lr"].tolist()
    return rates, changes[-1].note


@pytest.mark.parametrize("kind", ["step", "lambda"])
def test_the_learning_rate_of_a_step_is_the_one_of_its_update(kind: str) -> None:
    wanted = list[float]()
    loop = Changed()
    loop.scheduler = KINDS[kind](loop.optimizer)
    loop.clip = lambda: wanted.append(loop.optimizer.param_groups[0]["lr"])  # type: ignore[method-assign]
    with nbd.watch(loop.model, loop.optimizer, runs=None) as dbg:
        loop.run(dbg.epochs, dbg.batches)
        dbg.wait(10)
        assert dbg.history.frame("lr")["lr"].tolist() == wanted


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "own"])
def test_a_scheduler_that_obeys_is_scaled_once(kind: str) -> None:
    plain, _ = edited(kind, 1.0000001)
    scaled, note = edited(kind, 0.1)
    assert note == "The scheduler of the loop was scaled by the same factor."
    assert scaled[MIDDLE:] == pytest.approx([0.1 * rate for rate in plain[MIDDLE:]], rel=1e-4)


def test_parts_of_a_sequence_that_the_loop_also_names_are_scaled_once() -> None:
    rates = []
    for factor in (None, 0.1):
        loop = Changed()
        warm = lr_scheduler.LinearLR(loop.optimizer, 0.1, total_iters=10)
        after = lr_scheduler.LambdaLR(loop.optimizer, lambda step: 0.5)
        both = lr_scheduler.SequentialLR(loop.optimizer, [warm, after], [10])
        loop.scheduler = both
        loop.parts = [warm, after]  # type: ignore[attr-defined]
        given = [warm, both, after]
        with nbd.watch(loop.model, loop.optimizer, scheduler=given, runs=None) as dbg:
            if factor is not None:
                loop.between = lambda dbg=dbg: dbg.set(lr=0.1 * dbg.controls["lr"])  # type: ignore[misc]
            loop.run(dbg.epochs, dbg.batches)
            rates.append(dbg.history.frame("lr")["lr"].tolist())
    assert rates[1][MIDDLE:] == pytest.approx([0.1 * rate for rate in rates[0][MIDDLE:]])


def test_a_scheduler_that_ignores_the_edit_is_named_with_what_it_sets() -> None:
    rates, note = edited("own", 0.1)
    assert "Noam computes the learning rate by itself" in note
    assert "the 1st time from here" in note
    assert f"it is {rates[MIDDLE + 1]:.3g}" in note
    assert "scaled" not in note


def test_a_warm_up_of_the_loop_that_raises_a_lowered_rate_is_a_finding() -> None:
    loop = Changed()
    loop.scheduler = lr_scheduler.LinearLR(loop.optimizer, 0.01, total_iters=18)
    with nbd.watch(loop.model, loop.optimizer, scheduler=loop.scheduler, runs=None) as dbg:
        loop.between = lambda: dbg.set(lr=0.6 * dbg.controls["lr"])  # type: ignore[misc]
        loop.run(dbg.epochs, dbg.batches)
        assert dbg.wait(10)
        finding = next(one for one in dbg.findings if one.name == "schedule_undoes_edit")
    texts = [remedy.text for remedy in finding.remedies]
    assert len(texts) == 1
    assert "its LinearLR" in texts[0]


@pytest.mark.parametrize("registered", [True, False])
def test_our_schedules_leave_the_one_of_the_loop_alone(registered: bool) -> None:
    loop, said = Changed(), list[str]()
    loop.scheduler = KINDS["step"](loop.optimizer)
    given = {"scheduler": loop.scheduler} if registered else {}
    with nbd.watch(loop.model, loop.optimizer, runs=None, **given) as dbg:

        def change() -> None:
            for values in ({"schedule": "cosine"}, {"schedule": "constant"}, {"warmup_steps": 9}):
                with pytest.raises(nbd.ControlValueError) as error:
                    dbg.set(**values)
                said.append(str(error.value))

        loop.between = change
        loop.run(dbg.epochs, dbg.batches)
        assert dbg.controls["schedule"] == "yours"
        assert len(dbg.history.frame("lr")["lr"].unique()) == 6
    assert all("the loop steps its StepLR itself" in text for text in said)


@pytest.mark.parametrize(("kind", "goes_on"), [("step", True), ("lambda", False)])
def test_a_rate_is_continued_from_where_the_scheduler_can(kind: str, goes_on: bool) -> None:
    loop = Changed()
    loop.scheduler = KINDS[kind](loop.optimizer)
    with nbd.watch(loop.model, loop.optimizer, runs=None, lr_change="continue") as dbg:

        def change() -> None:
            if goes_on:
                dbg.set(lr=0.5)
            else:
                with pytest.raises(nbd.ControlValueError, match="LambdaLR of the loop"):
                    dbg.set(lr=0.5)

        loop.between = change
        loop.run(dbg.epochs, dbg.batches)
        rates = dbg.history.frame("lr")["lr"].tolist()
    assert (rates[MIDDLE] == 0.5) is goes_on
    if goes_on:
        assert rates[MIDDLE + 1 : MIDDLE + 3] == [0.25, 0.25]


def test_schedulers_are_given_by_the_name_of_their_optimizer() -> None:
    one, other = mlp(), mlp()
    opts = {"G": torch.optim.SGD(one.parameters(), 0.1), "D": torch.optim.Adam(other.parameters())}
    steps = {name: lr_scheduler.StepLR(opt, 2, 0.5) for name, opt in opts.items()}
    nets = {"G": one, "D": other}
    with nbd.watch(nets, opts, scheduler={"G": steps["G"], "D": [steps["D"]]}, runs=None) as dbg:
        dbg.set(lr={"G": 0.01})
        assert dbg.history.changes[-1].note == (
            "G: The scheduler of the loop was scaled by the same factor."
        )
    assert steps["G"].base_lrs == [pytest.approx(0.01)]
    assert steps["D"].base_lrs == [0.001]


@pytest.mark.parametrize("rates", [(0.0123,), (0.0123, 0.7, 0.01), (1.0,)])
def test_what_is_taken_back_leaves_the_bases_as_they_were(rates: tuple[float, ...]) -> None:
    loop = OwnLoop()
    cosine = lr_scheduler.CosineAnnealingLR(loop.optimizer, 20)
    flat = SWALR(loop.optimizer, swa_lr=0.02, anneal_epochs=3)
    for _ in range(4):
        loop.optimizer.step()
        flat.step()
    group = loop.optimizer.param_groups[0]
    before = {**group}, cosine.base_lrs, flat.base_lrs
    with nbd.watch(loop.model, loop.optimizer, scheduler=[cosine, flat], runs=None) as dbg:
        for rate in rates:
            dbg.set(lr=rate)
            assert group["initial_lr"] == pytest.approx(before[1][0] * rate / before[0]["lr"])
        for _ in rates:
            dbg.undo()
    assert ({**group}, cosine.base_lrs, flat.base_lrs) == before


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (lambda o, s: torch.optim.SGD(mlp().parameters(), 0.1), "expected one of torch.optim"),
        (lambda o, s: "cosine", "scheduler is a str"),
        (lambda o, s: lr_scheduler.StepLR, "scheduler is a type"),
        (lambda o, s: {"G": s}, "names of optimizers are none"),
        (
            lambda o, s: lr_scheduler.StepLR(torch.optim.SGD(mlp().parameters(), 0.1), 1),
            "belongs to another optimizer",
        ),
        (lambda o, s: [s, None], "scheduler is a NoneType"),
    ],
)
def test_what_is_no_scheduler_of_the_loop_is_refused(given: Any, why: str) -> None:
    loop = OwnLoop()
    step = lr_scheduler.StepLR(loop.optimizer, 1)
    with pytest.raises(nbd.ArgumentError, match=why):
        nbd.watch(loop.model, loop.optimizer, scheduler=given(loop.optimizer, step), runs=None)


def test_a_registered_name_of_the_users_is_kept_beside_it() -> None:
    loop = OwnLoop()
    step = lr_scheduler.StepLR(loop.optimizer, 1)
    other = torch.nn.Linear(1, 1)
    state = {"scheduler": other}
    with nbd.watch(loop.model, loop.optimizer, scheduler=step, state=state, runs=None) as dbg:
        held = inside.session_of(dbg).surroundings.values()
    assert other in held
    assert step in held
