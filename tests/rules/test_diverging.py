"""The rule `diverging` dates a rise to where it began, not to the minimum before it."""

from __future__ import annotations

import numpy as np
import pytest

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Status
from nbdebug.core.series import Series
from nbdebug.rules._examples import example
from nbdebug.rules.diverging import Diverging

NOISE = np.random.default_rng(1).normal(0, 0.03, 1000)
FALLING = 0.5 + 1.8 * np.exp(-np.arange(1000) / 50) + NOISE
RISES = {
    "jumps": lambda count: np.full(count, 5.0),
    "climbs": lambda count: np.minimum(0.6 * 1.3 ** np.arange(count), 8.0),
    "rises by half": lambda count: 1.8 + NOISE[:count],
}


def since(values: np.ndarray) -> int:
    symptom = Diverging().diagnose(example({"loss": values}))
    assert symptom is not None
    return symptom.since


@pytest.mark.parametrize("rise", RISES)
@pytest.mark.parametrize("start", [200, 203, 209, 212, 219, 500])
@pytest.mark.parametrize("length", [60, 75, 300])
def test_a_sudden_rise_is_dated_to_its_step(rise: str, start: int, length: int) -> None:
    loss = np.concatenate([FALLING[:start], RISES[rise](length)])
    late = 10 if rise == "climbs" else 0
    assert start <= since(loss) <= start + late


@pytest.mark.parametrize("spike", [100.0, 1e6])
@pytest.mark.parametrize("place", [-3, -17, -39])
def test_a_spike_after_the_rise_hides_nothing(spike: float, place: int) -> None:
    loss = np.concatenate([FALLING[:200], np.full(150, 2.4)])
    loss[place] = spike
    assert since(loss) == 200


@pytest.mark.parametrize("length", [60, 200, 400])
def test_a_slow_rise_is_dated_before_it_is_clear(length: int) -> None:
    rising = np.linspace(0.5, 2.5, length) + NOISE[:length]
    clear = 300 + length // 2
    assert 300 - 20 <= since(np.concatenate([FALLING[:300], rising])) <= clear


def test_where_points_hold_many_steps_it_is_dated_by_points() -> None:
    values = np.concatenate([FALLING[:300], np.full(100, 5.0)])
    ends = 64 * np.arange(1, 401) - 1
    loss = Series("loss", ends, values, values, values, values, np.full(400, 64, np.int32))
    symptom = Diverging().diagnose(Snapshot(Status(step=400 * 64), series={"loss": loss}))
    assert symptom is not None
    assert symptom.since == ends[300]


def test_the_minimum_is_said_with_its_step() -> None:
    loss = np.concatenate([FALLING[:200], np.full(100, 5.0)])
    symptom = Diverging().diagnose(example({"loss": loss}))
    assert symptom is not None
    assert "Median loss 5; the median was 0.5" in symptom.seen


@pytest.mark.parametrize("start", [-0.05, 0.3])
def test_the_loss_of_a_policy_that_gets_good_vanishes_and_does_not_diverge(start: float) -> None:
    down = np.linspace(start, -0.4, 60)
    back = -0.4 * np.exp(-np.arange(300) / 40)
    loss = np.concatenate([down, back]) + 0.1 * NOISE[:360]
    assert Diverging().diagnose(example({"loss": loss})) is None


@pytest.mark.parametrize("end", [2.0, -0.15, -1.0])
def test_a_log_density_that_gets_worse_diverges(end: float) -> None:
    down = np.linspace(1.0, -3.0, 100)
    loss = np.concatenate([down, np.linspace(-3.0, -0.8, 50), np.full(60, -0.8)]) + NOISE[:210]
    loss[150:] += end + 0.8
    assert (Diverging().diagnose(example({"loss": loss})) is not None) is (end != -0.15)


@pytest.mark.parametrize("end", [1e-5, 1e-3, 0.015])
def test_a_loss_that_is_learnt_at_once_does_not_diverge(end: float) -> None:
    """Weight decay takes back some of what a few first steps won."""
    fast = 2.3 * np.exp(-np.arange(60) / 1.5)
    loss = np.concatenate([fast, end * (1 - np.exp(-np.arange(200) / 20))])
    assert Diverging().diagnose(example({"loss": loss})) is None
    assert Diverging().diagnose(example({"loss": np.concatenate([loss, np.full(60, 2.0)])}))


