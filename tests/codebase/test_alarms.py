"""The measured false alarms: in the README's table, and in each check's own words."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from nbdebug.checks.base import Check
from nbdebug.core.plugins import discover

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
CHECKS = discover("nbdebug.checks", Check)
ROW = re.compile(r"^\| `(\w+)` \| \d+ \| (\d+) \| (\d+) \| \d+ \|$", re.M)
MEASURED = {name: (int(fails), int(warned)) for name, fails, warned in ROW.findall(README)}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_check_tells_its_measured_false_alarms(check: type[Check]) -> None:
    said = re.search(
        r"False alarms: (\d+) fails and (\d+) warnings on (\d+) healthy configurations\.",
        inspect.getdoc(check) or "",
    )
    assert said is not None, "run `make alarms`"
    fails, warned, number = (int(text) for text in said.groups())
    assert number >= 200
    assert (fails, warned) == MEASURED[check.name]


def test_no_check_fails_on_healthy_trainings() -> None:
    assert sum(fails for fails, _ in MEASURED.values()) == 0


def test_no_more_than_two_in_a_hundred_are_flagged() -> None:
    flagged, number = map(int, re.findall(r"(\d+) of (\d+) healthy configurations were", README)[0])
    assert flagged <= 0.02 * number


def test_every_planted_fault_is_among_the_first_two() -> None:
    found, planted = map(int, re.findall(r"in (\d+) of (\d+) sick problems", README)[0])
    assert found == planted >= 25
