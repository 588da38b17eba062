"""Examples are complete, documented and built without surprises."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch

import nbdebug as nbd
from nbdebug import examples
from nbdebug.checks.base import Check
from nbdebug.core.plugins import discover
from nbdebug.examples import data, sick_by_data, sick_by_model, sick_by_settings
from nbdebug.rules.base import Rule

MODULES = (sick_by_settings, sick_by_model, sick_by_data)


def test_no_sick_training_is_forgotten_or_hidden_by_another() -> None:
    written = [
        value
        for module in MODULES
        for value in vars(module).values()
        if isinstance(value, examples.SickTraining)
    ]
    assert written
    assert sorted(one.name for one in written) == sorted(examples.sick())


@pytest.mark.parametrize("training", examples.sick().values(), ids=lambda one: one.name)
def test_a_sick_training_says_what_is_wrong(training: examples.SickTraining) -> None:
    assert training.about.splitlines()[0].endswith((".", ":"))
    assert training.rules
    assert set(training.rules) <= {rule.name for rule in discover("nbdebug.rules", Rule)}
    assert training.steps >= 1000


def test_sick_setups_name_checks_that_exist() -> None:
    known = {check.name for check in discover("nbdebug.checks", Check)}
    assert {setup.check for setup in examples.sick_setups().values()} <= known


def test_the_collections_cannot_be_changed() -> None:
    for collection in (examples.sick(), examples.sick_setups()):
        with pytest.raises(TypeError, match="item assignment"):
            collection["another"] = None  # type: ignore[index]


def test_the_same_seed_builds_the_same_training() -> None:
    losses: Any = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(losses))
        with examples.sick()["labels learnt by heart"].debugger(seed) as dbg:
            dbg.run(steps=3)
            losses.append(dbg.history.frame("loss")["loss"].tolist())
    assert losses[0] == losses[1] != losses[2]


def test_a_healthy_training_takes_keywords_of_the_debugger() -> None:
    training = next(examples.healthy(seeds=[3]))
    assert str(training) == "digits-mlp-sgd-3"
    with training.debugger(lr=0.01) as dbg:
        assert dbg.controls["lr"] == 0.01
        assert dbg.controls["momentum"] == 0.9


def test_without_scikit_learn_the_error_names_the_install_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    data.load.cache_clear()
    with pytest.raises(nbd.MissingPackageError, match=r"pip install .*\[lab\]"):
        examples.sick()["deep sigmoids"].debugger()
    # Made-up data need nothing.
    with examples.sick_setups()["dead units"].debugger() as dbg:
        dbg.run(steps=1)
