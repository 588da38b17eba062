"""A change of the optimizer keeps what both classes have, as in a plain loop, to the bit."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.controls.optimizer import OptimizerKind
from nbdebug.model.optimizers import Optimizers
from tests.inside import session_of
from tests.problems import PlainLoop, blobs, same_weights, tiny_mlp

CLASSES: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "nesterov": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}
FAMILIES = {"sgd": "sgd", "nesterov": "sgd", "adam": "adam", "adamw": "adam"}
OWN = {"nesterov": {"momentum": 0.9, "nesterov": True}}
# One set of options that exclude each other is one case.
OPTIONS: dict[str, dict[str, Any]] = {
    "maximize": {"maximize": True, "eps": 1e-2, "amsgrad": True},
    "foreach": {"foreach": True, "betas": (0.7, 0.8), "dampening": 0.25, "momentum": 0.5},
    "fused": {"fused": True, "weight_decay": 0.1, "eps": 1e-3},
}
SHARED = {"betas", "eps", "amsgrad", "maximize", "foreach", "fused", "weight_decay"}
PAIRS = [(one, other) for one in CLASSES for other in CLASSES if one != other]
LR = 0.01


def fitting(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options that a class has; Nesterov takes no dampening."""
    known = inspect.signature(CLASSES[kind]).parameters
    fits = {name: value for name, value in options.items() if name in known}
    if kind == "nesterov":
        fits.pop("dampening", None)
        fits.pop("momentum", None)
    return {**fits, **OWN.get(kind, {})}


def switched(plain: PlainLoop, kind: str, before: str) -> None:
    """What a user would write to change the optimizer and keep its options."""
    old = plain.optimizer.param_groups[0]
    related = FAMILIES.get(kind, kind) == FAMILIES.get(before, before)
    names = SHARED | ({"momentum", "dampening"} if related else set())
    kept = fitting(kind, {name: old[name] for name in names if name in old})
    if related and kind == "nesterov" and old["momentum"]:
        kept["momentum"] = old["momentum"]
    new = CLASSES[kind](plain.model.parameters(), **{"lr": LR, **kept})
    if related:
        new.state = plain.optimizer.state
    plain.optimizer = new


def plain_run(one: str, other: str, given: dict[str, Any]) -> PlainLoop:
    model = tiny_mlp()
    optimizer = CLASSES[one](model.parameters(), lr=LR, **given)
    edits = {3: lambda plain: switched(plain, other, one)}
    return PlainLoop(model, blobs(), optimizer, at=edits).run(6)


@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_options_of_both_stay(one: str, other: str, case: str) -> None:
    given = fitting(one, OPTIONS[case])
    plain = plain_run(one, other, given)
    model = tiny_mlp()
    optimizer = CLASSES[one](model.parameters(), lr=LR, **given)
    with nbd.Debugger(
        model, blobs(), nn.CrossEntropyLoss(), optimizer=optimizer, batch_size=32, runs=None
    ) as dbg:
        dbg.run(steps=3)
        dbg.set(optimizer=other)
        dbg.run(steps=3)
        assert same_weights(model, plain.model)
        assert type(dbg.optimizer) is CLASSES[other]
        expected = {k: v for k, v in plain.optimizer.param_groups[0].items() if k != "params"}
        found = {k: v for k, v in dbg.optimizer.param_groups[0].items() if k != "params"}
        assert found == expected
        assert dbg.replay().equal
        dbg.set(optimizer=one)
        options = dbg.optimizer.param_groups[0]
        assert {name: options[name] for name in given} == given


@pytest.mark.parametrize("name", ["capturable", "differentiable"])
@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_options_that_the_cpu_cannot_run_stay(one: str, other: str, name: str) -> None:
    # differentiable cannot update leaves, and capturable is for GPUs: only the groups are compared.
    given = fitting(one, {name: True})
    optimizers = Optimizers(CLASSES[one](tiny_mlp().parameters(), lr=LR, **given))
    optimizers.switch(other)
    options = optimizers.current.param_groups[0]
    assert options.get(name, False) == (name in given and name in options)


LOST = [
    ({"amsgrad": True}, "adam", "sgd", "amsgrad=True"),
    ({"amsgrad": True}, "adamw", "rmsprop", "amsgrad=True"),
    ({"fused": True}, "sgd", "rmsprop", "fused=True"),
    ({"centered": True}, "rmsprop", "adam", "centered=True"),
    ({"momentum": 0.9, "dampening": 0.5}, "sgd", "nesterov", "dampening=0.5"),
    ({"eps": 1e-3}, "adam", "nesterov", "eps=0.001"),
]


@pytest.mark.parametrize(("given", "one", "other", "lost"), LOST)
def test_what_is_left_behind_is_said_before_and_after(
    given: dict[str, Any], one: str, other: str, lost: str
) -> None:
    model = tiny_mlp()
    optimizer = CLASSES[one](model.parameters(), lr=LR, **given)
    with nbd.Debugger(model, blobs(), nn.CrossEntropyLoss(), optimizer=optimizer, runs=None) as dbg:
        said = OptimizerKind().spec(session_of(dbg)).help
        assert "Not taken along to" in said
        assert lost in said
        dbg.set(optimizer=other)
        assert dbg.changes["note"].iloc[-1].endswith(f"Not taken along: {lost}.")


@pytest.mark.parametrize("kind", CLASSES)
def test_nothing_is_said_of_defaults(kind: str) -> None:
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), optimizer=kind, runs=None) as dbg:
        assert "Not taken along" not in OptimizerKind().spec(session_of(dbg)).help


def test_groups_keep_their_own_options() -> None:
    model = tiny_mlp()
    first, *rest = model.parameters()
    groups = [{"params": [first], "eps": 1e-2}, {"params": rest, "maximize": True}]
    with nbd.Debugger(
        model, blobs(), nn.CrossEntropyLoss(), optimizer=torch.optim.Adam(groups, lr=LR), runs=None
    ) as dbg:
        for kind in ("rmsprop", "adamw", "sgd", "adam"):
            dbg.set(optimizer=kind)
            one, other = dbg.optimizer.param_groups
            assert (one["maximize"], other["maximize"]) == (False, True)
            assert kind == "sgd" or (one["eps"], other["eps"]) == (1e-2, 1e-8)


def test_an_adam_with_decoupled_decay_comes_back_as_it_was() -> None:
    model = tiny_mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, decoupled_weight_decay=True)
    with nbd.Debugger(model, blobs(), nn.CrossEntropyLoss(), optimizer=optimizer, runs=None) as dbg:
        dbg.set(optimizer="adamw")
        dbg.set(optimizer="adam")
        assert dbg.optimizer.param_groups[0]["decoupled_weight_decay"] is True


def test_a_script_writes_the_options_that_were_taken_along(tmp_path: Path) -> None:
    model = tiny_mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, maximize=True, eps=1e-2)
    with nbd.Debugger(model, blobs(), nn.CrossEntropyLoss(), optimizer=optimizer, runs=None) as dbg:
        dbg.run(steps=1)
        dbg.set(optimizer="rmsprop")
        dbg.run(steps=1)
        dbg.script(tmp_path / "again.py")
    written = (tmp_path / "again.py").read_text()
    assert "RMSprop(model.parameters(), lr=0.01, eps=0.01, maximize=True)" in written
