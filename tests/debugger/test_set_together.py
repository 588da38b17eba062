"""Values that an earlier change rules out are refused in words, also while training runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

import nbdebug as nbd
from nbdebug.errors import ControlValueError
from tests.problems import blobs, tiny_mlp

NO_BETA2 = {"lr": 0.2, "optimizer": "sgd", "beta2": 0.9, "dropout": 0.1}
CASES: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "momentum": ("sgd", {"optimizer": "nesterov", "momentum": 0.0}, "momentum=0.0", "optimizer"),
    "beta2": ("adam", {"optimizer": "sgd", "beta2": 0.9}, "beta2=0.9", "optimizer"),
    "beta2 among others": ("adam", NO_BETA2, "beta2=0.9", "lr, optimizer, dropout"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_refused_and_what_was_set_is_said(case: str) -> None:
    before, values, refused, applied = CASES[case]
    with nbd.Debugger(
        tiny_mlp(), blobs(), nn.CrossEntropyLoss(), optimizer=before, runs=None
    ) as dbg:
        dbg.run(steps=1)
        with pytest.raises(ControlValueError) as caught:
            dbg.set(**values)
        said = str(caught.value)
        assert said.startswith(f"Not set: {refused} (")
        assert said.endswith(f" Set all the same: {applied}.")
        assert dbg.controls["optimizer"] == values["optimizer"]
        dbg.run(steps=1)
        assert dbg.replay().equal


def test_what_fits_together_is_set_together() -> None:
    with nbd.Debugger(
        tiny_mlp(), blobs(), nn.CrossEntropyLoss(), optimizer="sgd", runs=None
    ) as dbg:
        dbg.set(optimizer="nesterov", momentum=0.5, lr=0.1)
        assert dbg.changes["status"].tolist() == ["applied"] * 3


class Held:
    """A loss that holds a step up, once, until `go` is set."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, outputs: Any, targets: Any) -> Any:
        self.begun.set()
        assert self.go.wait(30)
        return nn.functional.cross_entropy(outputs, targets)


class Closed(torch.optim.SGD):
    """An optimizer that takes no parameters later."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if self.param_groups:
            raise NotImplementedError("one group")
        super().add_param_group(param_group)


def half_frozen() -> nn.Module:
    model = tiny_mlp()
    model[0].requires_grad_(False)  # type: ignore[index]
    return model


def closed(model: nn.Module) -> torch.optim.Optimizer:
    return Closed([p for p in model.parameters() if p.requires_grad], lr=0.1)


def cycle(optimizer: torch.optim.Optimizer) -> Any:
    return lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=90)


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


# Model, optimizer, schedule, values that are set before, the refused ones, and the reason.
Refused = tuple[Callable[[], nn.Module], Any, Any, dict[str, Any], dict[str, Any], str]
REFUSED: dict[str, Refused] = {
    "beta2": (tiny_mlp, "adam", None, {"optimizer": "sgd"}, {"beta2": 0.9}, "no second beta"),
    "momentum": (tiny_mlp, "sgd", None, {"optimizer": "nesterov"}, {"momentum": 0.0}, "above 0"),
    "optimizer": (tiny_mlp, sgd, cycle, {}, {"optimizer": "adam"}, "cycle_momentum=False"),
    "frozen": (half_frozen, closed, None, {}, {"frozen": "trainable"}, "one group"),
}


def refusing(case: str, loss_fn: Any = nn.functional.cross_entropy) -> nbd.Debugger:
    make, optimizer, schedule, *_ = REFUSED[case]
    model = make()
    made = optimizer if isinstance(optimizer, str) else optimizer(model)
    return nbd.Debugger(model, blobs(), loss_fn, optimizer=made, schedule=schedule, runs=None)


def check_refused(dbg: nbd.Debugger, case: str) -> None:
    """The row of changes and the value in force are the same, whether it paused or ran."""
    *_, values, reason = REFUSED[case]
    [name] = values
    last = dbg.changes.iloc[-1]
    assert (last.control, last.status) == (name, "refused")
    assert reason in last.note
    assert dbg.controls[name] != values[name]


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_raises_while_paused(case: str) -> None:
    *_, first, values, reason = REFUSED[case]
    with refusing(case) as dbg:
        dbg.run(steps=1)
        if first:
            dbg.set(**first)
        with pytest.raises(ControlValueError, match=reason):
            dbg.set(**values)
        if not first:
            check_refused(dbg, case)
        assert dbg.history.notices == ()
        dbg.run(steps=1)


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_a_notice_while_training_runs(case: str) -> None:
    *_, first, values, reason = REFUSED[case]
    [name] = values
    loss_fn = Held()
    with refusing(case, loss_fn) as dbg:
        dbg.start()
        assert loss_fn.begun.wait(30)
        if first:
            dbg.set(**first)
        # Still within the range, since the change before it waits for the end of the step.
        dbg.set(**values)
        assert dbg.history.notices == ()
        loss_fn.go.set()
        dbg.pause()
        [notice] = dbg.history.notices
        assert (notice.severity, notice.title) == ("warning", f"{name} was not set")
        assert reason in notice.text
        assert repr(values[name]) in notice.text
        check_refused(dbg, case)
        assert dbg.failure is None


def test_what_is_set_while_training_runs_leaves_no_notice() -> None:
    loss_fn = Held()
    with nbd.Debugger(tiny_mlp(), blobs(), loss_fn, runs=None) as dbg:
        dbg.start()
        assert loss_fn.begun.wait(30)
        dbg.set(lr=0.1)
        dbg.set(lr=0.2)
        loss_fn.go.set()
        dbg.pause()
        assert dbg.changes["status"].tolist() == ["superseded", "applied"]
        assert dbg.history.notices == ()


def test_a_close_while_values_wait_leaves_no_notice() -> None:
    loss_fn = Held()
    with nbd.Debugger(tiny_mlp(), blobs(), loss_fn, runs=None) as dbg:
        dbg.start()
        assert loss_fn.begun.wait(30)
        dbg.set(optimizer="sgd")
        threading.Timer(0.1, loss_fn.go.set).start()
    assert dbg.history.notices == ()
