"""What fails after the update of a step: the step counts, and the rest is tried again."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler
from torch.utils.data import Dataset

import nbdebug as nbd
from tests.hidden import Hidden
from tests.problems import blobs, tiny_mlp

DATA, HELD_OUT = blobs(), blobs(samples=20, seed=5)
STEPS = 12
loss_fn = nn.CrossEntropyLoss()


class Faults:
    made = Hidden()

    def __init__(self, *calls: int) -> None:
        self.calls, self.made = calls, 0

    def __deepcopy__(self, memo: Any) -> Faults:
        return self

    def __call__(self) -> None:
        # The forecast of the learning rate steps a copy of the schedule.
        if any(frame.name == "forecast" for frame in traceback.extract_stack()):
            return
        self.made += 1
        if self.made in self.calls:
            raise ValueError("broke")


class HeldOut(Dataset[Any]):
    def __init__(self, fail: Callable[[], None]) -> None:
        self.fail = fail

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> Any:
        if index == 0:
            self.fail()
        return HELD_OUT[0][index], HELD_OUT[1][index]


def metric(fail: Callable[[], None]) -> Callable[[Any, Any], float]:
    def measured(outputs: Any, targets: Any) -> float:
        if len(outputs) == 20:
            fail()
        return 1.0

    return measured


def in_eval(fail: Callable[[], None]) -> Callable[[Any, Any], Any]:
    def loss(outputs: Any, targets: Any) -> Any:
        if len(outputs) == 20:
            fail()
        return loss_fn(outputs, targets)

    return loss


def scheduled(make: Callable[..., Any]) -> dict[str, Any]:
    return {"optimizer": lambda parameters: torch.optim.SGD(parameters, lr=0.1), "schedule": make}


def factor(fail: Callable[[], None]) -> Callable[[int], float]:
    def value(step: int) -> float:
        if step:
            fail()
        return 0.9**step

    return value


class Stepwise(lr_scheduler.LRScheduler):
    """Fails after one of its groups was written."""

    fail: Callable[[], None]

    def step(self, epoch: Any = None) -> None:
        if getattr(self, "fail", None) is not None:
            self.last_epoch += 1
            for group in self.optimizer.param_groups:
                group["lr"] *= 0.9
            self.fail()


def stepwise(fail: Callable[[], None]) -> Callable[..., Any]:
    def make(optimizer: Any) -> Any:
        made = Stepwise(optimizer)
        made.fail = fail
        return made

    return make


PLATEAU = {"schedule": "plateau", "val_every": 3}
CASES: dict[str, Callable[[Callable[[], None]], dict[str, Any]]] = {
    "val_data": lambda fail: {"val_data": HeldOut(fail), "val_every": 3},
    "metric": lambda fail: {"val_data": HELD_OUT, "metrics": {"m": metric(fail)}, "val_every": 3},
    "loss": lambda fail: {"val_data": HELD_OUT, "loss": in_eval(fail), "val_every": 3},
    "plateau": lambda fail: {"val_data": HeldOut(fail), **PLATEAU},
    "lambda": lambda fail: scheduled(lambda o: lr_scheduler.LambdaLR(o, factor(fail))),
    "own schedule": lambda fail: scheduled(stepwise(fail)),
    "chained": lambda fail: scheduled(
        lambda o: lr_scheduler.SequentialLR(
            o,
            [lr_scheduler.ConstantLR(o), lr_scheduler.LambdaLR(o, factor(fail))],
            milestones=[2],
        )
    ),
}


def debugger(case: str, fail: Callable[[], None]) -> nbd.Debugger:
    arguments = CASES[case](fail)
    loss = arguments.pop("loss", loss_fn)
    return nbd.Debugger(tiny_mlp(), DATA, loss, batch_size=32, runs=None, **arguments)


def numbers(dbg: nbd.Debugger) -> dict[str, list[float]]:
    frame = dbg.history.frame()
    names = [name for name in ("loss", "lr", "val_loss") if name in frame]
    return {name: frame[name].dropna().tolist() for name in names}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("call", [1, 2])
def test_what_failed_once_is_tried_again_and_everything_else_is_as_without(
    case: str, call: int
) -> None:
    with debugger(case, lambda: None) as straight:
        straight.run(steps=STEPS)
        expected = numbers(straight)
    with debugger(case, Faults(call)) as dbg:
        with pytest.raises(ValueError, match="broke"):
            dbg.run(steps=STEPS)
        step = dbg.history.status.step
        assert len(dbg.history.frame("loss")["loss"].dropna()) == step
        part = "validation" if "val_data" in CASES[case](lambda: None) else "schedule"
        assert dbg.failure is not None
        assert dbg.failure.title == f"Stopped in the {part} after step {step - 1}: ValueError"
        assert dbg.replay().equal
        dbg.run(steps=STEPS - step)
        assert numbers(dbg) == expected
        assert dbg.replay().equal
        assert dbg.rewind(-5).equal
        dbg.run(steps=5)
        assert numbers(dbg) == expected


@pytest.mark.parametrize("case", ["metric", "plateau"])
def test_a_validation_that_fails_again_is_noted_as_missing(case: str) -> None:
    with debugger(case, Faults(2, 3)) as dbg:
        with pytest.raises(ValueError, match="broke"):
            dbg.run(steps=STEPS)
        dbg.run(steps=STEPS - dbg.history.status.step)
        assert dbg.history.frame("val_loss")["val_loss"].dropna().index.tolist() == [2, 8, 11]
        [notice] = [n for n in dbg.history.notices if "missing" in n.title]
        assert notice.title == "The validation after step 5 is missing"
        assert "broke" in notice.text
        assert len(dbg.history.frame("loss")["loss"].dropna()) == STEPS
        assert dbg.replay().equal
        assert dbg.rewind(7).equal


def test_a_schedule_past_its_end_makes_no_further_step_until_it_is_replaced() -> None:
    def one_cycle(optimizer: Any) -> Any:
        return lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=5)

    with nbd.Debugger(tiny_mlp(), DATA, loss_fn, runs=None, **scheduled(one_cycle)) as dbg:
        for _ in range(3):
            with pytest.raises(ValueError, match="Tried to step"):
                dbg.run(steps=8)
        step = dbg.history.status.step
        assert step == len(dbg.history.frame("loss")) <= 6
        dbg.set(schedule="constant")
        dbg.run(steps=4)
        assert dbg.history.status.step == step + 4
        assert dbg.replay().equal
        assert dbg.rewind(step - 1).equal