RETURNING = {
    "a policy": (0.0, 0.35, 0.06, 60), "with a bonus": (-0.06, 0.34, 0.04, 60),
    "an actor and a critic": (0.02, 0.28, 0.03, 100), "slowly": (-0.02, 0.3, 0.12, 100),
    "scores of a critic": (0.1, 5.0, 1.0, 200),
}  # fmt: skip


def returning(kind: str) -> np.ndarray:
    start, depth, left, down = RETURNING[kind]
    back = left + (depth - left) * np.exp(-np.arange(300) / 60)
    loss = np.concatenate([np.full(20, start), np.linspace(start, -depth, down), -back])
    return loss + 0.3 * depth * NOISE[: len(loss)]


@pytest.mark.parametrize("kind", RETURNING)
def test_a_loss_weighted_by_advantages_returns_to_0_with_its_gradient(kind: str) -> None:
    loss = returning(kind)
    gradient = np.interp(np.arange(len(loss)), [0, 80, len(loss)], [0.3, 0.6, 0.35])
    assert Diverging().diagnose(example({"loss": loss, "grad_norm": gradient})) is None


def test_advantages_whose_gradient_grows_a_little_do_not_diverge() -> None:
    loss = np.concatenate([np.linspace(-0.03, -0.32, 120), np.linspace(-0.32, -0.13, 380)])
    gradient = np.interp(np.arange(500), [0, 120, 240, 500], [0.13, 0.2, 0.29, 0.28])
    shown = example({"loss": loss + NOISE[:500], "grad_norm": gradient})
    assert Diverging().diagnose(shown) is None


def test_advantages_around_0_do_not_diverge() -> None:
    loss = np.concatenate(
        [np.linspace(0.0, -0.4, 80), np.linspace(-0.4, 0.04, 160), np.full(80, 0.04)]
    )
    gradient = np.full(len(loss), 0.3)
    assert Diverging().diagnose(example({"loss": loss, "grad_norm": gradient})) is None


@pytest.mark.parametrize("seed", range(1, 6))
def test_values_that_are_led_to_values_go_up_and_down(seed: int) -> None:
    """A loss that loses a third at first, and wanders from window to window from then on."""
    draws = np.random.default_rng(seed)
    slow = np.repeat(draws.normal(0, 0.0008, 40), 20)
    loss = 0.0083 + 0.003 * np.exp(-np.arange(800) / 60) + slow + draws.normal(0, 0.001, 800)
    for count in range(200, 801, 20):
        assert Diverging().diagnose(example({"loss": loss[:count]})) is None
    risen = np.concatenate([loss[:600], loss[:200] * 3])
    assert Diverging().diagnose(example({"loss": risen})) is not None


@pytest.mark.parametrize("kind", RETURNING)
def test_a_similarity_that_gets_lost_does_not(kind: str) -> None:
    """The further a loss is from its minimum, the larger is its gradient."""
    loss = returning(kind)
    gradient = np.interp(np.arange(len(loss)), [0, 80, len(loss)], [0.6, 0.1, 0.5])
    assert Diverging().diagnose(example({"loss": loss, "grad_norm": gradient}))
    # Without the gradient nobody can tell.
    assert Diverging().diagnose(example({"loss": loss}))


@pytest.mark.parametrize(("start", "end"), [(1.0, -0.6), (0.0, 0.9), (-1.0, -0.5)])
def test_nor_one_that_was_an_error_or_ends_above_its_start(start: float, end: float) -> None:
    down, back = np.linspace(start, -3.0, 100), np.linspace(-3.0, end, 140)
    loss = np.concatenate([np.full(20, start), down, back, np.full(60, end)]) + NOISE[:320]
    gradient = np.linspace(0.6, 0.3, 320)
    assert Diverging().diagnose(example({"loss": loss, "grad_norm": gradient}))
