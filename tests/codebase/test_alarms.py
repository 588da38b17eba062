"""Measured alarms: the table in docs/ and the docstrings say the same, of what there is."""

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
from tools.alarms import rules
from tools.architectures.catalogue import ARCHITECTURES

PAGE = Path(__file__).parents[2] / "docs" / "alarms.md"
MAX_WARNED_SHARE = 0.02


def table() -> list[list[str]]:
    """Cells of the rows between the markers, without the header."""
    inner = PAGE.read_text("utf-8").partition("<!-- alarms: ")[2].partition("<!-- /alarms -->")[0]
    rows = [line.strip("| ").split(" | ") for line in inner.splitlines() if line[:1] == "|"]
    return [[cell.strip("`") for cell in row] for row in rows[2:]]


def share(cell: str) -> list[int]:
    """The numbers of "3 of 144"."""
    return [int(number) for number in cell.split(" of ")]


CHECKS = {check.name: check for check in discover("nbdebug.checks", Check)}
RULES = {rule.name: rule for rule in discover("nbdebug.rules", Rule)}
ROWS = table()
CHECK_ROWS = [row for row in ROWS if row[0] == "check"]
RULE_ROWS = [row for row in ROWS if row[0] == "rule"]


def said(plugin: type[Any]) -> list[int]:
    """Numbers in the last line of a docstring."""
    line = re.search(r"^False alarms: (.+)$", inspect.getdoc(plugin) or "", re.M)
    assert line is not None, "run `make alarms`"
    return [int(number) for number in re.findall(r"\d+", line[1])]


def test_there_is_one_row_for_each_plugin() -> None:
    assert sorted(row[1] for row in CHECK_ROWS) == sorted(CHECKS)
    assert [row[1] for row in RULE_ROWS] == list(RULES)


@pytest.mark.parametrize("row", CHECK_ROWS, ids=lambda row: row[1])
def test_a_check_tells_its_measured_false_alarms(row: list[str]) -> None:
    _, name, applied, errors, warnings, _, _ = row
    assert said(CHECKS[name]) == [int(errors), int(warnings), share(applied)[1]]


@pytest.mark.parametrize("row", RULE_ROWS, ids=lambda row: row[1])
def test_a_rule_tells_its_measured_false_alarms(row: list[str]) -> None:
    _, name, applied, errors, warnings, _, _ = row
    assert said(RULES[name]) == [int(errors) + int(warnings), share(applied)[1]]
    assert int(warnings if RULES[name].severity == "error" else errors) == 0


def test_they_were_counted_on_all_examples_there_are() -> None:
    for rows, seeds, number in (
        (CHECK_ROWS, FRESH_SEEDS, len(sick_setups())),
        (RULE_ROWS, rules.FRESH_SEEDS, len(sick()) * len(rules.SICK_SEEDS)),
    ):
        counted = len(list(healthy(seeds)))
        assert {share(row[2])[1] for row in rows} == {counted}
        assert {share(row[5])[1] for row in rows} == {len(ARCHITECTURES)}
        assert {share(row[6])[1] for row in rows} == {number}


def test_hardly_anything_fires_where_nothing_is_wrong() -> None:
    for _, name, applied, errors, warnings, stock, _ in ROWS:
        assert int(errors) == 0, name
        assert int(warnings) <= MAX_WARNED_SHARE * max(share(applied)[0], 50), name
        assert share(stock)[0] <= MAX_WARNED_SHARE * 2 * share(stock)[1], name
