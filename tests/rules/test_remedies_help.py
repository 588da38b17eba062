"""No remedy is offered that is in force already, or that cannot help."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.results.findings import Remedy
from nbdebug.examples.catalogue import SICK_TRAININGS
from nbdebug.rules._examples import example
from nbdebug.rules._remedies import lr_by_updates, scale_lr
from tests.problems import blobs, tiny_mlp


@pytest.mark.parametrize(
    "name",
    [
        "learning rate too small", "clipping at 1e-4", "dead layer", "weight decay of 2",
        "BatchNorm with a momentum of 0.0001", "a mask that takes everything",
    ],
)  # fmt: skip
def test_each_remedy_changes_a_setting(name: str) -> None:
    training = SICK_TRAININGS[name]
    with training.debugger(0) as dbg:
        with contextlib.suppress(nbd.NonFiniteError):
            dbg.run(steps=300)
        found = dbg.findings
        assert found
        now = dbg.controls
        for finding in found:
            for remedy in finding.remedies:
                wanted = {k: v for k, v in remedy.settings.items() if k != "reinit"}
                same = [now[k] == pytest.approx(v, 1e-6) if isinstance(v, float) else now[k] == v
                        for k, v in wanted.items()]  # fmt: skip
                assert not wanted or "reinit" in remedy.settings or not all(same)


def test_nan_in_the_data_is_not_fought_with_the_learning_rate() -> None:
    inputs, targets = blobs()
    inputs[7] = torch.nan
    with nbd.Debugger(tiny_mlp(), (inputs, targets), nn.CrossEntropyLoss(), runs=None) as dbg:
        with pytest.raises(nbd.NonFiniteError):
            dbg.run(steps=20)
        (found,) = dbg.findings.causes
        assert "learning rate" not in found.seen
        assert {"lr", "clip_threshold", "warmup_steps"}.isdisjoint(
            name for remedy in found.remedies for name in remedy.settings
        )


def test_an_output_that_was_always_constant_is_followed_through_forward() -> None:
    with SICK_TRAININGS["a mask that takes everything"].debugger(0) as dbg:
        dbg.run(steps=200)
        found = next(one for one in dbg.findings if one.name == "constant_output")
        assert found.remedies[0].text.startswith("Follow two samples through forward")
        assert "lr" not in {name for remedy in found.remedies for name in remedy.settings}


def rates(remedies: tuple[Remedy, ...]) -> list[float]:
    return [remedy.settings["lr"] for remedy in remedies]


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(1e-6, [10.0, 1.0]), (1e-3, []), (0.5, [0.01, 0.001]), (None, [1.0, 0.01])],
)
def test_another_learning_rate_is_offered_where_updates_speak_for_it(
    ratio: float | None, expected: list[float]
) -> None:
    series = {} if ratio is None else {"update_ratio/0.weight": np.full(9, ratio)}
    made = example({"loss": np.ones(100), **series})
    assert rates(lr_by_updates(made, 1e-4, 3e-2)) == pytest.approx(expected)


def test_a_learning_rate_that_stays_is_no_remedy() -> None:
    assert scale_lr(example({"loss": np.ones(9)}), 1.0) == ()
