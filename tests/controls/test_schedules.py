"""Schedules chosen, switched and steered in the middle of a run, against plain loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as torch_schedules

import nbdebug as nbd
from nbdebug.errors import ArgumentError, ControlValueError
from tests.inside import optimizer_of, queue_of, session_of
from tests.problems import PlainLoop, blobs, same_weights, tiny_mlp

LENGTH, FACTOR, STEPS = 70, 0.2, 60
Scheduler = torch_schedules.LRScheduler
Make = Callable[[torch.optim.Optimizer], Any]


def one_cycle(optimizer: torch.optim.Optimizer, length: int = LENGTH) -> Scheduler:
    peaks = [group["lr"] for group in optimizer.param_groups]
    return torch_schedules.OneCycleLR(
        optimizer, max_lr=peaks, total_steps=length, cycle_momentum=False
    )


# 1/t written out: 1 / (1 + t/70 * (1/0.2 - 1)).
BY_HAND: dict[str, Make] = {
    "step": lambda o: torch_schedules.StepLR(o, 23, gamma=FACTOR),
    "exponential": lambda o: torch_schedules.ExponentialLR(o, gamma=FACTOR ** (1 / LENGTH)),
    "inverse_time": lambda o: torch_schedules.LambdaLR(
        o, lambda t: 1 / (1 + (1 / FACTOR - 1) / LENGTH * t)
    ),
    "cosine": lambda o: torch_schedules.CosineAnnealingLR(o, LENGTH),
    "warm_restarts": lambda o: torch_schedules.CosineAnnealingWarmRestarts(o, 23),
    "one_cycle": one_cycle,
}
LENGTHS = {"step": 23, "warm_restarts": 23}


def settings(kind: str) -> dict[str, Any]:
    return {"schedule_steps": LENGTHS.get(kind, LENGTH), "schedule_factor": FACTOR}


def two_groups(model: nn.Sequential) -> torch.optim.Optimizer:
    """SGD with two groups of different learning rates."""
    groups = [
        {"params": model[0].parameters(), "lr": 0.07},
        {"params": [*model[1].parameters(), *model[4].parameters()], "lr": 0.013},
    ]
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


class Plain:
    """A plain loop with two groups that notes every learning rate."""

    def __init__(self, at: dict[int, Callable[[Plain], Any]]) -> None:
        self.model = tiny_mlp()
        self.optimizer = two_groups(self.model)
        self.scheduler: Any = None
        self.rates: list[list[float]] = []
        self.at = at

    def rates_now(self) -> list[float]:
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def begin(self, make: Make) -> None:
        """A scheduler that starts at the rates in force."""
        for group in self.optimizer.param_groups:
            for key in ("initial_lr", "max_lr", "min_lr"):
                group.pop(key, None)
        self.scheduler = make(self.optimizer)

    def run(self, steps: int) -> Plain:
        def before(step: int, loop: PlainLoop) -> None:
            if step in self.at:
                self.at[step](self)
                loop.optimizer = self.optimizer
            self.rates.append(self.rates_now())

        def after() -> None:
            if self.scheduler is not None:
                self.scheduler.step()

        at = {step: partial(before, step) for step in range(steps)}
        loop = PlainLoop(self.model, blobs(), self.optimizer, at=at, after=after)
        loop.run(steps)
        return self


def debugger(model: nn.Sequential, **arguments: Any) -> nbd.Debugger:
    return nbd.Debugger(
        model,
        blobs(),
        nn.CrossEntropyLoss(),
        optimizer=two_groups(model),
        batch_size=32,
        **arguments,
    )


def lr_of(dbg: nbd.Debugger) -> list[float]:
    return list(dbg.history.frame("lr")["lr"])


def compare(plain: Plain, edits: dict[int, dict[str, Any]], **arguments: Any) -> str:
    """Train both ways to the same weights and rates; the note of the last change."""
    plain.run(STEPS)
    model = tiny_mlp()
    with debugger(model, **arguments) as dbg:
        for step in range(STEPS):
            if step in edits:
                dbg.set(**edits[step])
            now = [group["lr"] for group in optimizer_of(dbg).param_groups]
            assert now == plain.rates[step], step
            dbg.step()
        assert lr_of(dbg) == [rates[0] for rates in plain.rates]
        assert same_weights(model, plain.model)
        statuses = set(dbg.changes["status"])
        assert statuses <= {"applied"}
        return "" if dbg.changes.empty else str(dbg.changes.iloc[-1].note)


@pytest.mark.parametrize("kind", BY_HAND)
def test_a_schedule_from_the_beginning(kind: str) -> None:
    plain = Plain({0: lambda loop: loop.begin(BY_HAND[kind])})
    compare(plain, {}, schedule=kind, **settings(kind))
    assert len({tuple(rates) for rates in plain.rates}) > 1


@pytest.mark.parametrize("kind", BY_HAND)
def test_a_schedule_chosen_in_the_middle(kind: str) -> None:
    plain = Plain({9: lambda loop: loop.begin(BY_HAND[kind])})
    note = compare(plain, {9: {**settings(kind), "schedule": kind}})
    assert f"{LENGTHS.get(kind, LENGTH)} steps" in note


@pytest.mark.parametrize("order", [1, -1], ids=["kind last", "kind first"])
@pytest.mark.parametrize("kind", [kind for kind in BY_HAND if kind != "one_cycle"])
def test_warm_up_then_the_schedule(kind: str, order: int) -> None:
    def make(optimizer: torch.optim.Optimizer) -> Scheduler:
        warm = torch_schedules.LinearLR(optimizer, start_factor=1 / 11, total_iters=10)
        return torch_schedules.SequentialLR(optimizer, [warm, BY_HAND[kind](optimizer)], [10])

    chosen = {**settings(kind), "warmup_steps": 10, "schedule": kind}
    edits = {5: dict(list(chosen.items())[::order])}
    note = compare(Plain({5: lambda loop: loop.begin(make)}), edits)
    assert "A linear warm-up of 10 steps" in note


def test_warm_up_of_a_one_cycle_leads_to_its_first_rate() -> None:
    chosen = {"schedule": "one_cycle", "schedule_steps": 40, "warmup_steps": 4}
    with debugger(tiny_mlp(), **chosen) as dbg:
        dbg.run(steps=45)
        rates = lr_of(dbg)
    assert rates[0] == pytest.approx(0.07 / 25 / 5)
    assert rates[4] == 0.07 / 25
    assert max(rates) == pytest.approx(0.07, rel=1e-2)


def test_warm_up_to_a_constant_rate() -> None:
    warm = partial(torch_schedules.LinearLR, start_factor=1 / 21, total_iters=20)
    plain = Plain({0: lambda loop: loop.begin(warm)}).run(20)
    with debugger(tiny_mlp(), warmup_steps=20) as dbg:
        dbg.run(steps=30)
        assert lr_of(dbg)[:20] == [rates[0] for rates in plain.rates]
        # LinearLR adds up its roundings; what follows the warm-up is the rate itself.
        assert lr_of(dbg)[20:] == [0.07] * 10


def plateau_by_hand(plain: Plain, patience: int, epochs: int) -> list[float]:
    """A loop with an epoch mean by hand; the rate of every step."""
    X, y = blobs()
    loss_fn, order = nn.CrossEntropyLoss(), torch.Generator().manual_seed(0)
    scheduler = torch_schedules.ReduceLROnPlateau(plain.optimizer, factor=0.5, patience=patience)
    torch.manual_seed(0)
    rates = []
    for _ in range(epochs):
        total = 0.0
        for batch in torch.randperm(len(X), generator=order).split(32):
            rates.append(plain.rates_now()[0])
            loss = loss_fn(plain.model(X[batch]), y[batch])
            plain.optimizer.zero_grad()
            loss.backward()
            plain.optimizer.step()
            total += loss.item() * len(batch)
        scheduler.step(total / len(X))
    return rates


@pytest.mark.slow
@pytest.mark.parametrize("own", [False, True])
def test_plateau_takes_the_mean_loss_of_an_epoch(own: bool) -> None:
    plain = Plain({})
    epochs = 40 if own else 150
    rates = plateau_by_hand(plain, 2 if own else 10, epochs)
    assert len(set(rates)) > 1
    mine = partial(torch_schedules.ReduceLROnPlateau, factor=0.5, patience=2)
    chosen = {"schedule": mine} if own else {"schedule": "plateau", "schedule_factor": 0.5}
    model = tiny_mlp()
    with debugger(model, **chosen) as dbg:
        dbg.run(epochs=epochs)
        assert lr_of(dbg) == rates
        assert same_weights(model, plain.model)
        said = [notice.text for notice in dbg.history.notices]
        assert any("mean training loss of each epoch" in text for text in said)


def test_plateau_takes_the_validation_loss() -> None:
    mine = partial(torch_schedules.ReduceLROnPlateau, factor=0.5, patience=0)
    model = tiny_mlp()
    with debugger(model, schedule=mine, val_data=blobs(seed=3), val_every=5) as dbg:
        dbg.run(steps=100)
        losses = dbg.history.frame("val_loss")["val_loss"].dropna().tolist()
        rates = lr_of(dbg)
        assert any("validation loss" in notice.text for notice in dbg.history.notices)
    reference = two_groups(tiny_mlp())
    scheduler = mine(reference)
    for number, loss in enumerate(losses[:-1]):
        scheduler.step(loss)
        assert set(rates[5 * number + 5 : 5 * number + 10]) == {reference.param_groups[0]["lr"]}
    assert len(losses) == 20
    assert rates[-1] < rates[0]


def test_switching_from_one_schedule_to_the_next() -> None:
    plain = Plain(
        {
            7: lambda loop: loop.begin(BY_HAND["exponential"]),
            20: lambda loop: loop.begin(BY_HAND["cosine"]),
            33: lambda loop: loop.begin(BY_HAND["inverse_time"]),
            47: lambda loop: setattr(loop, "scheduler", None),
        }
    )
    edits = {
        7: {**settings("exponential"), "schedule": "exponential"},
        20: {"schedule": "cosine"},
        33: {"schedule": "inverse_time"},
        47: {"schedule": "constant"},
    }
    compare(plain, edits)


def test_a_warm_up_that_is_over_is_not_repeated() -> None:
    with debugger(tiny_mlp(), schedule="step", schedule_steps=50, warmup_steps=5) as dbg:
        dbg.run(steps=7)
        dbg.set(schedule="constant")
        dbg.run(steps=3)
        assert lr_of(dbg)[5:] == [0.07] * 5
        dbg.set(warmup_steps=4)
        dbg.run(steps=5)
        assert lr_of(dbg)[10:] == pytest.approx([0.07 * share / 5 for share in range(1, 6)])


@pytest.mark.parametrize("kind", ["cosine", "one_cycle"])
def test_after_its_end_the_rate_stays(kind: str) -> None:
    with debugger(tiny_mlp(), schedule=kind, schedule_steps=20) as dbg:
        dbg.run(steps=50)
        rates = lr_of(dbg)
    last = 20 if kind == "cosine" else 19
    assert rates[last - 1] > rates[last]
    assert rates[last] == pytest.approx(0.0, abs=1e-6)
    assert set(rates[last:]) == {rates[last]}


def scaled(loop: Plain, leader: float) -> None:
    """What a loop by hand does to scale everything a scheduler computes from."""
    factor = leader / loop.rates_now()[0]
    for place, group in enumerate(loop.optimizer.param_groups):
        group["lr"] = leader if place == 0 else group["lr"] * factor
        for key in ("initial_lr", "max_lr", "min_lr"):
            if key in group:
                group[key] = group[key] * factor
    loop.scheduler.base_lrs = [lr * factor for lr in loop.scheduler.base_lrs]


@pytest.mark.parametrize("kind", BY_HAND)
def test_a_new_rate_scales_the_schedule(kind: str) -> None:
    plain = Plain({0: lambda loop: loop.begin(BY_HAND[kind]), 15: lambda loop: scaled(loop, 0.03)})
    note = compare(plain, {15: {"lr": 0.03}}, schedule=kind, **settings(kind))
    assert "scaled by the same factor" in note


def anew(loop: Plain, leader: float, make: Make) -> None:
    factor = leader / loop.rates_now()[0]
    for place, group in enumerate(loop.optimizer.param_groups):
        group["lr"] = leader if place == 0 else group["lr"] * factor
    loop.begin(make)


CONTINUED: dict[str, Make] = {
    **BY_HAND,
    "cosine": lambda o: torch_schedules.CosineAnnealingLR(o, LENGTH - 15),
    "one_cycle": lambda o: torch_schedules.CosineAnnealingLR(o, LENGTH - 1 - 15),
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_the_schedule_continues_from_a_new_rate(kind: str) -> None:
    plain = Plain(
        {
            0: lambda loop: loop.begin(BY_HAND[kind]),
            15: lambda loop: anew(loop, 0.03, CONTINUED[kind]),
        }
    )
    arguments = {"schedule": kind, "lr_change": "continue", **settings(kind)}
    assert "continues from this value" in compare(plain, {15: {"lr": 0.03}}, **arguments)


def test_your_schedule_continues_where_it_works_from_the_rate_it_finds() -> None:
    mine = partial(torch_schedules.StepLR, step_size=10, gamma=0.5)
    with debugger(tiny_mlp(), schedule=mine, lr_change="continue") as dbg:
        dbg.run(steps=15)
        dbg.set(lr=0.02)
        assert "continues from this value" in dbg.changes.iloc[-1].note
        dbg.run(steps=10)
        assert lr_of(dbg) == [0.07] * 10 + [0.035] * 5 + [0.02] * 5 + [0.01] * 5


def test_your_schedule_that_computes_from_its_base_cannot_continue() -> None:
    mine = partial(torch_schedules.LambdaLR, lr_lambda=lambda step: 0.9**step)
    with debugger(tiny_mlp(), schedule=mine, lr_change="continue") as dbg:
        dbg.run(steps=3)
        with pytest.raises(ControlValueError, match=r"LambdaLR computes.*'scale'"):
            dbg.set(lr=0.02)
        assert dbg.controls["lr"] == pytest.approx(0.07 * 0.9**3)
        dbg.set(lr_change="scale")
        dbg.set(lr=0.02)
        assert dbg.controls["lr"] == 0.02


def test_your_schedule_is_put_away_and_found_again() -> None:
    mine = partial(torch_schedules.LambdaLR, lr_lambda=lambda step: 1 / (1 + step))
    with debugger(tiny_mlp(), schedule=mine) as dbg:
        assert dbg.controls["schedule"] == "yours"
        dbg.run(steps=4)
        dbg.set(schedule="constant")
        dbg.run(steps=3)
        dbg.set(schedule="yours")
        dbg.run(steps=4)
        assert lr_of(dbg)[3:] == [0.07 * (1 / 4)] + [0.07 * (1 / n) for n in (5, 5, 5, 5, 6, 7, 8)]
        dbg.set(schedule="constant")
        dbg.set(lr=dbg.controls["lr"] * 2)
        dbg.run(steps=1)
        dbg.set(schedule="yours")
        dbg.run(steps=2)
        assert lr_of(dbg)[-2:] == pytest.approx([0.14 / 9, 0.14 / 10])


@pytest.mark.parametrize("kind", ["cosine", "one_cycle"])
def test_changes_taken_back_at_the_same_boundary_leave_no_trace(kind: str) -> None:
    first: dict[str, Any] = {"schedule": kind, "schedule_steps": 50, "warmup_steps": 3}
    with debugger(tiny_mlp(), **first) as one, debugger(tiny_mlp(), **first) as other:
        for dbg in (one, other):
            dbg.run(steps=12)
        before = one.controls["lr"]
        for edit in (
            {"schedule": "step"},
            {"warmup_steps": 20},
            {"schedule_steps": 11},
            {"schedule": kind, "warmup_steps": 3, "schedule_steps": 50},
            {"lr": 0.0123},
            {"lr": 0.777},
            {"lr": before},
        ):
            one.set(**edit)
        for dbg in (one, other):
            dbg.run(steps=25)
        assert lr_of(one) == lr_of(other)
        assert same_weights(one.model, other.model)


def test_the_schedule_goes_on_with_another_optimizer() -> None:
    def switch(loop: Plain) -> None:
        groups = [{"params": g["params"], "lr": g["lr"]} for g in loop.optimizer.param_groups]
        made = torch.optim.Adam(groups, weight_decay=0.0)
        for new, old in zip(made.param_groups, loop.optimizer.param_groups, strict=True):
            new["initial_lr"] = old["initial_lr"]
        # As if step() had been called: torch would warn.
        loop.scheduler.optimizer = loop.optimizer = made

    plain = Plain({0: lambda loop: loop.begin(BY_HAND["cosine"]), 20: switch})
    compare(plain, {20: {"optimizer": "adam"}}, schedule="cosine", schedule_steps=LENGTH)


def test_a_switch_at_the_very_beginning_of_a_schedule_does_not_warn() -> None:
    with debugger(tiny_mlp()) as dbg:
        dbg.run(steps=3)
        dbg.set(schedule="cosine", schedule_steps=50, warmup_steps=2, optimizer="adam")
        dbg.run(steps=5)
        dbg.set(schedule="constant", optimizer="sgd")
        dbg.run(steps=2)
        groups = optimizer_of(dbg).param_groups
        assert not any("initial_lr" in group for group in groups)


def test_a_schedule_that_moves_a_momentum_refuses_an_optimizer_without() -> None:
    mine = partial(torch_schedules.OneCycleLR, max_lr=0.1, total_steps=50)
    with debugger(tiny_mlp(), schedule=mine) as dbg:
        dbg.run(steps=3)
        with pytest.raises(nbd.ControlValueError, match="cycle_momentum=False"):
            dbg.set(optimizer="adam")
        assert dbg.changes.iloc[-1].status == "refused"
        assert "cycle_momentum=False" in dbg.changes.iloc[-1].note
        assert dbg.controls["optimizer"] == "sgd"
        dbg.set(optimizer="nesterov")
        assert dbg.changes.iloc[-1].status == "applied"
        dbg.run(steps=3)


@pytest.mark.parametrize("start", ["constant", "cosine", "plateau", "yours"])
def test_reset_restores_the_schedule(start: str) -> None:
    mine = partial(torch_schedules.ExponentialLR, gamma=0.9)
    first: dict[str, Any] = {"schedule": mine if start == "yours" else start, "batch_size": 32}
    more = {} if start == "yours" else {"warmup_steps": 2}
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), lr=0.01, **first, **more) as dbg:
        values = dict(dbg.controls)
        dbg.run(steps=20)
        rates = lr_of(dbg)
        dbg.set(schedule="one_cycle", schedule_steps=33, schedule_factor=0.7)
        dbg.set(warmup_steps=5, lr_change="continue")
        dbg.run(steps=4)
        dbg.set(lr=0.5)
        dbg.reset()
        assert dict(dbg.controls) == values
        dbg.run(steps=20)
        assert lr_of(dbg) == rates


def test_the_length_is_that_of_the_run_or_ten_epochs() -> None:
    with debugger(tiny_mlp()) as dbg:
        schedule = session_of(dbg).schedule
        dbg.set(schedule="cosine")
        assert schedule.length() == 10 * 7
        dbg.set(schedule="step")
        assert schedule.length() == 70 // 3
        dbg.set(schedule_steps=5)
        assert schedule.length() == 5
        dbg.set(schedule_steps=0)
        assert schedule.length() == 70 // 3
        assert dbg.controls["schedule_steps"] == 0
    with debugger(tiny_mlp()) as dbg:
        from nbdebug.core.commands.running import Run, SetControl

        # Both wait when the thread looks: the run has begun when the schedule is chosen.
        queue_of(dbg).put(Run(steps=30))
        queue_of(dbg).put(SetControl("schedule", "cosine"))
        dbg.wait()
        dbg.history.wait_until(lambda status: status.state == "paused" and status.step == 30)
        assert 25 <= session_of(dbg).schedule.length() <= 30


@pytest.fixture
def dbg() -> Iterator[nbd.Debugger]:
    with debugger(tiny_mlp()) as made:
        made.run(steps=2)
        yield made


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"schedule": "cosinus"}, "schedule must be one of constant, step"),
        ({"schedule": "yours"}, "schedule must be one of"),
        ({"schedule_steps": -3}, "schedule_steps must be a number in"),
        ({"schedule_steps": 2.5}, "schedule_steps must be a whole number"),
        ({"schedule_factor": 0.0}, "schedule_factor must be a number in"),
        ({"schedule_factor": 1.0}, "schedule_factor must be a number in"),
        ({"warmup_steps": -1}, "warmup_steps must be a number in"),
        ({"warmup_steps": 1.5}, "warmup_steps must be a whole number"),
        ({"lr_change": "jump"}, "lr_change must be one of scale, continue"),
    ],
)
def test_values_that_make_no_sense(dbg: nbd.Debugger, values: dict[str, Any], said: str) -> None:
    before = dict(dbg.controls)
    with pytest.raises(ControlValueError, match=said):
        dbg.set(**values)
    assert dict(dbg.controls) == before


def test_schedules_that_make_no_sense_at_the_start() -> None:
    with pytest.raises(ControlValueError, match="schedule must be one of"):
        debugger(tiny_mlp(), schedule="cosinus")
    with pytest.raises(ArgumentError, match="schedule gave a int"):
        debugger(tiny_mlp(), schedule=lambda optimizer: 3)
    other = two_groups(tiny_mlp())
    with pytest.raises(ArgumentError, match="belongs to another optimizer"):
        debugger(tiny_mlp(), schedule=torch_schedules.ReduceLROnPlateau(other))
    with pytest.raises(
        ControlValueError, match="warmup_steps cannot be changed: nbdebug does not change your own"
    ):
        debugger(
            tiny_mlp(), schedule=partial(torch_schedules.ExponentialLR, gamma=0.9), warmup_steps=3
        )


def test_a_schedule_of_yours_that_raises_leaves_whole_steps() -> None:
    mine = partial(torch_schedules.OneCycleLR, max_lr=0.1, total_steps=5)
    with debugger(tiny_mlp(), schedule=mine) as dbg:
        with pytest.raises(ValueError, match="Tried to step"):
            dbg.run(steps=20)
        assert dbg.history.status.step == len(lr_of(dbg)) == 6


def test_a_new_batch_size_offers_scaled_rates(dbg: nbd.Debugger) -> None:
    dbg.set(lr=0.001)
    dbg.set(batch_size=64)
    assert dbg.changes.iloc[-1].note == (
        "64 is 2 times 32: linear scaling would be lr 0.002, square-root 0.00141; "
        "the learning rate was not changed."
    )
    assert dbg.controls["lr"] == 0.001
    dbg.set(batch_size=64)
    assert dbg.changes.iloc[-1].note == ""
