"""The paired difference of a fork and its interval."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from nbdebug.core.results.findings import Finding, Findings
from nbdebug.core.results.fork import Fork
from nbdebug.core.results.fork_result import ForkResult, Trial, mean_interval
from nbdebug.core.results.fork_table import fork_table, rows


def test_the_interval_of_independent_values_is_the_usual_one() -> None:
    values = np.random.default_rng(0).normal(0.3, 1.0, 4000)
    mean, low, high = mean_interval(values)
    usual = 1.96 * values.std() / math.sqrt(len(values))
    assert mean == values.mean()
    assert (high - low) / 2 == pytest.approx(usual, rel=0.25)


def test_values_that_follow_one_another_have_a_wider_one() -> None:
    noise = np.random.default_rng(1).normal(size=4000)
    values = np.convolve(noise, np.ones(10) / 10, "valid")
    _, low, high = mean_interval(values)
    naive = 1.96 * values.std() / math.sqrt(len(values))
    assert (high - low) / 2 > 2 * naive


def test_it_covers_the_truth_about_as_often_as_it_says() -> None:
    random, inside = np.random.default_rng(2), 0
    for _ in range(300):
        noise = random.normal(size=220)
        values = np.array([0.5 * a + b for a, b in itertools.pairwise(noise)]) + 1.0
        _, low, high = mean_interval(values)
        inside += low <= 1.0 <= high
    assert 0.88 <= inside / 300 <= 0.98


def test_few_values_have_none() -> None:
    assert all(math.isnan(part) for part in mean_interval(np.ones(9))[1:])
    assert math.isnan(mean_interval(np.empty(0))[0])


def made(loss: np.ndarray, ended: str = "") -> ForkResult:
    base = Trial({}, np.linspace(2.0, 1.0, len(loss)))
    return ForkResult(5, len(loss), 0, 0, base, (Trial({"lr": 0.1}, loss, ended),))


@pytest.mark.parametrize(
    ("shift", "said"),
    [(0.0, "exactly the same"), (-0.5, "better"), (0.5, "worse")],
)
def test_what_the_interval_says(shift: float, said: str) -> None:
    noise = np.random.default_rng(3).normal(size=100) * 0.01 * (shift != 0)
    result = made(np.linspace(2.0, 1.0, 100) + shift + noise)
    assert said in result.verdict(result.trials[0])
    assert said in repr(Fork(result, lambda which: None))


def test_noise_alone_is_no_clear_difference_and_a_short_fork_says_nothing() -> None:
    noise = np.random.default_rng(4).normal(size=400)
    result = made(np.linspace(2.0, 1.0, 400) + noise)
    assert result.verdict(result.trials[0]) == "no clear difference"
    short = made(np.linspace(2.0, 1.0, 8) + 1.0)
    assert short.verdict(short.trials[0]) == "too few steps to say"


def test_its_frame_and_its_html() -> None:
    fork = Fork(made(np.linspace(2.0, 0.5, 20)), lambda which: None)
    frame = fork.frame()
    assert (frame.index[0], len(frame), list(frame.columns)) == (5, 20, ["no change", "lr=0.1"])
    assert np.array_equal(fork.difference, frame["lr=0.1"] - frame["no change"])
    assert fork._repr_html_().count("<polyline") == 3


def test_words_of_the_user_are_escaped() -> None:
    trial = Trial({"activation": "<b>"}, np.ones(20))
    fork = Fork(ForkResult(0, 20, 0, 0, Trial({}, np.ones(20)), (trial,)), lambda which: None)
    assert "<b>" not in fork._repr_html_().replace("<b>20 steps", "")


def found(*names: str, lacking: str = "") -> Findings:
    titles = {name: name.replace("_", " ").capitalize() for name in names}
    made = [
        Finding(name, title, "warning", 5, 2.0, 1.0, "Seen.", "Because.", (), "a source")
        for name, title in titles.items()
    ]
    return Findings(tuple(made), {lacking: "val_loss"} if lacking else {})


def cure(
    base: Findings,
    trial: Findings,
    ended: str = "",
    for_finding: str = "sick",
    gain: float = 0.5,
) -> ForkResult:
    loss = np.linspace(2.0, 1.0, 20)
    trials = (Trial({"lr": 0.1}, loss - gain, ended, trial),)
    return ForkResult(5, 20, 0, 0, Trial({}, loss, "", base), trials, "", for_finding, "Sick")


@pytest.mark.parametrize(
    ("result", "cured", "base", "trial"),
    [
        (cure(found("sick"), found()), True, "Sick: still there", "Sick: gone"),
        (cure(found("sick"), found("sick", "x")), False, "Sick: still there",
         "Sick: still there; X"),
        (cure(found("sick"), found("x", "y", "z")), True, "Sick: still there",
         "Sick: gone; X, Y, ..."),
        (cure(found("sick"), found("x"), "NaN or Inf"), False, "Sick: still there",
         "Sick: not cured; X"),
        (cure(found("x"), found()), None, "Sick: gone without the change; X", "Sick: gone"),
        (cure(found("sick"), found(lacking="sick")), None, "Sick: still there",
         "Sick: too little measured to say"),
        (cure(found("x"), found(), for_finding=""), None, "X", "nothing"),
        (cure(found("sick"), found(), gain=0.0), None, "Sick: still there",
         "Sick: gone, but the loss is not lower"),
        (cure(found("sick"), found(), gain=-0.5), None, "Sick: still there",
         "Sick: gone, but the loss is not lower"),
    ],
)  # fmt: skip
def test_what_became_of_a_finding(
    result: ForkResult, cured: bool | None, base: str, trial: str
) -> None:
    assert result.cured(result.trials[0]) is cured
    assert (result.findings_text(result.base), result.findings_text(result.trials[0])) == (
        base,
        trial,
    )
    assert [row[2] for row in rows(result)] == [base, trial]
    page = fork_table(result)
    # The verdict stays before it: tables scroll sideways in narrow columns.
    assert page.index(">verdict<") < page.index(">findings at the end<")
    assert f">{trial}</td>" in page
    assert Fork(result, lambda which: None).cured is cured
