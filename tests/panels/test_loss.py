"""The loss plot: scale, range, window, branches and flags."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from bokeh.models import DataRange1d, LinearScale, LogScale

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Notice, Reading, Status, StepRecord
from nbdebug.core.series import Series
from nbdebug.panels.grad_norm import GradNorm
from nbdebug.panels.loss import Loss
from nbdebug.panels.metric import Metric
from nbdebug.plots.flags import PLOT_PIXELS, flags
from nbdebug.plots.ranges import robust_range
from tests.panels.showing import SPECS, Shown, change, context_with, draw, history

FALLING = 2.0 * np.exp(-np.arange(400) / 100)
BY_NAME = {spec.name: spec for spec in SPECS}


@pytest.fixture
def shown():
    return Shown()


@pytest.fixture
def loss(shown):
    panel = Loss(context_with(shown))
    panel.build()
    return panel


def corners(panel, shown):
    """Ends of x and of y that the plot shows."""
    columns = shown.of(panel.context.time.shown)
    return tuple(columns["x"]), tuple(columns["y"])


def scale(panel, shown):
    return type(shown.prop(panel.figure, "y_scale"))


@pytest.mark.parametrize(
    ("recent", "expected"),
    [(0.1, LogScale), (1e-12, LogScale), (0.0, LinearScale), (-0.5, LinearScale)],
)
def test_the_scale_is_logarithmic_where_all_recent_losses_are_positive(
    loss, shown, recent, expected
):
    draw(loss, history(loss=[1.0] * 50 + [recent] * 10))
    assert scale(loss, shown) is expected


def test_a_loss_that_was_negative_long_ago_does_not_matter(loss, shown):
    draw(loss, history(loss=[-1.0] * 100 + [1.0] * 600))
    assert scale(loss, shown) is LogScale


def test_the_viewer_may_choose_the_scale_while_paused(loss, shown):
    made = history(loss=FALLING)
    draw(loss, made)
    loss.context.choices.pick("loss_scale", "linear")
    draw(loss, made)
    assert scale(loss, shown) is LinearScale
    loss.context.choices.pick("loss_scale", "log")
    draw(loss, made)
    assert scale(loss, shown) is LogScale
    low, high = corners(loss, shown)[1]
    assert low == pytest.approx(FALLING.min(), rel=0.05)
    assert high == pytest.approx(FALLING.max(), rel=0.05)


def test_on_a_log_scale_zeros_are_gaps_and_steps_stay(loss, shown):
    loss.context.choices.pick("loss_scale", "log")
    draw(loss, history(loss=[1.0, 0.0, -1.0, 2.0]))
    columns = shown.of(loss.curves.sources["train"])
    np.testing.assert_array_equal(columns["mean"], [1.0, np.nan, np.nan, 2.0])
    np.testing.assert_array_equal(columns["x"], [0, 1, 2, 3])


@pytest.mark.parametrize("chosen", ["linear", "log"])
@pytest.mark.parametrize(("steps", "height"), [(1, 1e30), (10, 2000.0), (30, 50.0)])
def test_one_bad_dial_does_not_set_the_range(loss, shown, chosen, steps, height):
    values = np.full(400, 0.1) + np.linspace(0, 0.05, 400)
    values[200 : 200 + steps] = height
    loss.context.choices.pick("loss_scale", chosen)
    loss.context.choices.pick("smoothing", "0")
    draw(loss, history(loss=values))
    low, high = corners(loss, shown)[1]
    assert 0.01 < low < 0.1001
    assert 0.15 <= high < 1


def test_where_training_is_now_is_always_seen(loss, shown):
    draw(loss, history(loss=[0.1] * 400 + [2000.0] * 30))
    assert corners(loss, shown)[1][1] > 500


def test_a_constant_loss_has_ticks_that_differ(loss, shown):
    for value in (0.0, 1e-9, 3.0, -7.0):
        draw(loss, history(loss=[value]))
        low, high = corners(loss, shown)[1]
        assert low < value < high or value == pytest.approx((low * high) ** 0.5)
        assert f"{low:.3g}" != f"{high:.3g}"


def test_the_window_is_the_last_500_steps_or_all(loss, shown):
    made = history(loss=np.linspace(9, 1, 1200))
    draw(loss, made)
    assert corners(loss, shown)[0] == (0, 1199)
    before = shown.prop(loss.context.time_range, "range_padding")
    loss.context.choices.pick("window", "last")
    draw(loss, made)
    (first, last), (low, high) = corners(loss, shown)
    assert (first, last) == (700, 1199)
    assert low == pytest.approx(1, rel=0.01)
    assert high == pytest.approx(np.linspace(9, 1, 1200)[700], rel=0.02)
    # A zoomed range follows again: Bokeh fits it where its padding changes.
    assert shown.prop(loss.context.time_range, "range_padding") != before


@pytest.mark.parametrize(
    ("length", "held", "steps"),
    [(1, 1, 500), (2_000, 1, 500), (16_000, 8, 500), (30_000, 16, 1_000), (60_000, 32, 2_000),
     (100_000, 64, 5_000), (200_000, 128, 10_000), (3_000_000, 2048, 200_000)],
)  # fmt: skip
def test_the_window_shows_as_many_steps_as_it_says(loss, shown, length, held, steps):
    ends = np.minimum(np.arange(held, length + held, held), length) - 1
    values, counts = np.ones(len(ends)), np.diff(ends, prepend=-1).astype(np.int32)
    series = {
        name: Series(name, ends, values, values, values, values, counts)
        for name in ("loss", "samples")
    }
    loss.context.choices.pick("window", "last")
    loss.update(Snapshot(Status(step=length), {}, series))
    offered = {one["name"]: dict(one["options"]) for one in loss.context.choices.describe()}
    assert offered["window"]["last"] == f"last {steps:,}"
    first, last = corners(loss, shown)[0]
    assert last - first == max(min(steps, length) - 1, 1)
    assert (shown.of(loss.curves.sources["train"])["x"] >= first).sum() >= min(length, 30)


def test_a_run_shorter_than_the_window_is_shown_whole(loss, shown):
    loss.context.choices.pick("window", "last")
    draw(loss, history(loss=FALLING))
    assert corners(loss, shown)[0] == (0, 399)


def test_after_one_step_the_axis_counts_whole_steps_and_a_dot_is_seen(loss, shown):
    draw(loss, history(loss=[2.4]))
    assert corners(loss, shown)[0] == (0, 1)
    assert loss.context.time.ticker.min_interval == 1
    assert list(shown.of(loss.curves.few)["y"]) == [2.4]


@pytest.mark.parametrize(("count", "size"), [(1, 4), (60, 4), (61, 2), (900, 2)])
def test_many_validations_are_smaller_dots(loss, shown, count, size):
    draw(loss, history(loss=np.ones(1000), val_loss=np.ones(count)))
    assert shown.prop(loss.curves.dots, "size") == size


@pytest.mark.parametrize("kind", [Loss, Metric, GradNorm])
@pytest.mark.parametrize(
    ("values", "said"),
    [([], "Press Run"), ([np.inf, np.inf], "NaN or Inf at every step."), ([np.inf, 1.0], "")],
)
def test_a_plot_without_a_value_to_draw_says_why(shown, kind, values, said):
    panel = kind(context_with(shown))
    panel.build()
    draw(panel, history(loss=values, accuracy=values, grad_norm=values))
    assert shown.notes[panel.name].startswith(said)
    assert bool(shown.notes[panel.name]) == bool(said)


@pytest.mark.parametrize("kind", [Loss, Metric, GradNorm])
@pytest.mark.parametrize(
    ("status", "said"),
    [
        (Status("running"), "Waiting for the"),
        (Status("closed"), "Training was closed before it measured the"),
        (
            Status(failure=Notice(0, "error", "Stopped", "", kind="non_finite")),
            "Training stopped at step 0 (NaN or Inf) before it measured the",
        ),
    ],
)
def test_a_plot_without_a_step_says_what_happened(shown, kind, status, said):
    panel = kind(context_with(shown))
    panel.build()
    past = history(loss=[], accuracy=[], grad_norm=[])
    past.set_status(status)
    draw(panel, past)
    assert shown.notes[panel.name].startswith(said)


def test_a_gradient_of_zero_is_said(shown):
    panel = GradNorm(context_with(shown))
    panel.build()
    draw(panel, history(grad_norm=[0.0, 0.0]))
    assert shown.notes[panel.name] == "0 at every step."


def test_axes_are_named_and_follow_the_unit(loss, shown):
    made = history(loss=FALLING)
    for unit, last in (("step", 399.0), ("samples", 25600.0), ("epoch", 39.9)):
        loss.context.choices.pick("axis", unit)
        draw(loss, made)
        assert shown.prop(loss.figure.xaxis[0], "axis_label") == unit
        assert corners(loss, shown)[0][1] == pytest.approx(last)
    assert loss.figure.yaxis[0].axis_label == "loss"
    assert shown.prop(loss.context.time.ticker, "min_interval") == 0


def test_the_branch_that_a_rewind_left_squeezes_nothing(loss, shown):
    made = history(loss=[*FALLING[:100], *np.full(900, 3000.0)])
    made.rewind(100, 1000)
    made.set_status(type(made.status)("paused", 100, 6400, 10.0))
    draw(loss, made)
    (first, last), (low, high) = corners(loss, shown)
    assert first == 0
    assert 99 < last <= 99 * 1.25
    assert high < 3
    assert low > 0.5
    assert len(shown.of(loss.gone)["x"]) > 100


def test_twenty_branches_fit_into_the_plot(loss, shown):
    made = history(loss=FALLING)
    for _ in range(20):
        for step in range(100, 400):
            made.append(StepRecord(step, (Reading(("loss",), FALLING[step : step + 1]),)))
        made.rewind(100, 400)
    draw(loss, made)
    assert 100 < len(shown.of(loss.gone)["x"]) <= 1000


def test_the_card_of_the_loss_and_that_of_a_mark_have_places_of_their_own(loss):
    sides = {
        tool.attachment: tool.renderers[0].data_source for tool in loss.figure.tools
        if tool.__class__.__name__ == "HoverTool"
    }  # fmt: skip
    assert sides["above"] in (loss.context.markers.changes, loss.context.markers.notes)
    assert "@step" in loss.figure.tools[-2].tooltips


def test_x_and_y_follow_the_same_invisible_corners(loss):
    assert isinstance(loss.figure.y_range, DataRange1d)
    assert loss.figure.y_range.renderers == loss.figure.x_range.renderers
    assert loss.figure.y_range.renderers[0].data_source is loss.context.time.shown


def test_the_newest_values_are_read_out(loss, shown):
    draw(loss, history(loss=[3.0, 2.0], val_loss=[np.nan, 2.5]))
    text = shown.read_out["loss"]
    assert "loss 2," in text
    assert "validation 2.5" in text


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (change(5, "lr", 0.01, 0.1), "lr x10"),
        (change(5, "lr", 0.01, 0.005), "lr /2"),
        (change(5, "lr", 0.01, 5.0), "lr 5"),
        (change(5, "lr", 0.0, 0.1), "lr 0.1"),
        (change(5, "batch_size", 64, 128), "batch 64 → 128"),
        (change(5, "layer_order", "as_built", "norm_dropout"), "BN, Drop"),
        (change(5, "clip_mode", "off", "norm"), "clip norm"),
        (change(5, "clip_threshold", 1.0, 0.5), "clip at 0.5"),
        (change(5, "optimizer", "sgd", "adam"), "Adam"),
        (change(5, "dropout", 0.1, {"a": 0.5}), "dropout by layer"),
        (change(5, "timeline", 9, 5, kind="rewind"), "rewound"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_flags_are_short(made, text):
    assert [flag.text for flag in flags([(5.0, made)], BY_NAME, (0, 10))] == [text]


def test_a_dial_that_is_turned_is_one_flag_and_one_turned_back_is_none():
    turned = [
        (float(s), change(s, "lr", 10.0 ** (s - 104), 10.0 ** (s - 103))) for s in (100, 101, 102)
    ]
    assert [f.text for f in flags(turned, BY_NAME, (0, 1000))] == ["lr 0.1"]
    back = [*turned[:1], (101.0, change(101, "lr", 1e-3, 1e-4))]
    assert flags(back, BY_NAME, (0, 1000)) == []


def test_no_flag_covers_another_and_the_newest_come_first():
    rng = np.random.default_rng(0)
    for count in (1, 3, 20, 200):
        steps = np.sort(rng.integers(0, 1000, count))
        changes = [(float(s), change(int(s), "batch_size", 64, 128)) for s in steps]
        found = flags(changes, BY_NAME, (0, 1000))
        assert 1 <= len(found) <= 6
        width = len("batch 64 → 128") * 5.8 * 1000 / PLOT_PIXELS
        ends = sorted((f.x - width, f.x) if f.left else (f.x, f.x + width) for f in found)
        assert all(end <= start for (_, end), (start, _) in pairwise(ends))
        assert found[0].x == steps[-1]


def test_changes_outside_of_the_window_have_no_flag():
    assert flags([(5.0, change(5, "lr", 1, 2))], BY_NAME, (10, 20)) == []
    assert flags([(5.0, change(5, "lr", 1, 2))], BY_NAME, (5, 5)) == []


@pytest.mark.parametrize("log", [False, True])
def test_a_range_of_nothing_is_none(log):
    assert robust_range(np.array([np.nan, np.inf]), np.empty(0), log) is None
    assert robust_range(np.array([-1.0, 0.0]), np.empty(0), True) is None
