"""Arguments of the verbs that make no sense: refused in words, and nothing moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.errors import ArgumentError, NbdebugError
from tests.problems import blobs, tiny_mlp

NO_PLACE: dict[str, Any] = {
    "fraction": 2.5,
    "whole float": 2.0,
    "list": [1],
    "empty list": [],
    "truth": True,
    "tensor of fractions": torch.tensor(2.5),
    "two steps": torch.tensor([1, 2]),
    "mapping": {1: 2},
    "bytes": b"a",
    "complex": 1j,
}
PLACES: dict[str, Callable[[nbd.Debugger, Any], object]] = {
    "rewind": lambda dbg, place: dbg.rewind(place),
    "fork": lambda dbg, place: dbg.fork(2, start=place, lr=0.1),
    "worst_samples": lambda dbg, place: dbg.worst_samples(place),
}
Verb = Callable[[nbd.Debugger], object]
OTHERS: dict[str, Verb] = {
    "a finding by its name": lambda dbg: dbg.try_remedy("lr"),  # type: ignore[arg-type]
    "rewind to None": lambda dbg: dbg.rewind(None),  # type: ignore[arg-type]
    "no value to try": lambda dbg: dbg.fork(2, lr=[]),
    "no value of two": lambda dbg: dbg.fork(2, lr=[0.1], dropout=[]),
    "finding that is a number": lambda dbg: dbg.fork(2, for_finding=3, lr=0.1),  # type: ignore
    "number as name": lambda dbg: dbg.checkpoint(5),  # type: ignore[arg-type]
    "list as name": lambda dbg: dbg.checkpoint(["x"]),  # type: ignore[arg-type]
    "name that is not there": lambda dbg: dbg.rewind("5"),
    "number as layer": lambda dbg: dbg.set(dropout={3: 0.1}),
    "tuple as layer": lambda dbg: dbg.set(clip_overrides={("0",): 0.1}),
    "None as layer": lambda dbg: dbg.fork(2, frozen={None: "frozen"}),
    "number as check": lambda dbg: dbg.check(3),  # type: ignore[arg-type]
    "list as check": lambda dbg: dbg.check(["a"]),  # type: ignore[arg-type]
    "nested condition": lambda dbg: dbg.break_when("(" * 500 + "step > 1" + ")" * 500),
    "long condition": lambda dbg: dbg.break_when(" and ".join(["step > 1"] * 2000)),
    "many rises": lambda dbg: dbg.break_when("loss rises " + "9" * 5000),
    "trial that is a fraction": lambda dbg: dbg.fork(2, lr=0.1).keep(0.5),  # type: ignore
    "trial that is a text": lambda dbg: dbg.fork(2, lr=0.1).keep("0"),  # type: ignore
    "timeout that is a text": lambda dbg: dbg.wait("x"),  # type: ignore[arg-type]
    "rule that is a list": lambda dbg: dbg.fork(2, for_finding=["x"], lr=0.1),  # type: ignore
}


@pytest.fixture(scope="module")
def dbg() -> Iterator[nbd.Debugger]:
    model = nn.Sequential(tiny_mlp(), nn.Dropout(0.1))
    with nbd.Debugger(model, blobs(), nn.CrossEntropyLoss(), runs=None) as dbg:
        dbg.run(steps=3)
        dbg.set(dropout=0.2)
        dbg.run(steps=2)
        yield dbg


def refused(dbg: nbd.Debugger, kind: type[NbdebugError], verb: Verb) -> str:
    """The words of the refusal; nothing moved."""

    def seen() -> tuple[Any, ...]:
        weights = [p.detach().clone() for p in dbg.model.parameters()]
        status = dbg.history.status
        return weights, (status, dbg.session.step, dict(dbg.controls), dbg.history.changes)

    weights, rest = seen()
    with pytest.raises(kind) as caught:
        verb(dbg)
    after, rest_after = seen()
    assert all(torch.equal(a, b) for a, b in zip(weights, after, strict=True))
    assert rest_after == rest
    return str(caught.value)


@pytest.mark.parametrize("value", NO_PLACE)
@pytest.mark.parametrize("verb", PLACES)
def test_places_that_are_none(dbg: nbd.Debugger, verb: str, value: str) -> None:
    said = refused(dbg, ArgumentError, lambda d: PLACES[verb](d, NO_PLACE[value]))
    assert "must be a whole number of steps, or the name of a checkpoint" in said


@pytest.mark.parametrize("case", OTHERS)
def test_other_arguments_that_make_no_sense(dbg: nbd.Debugger, case: str) -> None:
    said = refused(dbg, NbdebugError, OTHERS[case])
    assert "the control raised" not in said
    assert len(said) < 2000


def test_a_refused_rewind_leaves_a_training_that_can_be_replayed(dbg: nbd.Debugger) -> None:
    with pytest.raises(ArgumentError):
        dbg.rewind(2.5)  # type: ignore[arg-type]
    assert dbg.replay().equal


def test_whole_numbers_of_other_libraries_are_steps(dbg: nbd.Debugger) -> None:
    assert dbg.worst_samples(torch.tensor(3)).step == 3  # type: ignore[arg-type]
