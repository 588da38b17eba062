"""A fork measures without affecting the measurements of training."""

from __future__ import annotations

from typing import Any

import pytest

import nbdebug as nbd
from nbdebug.probes.update_ratio import UpdateRatio
from tests.inside import probes_of
from tests.training.timeline.timelines import KINDS

CLOCKS = {"step_ms", "samples_per_second", "measuring_share", "data_share", "memory_mb"}
# Counts of units restart after a fork; the known targets grow.
GATHERED = ("dead/", "constant_loss")


def recorded(dbg: nbd.Debugger) -> dict[str, list[tuple[int, float]]]:
    """Every series except times, with the steps of its measurements."""
    copies = dbg.history.snapshot().series
    pairs = {n: zip(s.step.tolist(), s.last.tolist(), strict=True) for n, s in copies.items()}
    return {name: list(each) for name, each in pairs.items() if name not in CLOCKS}


def plans(dbg: nbd.Debugger) -> list[Any]:
    return [slot.plan for slot in probes_of(dbg).scheduled.values()]


@pytest.mark.parametrize("kind", ["adam", "plateau", "stream"])
def test_the_record_of_training_is_the_one_without_a_fork(kind: str) -> None:
    ends = []
    for forks in (0, 2):
        # A budget for every measurement, so that they do not depend on times.
        with KINDS[kind](overhead=1.0) as dbg:
            dbg.run(steps=25)
            dbg.set(dropout=0.2)
            before = recorded(dbg)
            for _ in range(forks):
                dbg.fork(30, lr=[1e-4, 1e-2])
            assert recorded(dbg) == before
            dbg.run(steps=40)
            ends.append(recorded(dbg))
    for each in ends:
        for name in [name for name in each if name.startswith(GATHERED)]:
            del each[name]
    assert ends[0] == ends[1]
    assert 25 in [step for step, _ in ends[1]["dropout"]]


def test_a_fork_costs_training_none_of_its_measurements(dbg: nbd.Debugger) -> None:
    dbg.run(steps=15)
    before = plans(dbg)
    dbg.fork(100, lr=0.1)
    assert plans(dbg) == before


def test_a_probe_that_fails_in_a_fork_goes_on_in_training(
    dbg: nbd.Debugger, monkeypatch: pytest.MonkeyPatch
) -> None:
    dbg.run(steps=5)

    def fail(probe: UpdateRatio, step: int) -> None:
        raise RuntimeError("no")

    with monkeypatch.context() as patch:
        patch.setattr(UpdateRatio, "read", fail)
        dbg.fork(30, lr=0.1)
    (notice,) = [n for n in dbg.history.notices if "update_ratio" in n.title]
    assert notice.title == "The probe update_ratio failed in a fork"
    dbg.run(steps=15)
    name = next(name for name in dbg.history.series if name.startswith("update_ratio/"))
    assert dbg.history.frame(name).index.tolist() == [0, 10]
