"""Healthy programs of many kinds: no check fails on them, and no rule gives an error."""

from __future__ import annotations

import pytest

from nbdebug.core.results.checks.check_report import CheckReport
from tests.draw import some
from tests.programs import PROGRAMS
from tests.programs.networks import IMAGE_NETWORKS
from tests.programs.sequences import SEQUENCE_NETWORKS

LARGE = [program.name for program in (*IMAGE_NETWORKS, *SEQUENCE_NETWORKS)]
SMALL = [name for name in PROGRAMS if name not in LARGE]
CHECKS_OF_UNTRAINED_NETWORKS = (
    "shapes", "symmetry", "initial_scale", "zero_gradient", "unchanged_parameters",
    "gradient_ratio", "dead_units", "constant_activations", "affine", "dropout_before_batchnorm",
    "broadcast",
)  # fmt: skip
# Networks without BatchNorm or with a spare layer, about which a warning is right.
IDLE = {"masked_language_model": {"zero_gradient"}}


def blamed(report: CheckReport) -> list[str]:
    return [f"{result.name}: {result.seen}" for result in report if result.status == "fail"]


def train_and_judge(name: str, steps: int) -> None:
    with PROGRAMS[name].debugger() as dbg:
        assert blamed(dbg.check()) == []
        for _ in range(4):
            dbg.run(steps=steps // 4)
            assert [f.seen for f in dbg.findings if f.severity == "error"] == []
        assert blamed(dbg.check()) == []


def test_there_are_at_least_20() -> None:
    assert len(PROGRAMS) >= 20


@pytest.mark.soak
@pytest.mark.parametrize("name", some(SMALL))
def test_a_healthy_program_is_not_blamed(name: str) -> None:
    train_and_judge(name, 120)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("name", some(LARGE, share=4))
def test_a_healthy_network_is_not_blamed(name: str) -> None:
    train_and_judge(name, 120)


@pytest.mark.soak
@pytest.mark.parametrize("name", some(LARGE, share=3))
def test_an_untrained_network_is_not_even_suspected(name: str) -> None:
    with PROGRAMS[name].debugger() as dbg:
        report = dbg.check(*CHECKS_OF_UNTRAINED_NETWORKS)
    suspected = {result.name for result in report if result.status in ("fail", "warning")}
    assert suspected <= IDLE.get(name, set()), report
