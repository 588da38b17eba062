"""The line beside the buttons."""

from __future__ import annotations

import re

import pytest

from nbdebug.core.history.latest import LatestResults
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Status
from nbdebug.core.results.loops.ranks import RankSpread
from nbdebug.dashboard.headline import headline, metric_name, time_left


def cells(snapshot: Snapshot) -> dict[str, str]:
    return dict(re.findall(r"<span>([^<]*)</span><b>([^<]*)</b>", headline(snapshot)))


def test_loss_validation_and_metric_stand_beside_the_position() -> None:
    latest = {"loss": 0.1234567, "val_loss": 0.2, "accuracy": 0.961, "val_accuracy": 0.958}
    found = cells(Snapshot(Status("running", 619, epoch=12.4, goal=2000), latest))
    assert found == {
        "state": "running", "epoch": "12.40", "step": "619/2,000", "left": "-",
        "loss": "0.1235", "val loss": "0.2", "accuracy": "96.1%", "val accuracy": "95.8%",
    }  # fmt: skip


def test_of_several_ranks_their_number_and_both_batch_sizes_are_shown() -> None:
    found = LatestResults.holding(RankSpread(4))
    snapshot = Snapshot(Status("running", 3), {"batch_size": 32.0}, results=found)
    assert cells(snapshot)["ranks"] == "4"
    assert "batch size 32 on each, 128 in all" in headline(snapshot)


@pytest.mark.parametrize(("steps", "said"), [(100, "10 s"), (3000, "5 min"), (100_000, "2.8 h")])
def test_the_time_left_follows_from_the_speed(steps: int, said: str) -> None:
    latest = {"step_ms": 100.0}
    status = Status("running", 50, goal=50 + steps)
    assert time_left(Snapshot(status, latest)) == said
    assert time_left(Snapshot(Status("paused", 50, goal=50 + steps), latest)) == "-"
    assert time_left(Snapshot(Status("running", 50), latest)) == "-"


def test_without_a_goal_there_is_no_progress_bar_but_its_place() -> None:
    assert "visibility:hidden" in headline(Snapshot(Status("running", 5)))
    assert "visibility:visible" in headline(Snapshot(Status("running", 5, goal=10)))


@pytest.mark.parametrize(
    ("latest", "name"),
    [
        ({"loss": 1.0, "val_loss": 1.0}, ""),
        ({"val_loss": 1.0, "val_f1": 0.5, "f1": 0.4}, "f1"),
        ({"f1": 0.4, "accuracy": 0.5, "val_f1": 0.5}, "accuracy"),
    ],
)
def test_the_metric_is_the_accuracy_or_the_first_one_that_is_validated(latest, name) -> None:
    assert metric_name(latest) == name


def test_names_and_values_that_are_not_finite_are_harmless() -> None:
    latest = {"loss": float("nan"), "val_<b>": 1.0}
    text = headline(Snapshot(Status("running", 1), latest), 'a"b<c>')
    assert "<b>nan" not in text
    assert "&lt;b&gt;" in text
    assert 'a"b<c>' not in text
