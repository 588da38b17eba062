"""Measured false alarms: the tables in docs/ and the docstrings say the same, of what there is."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from nbdebug.checks.base import Check
from nbdebug.core.plugins import discover
from nbdebug.examples import healthy, sick, sick_setups
from nbdebug.examples.healthy_trainings import FRESH_SEEDS
from nbdebug.rules.base import Rule
from tools import rule_alarms

DOCS = Path(__file__).parents[2] / "docs"


def table(page: str, name: str) -> list[list[str]]:
    """Cells of a table between its markers, header first."""
    text = (DOCS / page).read_text("utf-8")
    inner = text.partition(f"<!-- {name}: ")[2].partition(f"<!-- /{name} -->")[0]
    rows = [line.strip("| ").split(" | ") for line in inner.splitlines() if line[:1] == "|"]
    return [row for row in rows if not row[0].startswith("---")]


def numbers(cell: str) -> int:
    """The number in the header of a column."""
    return int(re.findall(r"\d+", cell)[0])


CHECKS = {check.name: check for check in discover("nbdebug.checks", Check)}
RULES = {rule.name: rule for rule in discover("nbdebug.rules", Rule)}
CHECK_HEADER, *CHECK_ROWS = table("checks.md", "alarms")
RULE_HEADER, *RULE_ROWS = table("rules.md", "rules")


def said(plugin: type[Any]) -> list[int]:
    """Numbers in the last line of a docstring."""
    line = re.search(r"^False alarms: (.+)$", inspect.getdoc(plugin) or "", re.M)
    assert line is not None, "run `make alarms` or `make rules`"
    return [int(number) for number in re.findall(r"\d+", line[1])]


def test_there_is_one_row_for_each_plugin() -> None:
    assert sorted(row[0].strip("`") for row in CHECK_ROWS) == sorted(CHECKS)
    assert [row[0].strip("`") for row in RULE_ROWS] == list(RULES)


@pytest.mark.parametrize("row", CHECK_ROWS, ids=lambda row: row[0].strip("`"))
def test_a_check_tells_its_measured_false_alarms(row: list[str]) -> None:
    name, _, fails, warnings, _ = row
    check = CHECKS[name.strip("`")]
    assert said(check) == [int(fails), int(warnings), numbers(CHECK_HEADER[1])]


@pytest.mark.parametrize("row", RULE_ROWS, ids=lambda row: row[0].strip("`"))
def test_a_rule_tells_its_measured_false_alarms(row: list[str]) -> None:
    name, tier, fires, _ = row
    rule = RULES[name.strip("`")]
    assert said(rule) == [int(fires), numbers(RULE_HEADER[2])]
    assert rule.severity == tier


def test_they_were_counted_on_all_examples_there_are() -> None:
    assert numbers(CHECK_HEADER[1]) == len(list(healthy(FRESH_SEEDS)))
    assert numbers(CHECK_HEADER[4]) == len(sick_setups())
    assert numbers(RULE_HEADER[2]) == len(list(healthy(rule_alarms.FRESH_SEEDS)))
    assert numbers(RULE_HEADER[3]) == len(sick()) * len(rule_alarms.SICK_SEEDS)
