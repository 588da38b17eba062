"""Stock architectures, untrained: no check fails, hardly one warns, none breaks."""

from __future__ import annotations

import pytest

from nbdebug.core.results.checks.check_report import CheckReport
from nbdebug.core.results.checks.check_result import BAD_STATUSES
from tests.draw import some
from tools.architectures.catalogue import ARCHITECTURES

MAX_WARNED_SHARE = 0.02
# Of each that was examined, by name.
REPORTS: dict[str, CheckReport] = {}

pytestmark = pytest.mark.xdist_group("architectures")


def test_there_are_at_least_40() -> None:
    assert len(ARCHITECTURES) >= 40


@pytest.mark.soak
@pytest.mark.parametrize("name", some(ARCHITECTURES, share=2))
def test_no_check_fails_or_breaks_on(name: str) -> None:
    with ARCHITECTURES[name].debugger() as dbg:
        REPORTS[name] = report = dbg.check()
    assert [result.name for result in report if result.status == "fail"] == [], report
    if ARCHITECTURES[name].loss is not None:
        assert [result.seen for result in report if "does not fit" in result.seen] == []


@pytest.mark.soak
def test_checks_hardly_warn() -> None:
    rows = [result for report in REPORTS.values() for result in report]
    warned = [(name, r.name, r.seen) for name, report in REPORTS.items() for r in report
              if r.status in BAD_STATUSES]  # fmt: skip
    assert len(warned) <= MAX_WARNED_SHARE * len(rows), warned
