"""Healthy configurations raise no alarm; `make alarms` counts on all of them."""

from __future__ import annotations

import pytest

from nbdebug.examples import HealthyTraining, healthy

EVERY = 11
SOME = list(healthy())[::EVERY]


def test_there_are_at_least_200() -> None:
    assert len(list(healthy())) >= 200


@pytest.mark.parametrize("config", SOME, ids=str)
def test_a_healthy_training_passes_the_cheap_checks(config: HealthyTraining) -> None:
    with config.debugger() as dbg:
        report = dbg.check()
    assert report.causes == (), report
