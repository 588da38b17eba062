"""The report: root causes and consequences, text, HTML and pandas."""

from __future__ import annotations

from typing import Any

import pytest

from nbdebug.core.results.checks.check_report import CheckReport
from nbdebug.core.results.checks.check_result import CheckResult
from nbdebug.core.results.checks.check_table import step_section
from nbdebug.errors import CheckNameError


def row(name: str, status: Any = "pass", step: int = 2, explains: Any = (), **more: Any) -> Any:
    known = {"seen": f"{name} seen", "expected": "0", "remedy": "mend it", "why": "", "source": ""}
    return CheckResult(
        name=name, title=name.upper(), step=step, status=status, seconds=0.5, explains=explains,
        **{**known, **more},
    )  # fmt: skip


CHAIN = CheckReport.of(
    [
        row("c", "fail", 1),
        row("a", "fail", 2, ("b",)),
        row("b", "warning", 3, ("c",)),
        row("d", "pass", 3),
        row("e", "not_applicable", 3),
        row("f", "not_run", 4),
    ]
)


def test_what_follows_from_a_consequence_follows_from_its_cause() -> None:
    assert {r.name: r.because for r in CHAIN if r.because} == {"b": "A", "c": "A"}
    assert [cause.name for cause in CHAIN.causes] == ["a"]


def test_checks_that_explain_each_other_are_both_shown() -> None:
    report = CheckReport.of([row("a", "fail", 2, ("b",)), row("b", "fail", 2, ("a",))])
    assert [cause.name for cause in report.causes] == ["a", "b"]


def test_a_check_that_passed_explains_nothing() -> None:
    report = CheckReport.of([row("a", "pass", 2, ("b",)), row("b", "fail", 3)])
    assert [cause.name for cause in report.causes] == ["b"]


def test_checks_that_could_not_be_made_follow_from_what_breaks_them() -> None:
    report = CheckReport.of(
        [
            row("a", "fail", 2, ("c",), raised=True),
            row("b", "fail", 3, ("*",)),
            row("c", "fail", 4),
        ]
    )
    assert {r.name: r.because for r in report} == {"a": "B", "b": "", "c": ""}
    assert [cause.name for cause in report.causes] == ["b", "c"]


def test_the_summary_counts_and_names_the_first_cause() -> None:
    assert CHAIN.summary == (
        "Checklist: 2 failed, 1 with a warning, 1 passed, 1 not applicable, 1 not run yet. "
        "Look first at: A."
    )


def test_the_text_has_every_row_once() -> None:
    lines = str(CHAIN).splitlines()
    for result in CHAIN:
        assert sum(f"{result.title}: {result.seen}" in line for line in lines) == 1
    assert sum("follows from: A" in line for line in lines) == 2


def test_consequences_are_folded_under_their_cause_in_html() -> None:
    second, third = (step_section(CHAIN, step) for step in (2, 3))
    assert "2 more that this explains" in second
    assert "b seen" in second
    assert "b seen" not in third
    assert "B: follows from A" in third
    assert "1 not applicable" in third


def test_what_a_user_wrote_cannot_become_html() -> None:
    evil = "<script>alert('x')</script>"
    report = CheckReport.of([row("a", "fail", 2, seen=evil, expected=evil, remedy=evil, why=evil)])
    page = report._repr_html_()
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") == 4


def test_the_frame_has_one_row_a_check() -> None:
    frame = CHAIN.frame()
    assert frame["name"].tolist() == [result.name for result in CHAIN]
    assert frame["step"].is_monotonic_increasing


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(CheckNameError, match="a, "):
        CHAIN["z"]
