"""Gradient norm, its strip by layer, and the metric: the plots beside the loss."""

from __future__ import annotations

import numpy as np
import pytest

from nbdebug.core.results.network import Network, NetworkLayer
from nbdebug.dashboard.view.mirror import BUDGET, Mirror
from nbdebug.panels.grad_norm import GradNorm
from nbdebug.panels.grad_norm_strip import MAX_COLUMNS, GradNormStrip, folded
from nbdebug.panels.metric import Metric
from tests.panels.showing import Shown, change, context_with, draw, history, members

NORMS = np.linspace(4, 2, 200)


@pytest.fixture
def shown():
    return Shown()


def built(kind, shown, **in_force):
    panel = kind(context_with(shown, **in_force))
    panel.build()
    return panel


def legend(panel, shown):
    """Entries of the legend that are seen."""
    return [shown.prop(e, "label") for e in panel.entries if shown.prop(e, "visible")]


def clipped(norms, threshold, start, end):
    """Series of a run that was clipped in some of its steps."""
    steps = np.arange(len(norms))
    on = (steps >= start) & (steps < end)
    return {
        "grad_norm": norms,
        "grad_norm_clipped": np.where(on, np.minimum(norms, threshold), norms),
        "clipped": np.where(on, norms > threshold, 0.0),
        "clip_threshold": np.where(steps % 10 == 0, threshold, np.nan),
    }


def test_without_clipping_there_is_one_line_with_one_name(shown):
    panel = built(GradNorm, shown)
    draw(panel, history(**clipped(NORMS, 1.0, 0, 0)))
    assert legend(panel, shown) == ["gradient norm"]
    assert shown.prop(panel.share, "text") == ""
    assert np.isnan(shown.of(panel.threshold)["y"]).all()
    assert not len(shown.of(panel.after)["y"])


def test_with_clipping_the_threshold_and_the_share_are_there(shown):
    panel = built(GradNorm, shown, clip_mode="norm")
    made = history(changes=[change(0, "clip_mode", "off", "norm")],
                   **clipped(NORMS, 2.25, 0, 200))  # fmt: skip
    draw(panel, made)
    share = (NORMS[-50:] > 2.25).mean()
    assert legend(panel, shown) == ["unclipped", "clipped", "threshold"]
    assert shown.prop(panel.share, "text") == f"clipped now: {share:.0%}"
    limit = shown.of(panel.threshold)
    assert limit["x"][-1] == 199
    assert set(limit["y"]) == {2.25}


def test_a_threshold_of_a_thousand_points_goes_on_to_the_newest_step(shown):
    panel = built(GradNorm, shown, clip_mode="norm")
    draw(panel, history(**clipped(np.full(1005, 2.0), 1.0, 0, 1005) | {
        "clip_threshold": [1.0] * 1000
    }))  # fmt: skip
    assert shown.of(panel.threshold)["x"][-1] == 1004


def test_where_clipping_was_off_nothing_is_drawn_of_it(shown):
    panel = built(GradNorm, shown)
    changes = [change(50, "clip_mode", "off", "norm"), change(100, "clip_mode", "norm", "off")]
    draw(panel, history(changes=changes, **clipped(NORMS, 3.0, 50, 100)))
    after, limit = shown.of(panel.after), shown.of(panel.threshold)
    for columns in (after, limit):
        inside = (columns["step"] >= 50) & (columns["step"] < 100)
        assert np.isfinite(columns["y"][inside]).all()
        assert np.isnan(columns["y"][~inside]).all()


def test_one_step_is_seen_as_a_dot(shown):
    panel = built(GradNorm, shown)
    draw(panel, history(grad_norm=[3.0]))
    assert list(shown.of(panel.few)["y"]) == [3.0]


def test_names_at_the_strip_fit_and_tell_layers_apart(shown):
    layers = [
        NetworkLayer("1", "BatchNorm1d"), NetworkLayer("embedding", "Linear"),
        NetworkLayer("head", "Linear"), NetworkLayer("classification_head", "Linear"),
    ]  # fmt: skip
    made = history(**members("grad_norm", {f"{one.name}.weight": 1.0 for one in layers}))
    made.set_result(Network(tuple(layers)))
    panel = built(GradNormStrip, shown)
    draw(panel, made)
    labels = shown.prop(panel.figure.yaxis[0], "major_label_overrides")
    assert list(labels.values()) == ["1 BN1d", "embedding", "head Linear", "cla…on_head"]


def test_the_strip_holds_the_norm_of_each_layer_over_time(shown):
    panel = built(GradNormStrip, shown)
    weight, bias = np.linspace(3, 1, 41), np.linspace(4, 2, 41)
    every = np.where(np.arange(41) % 10 == 0, 1.0, np.nan)
    draw(panel, history(
        loss=weight, grad_norm__0_weight=[], **{
            "grad_norm/0.weight": weight * every, "grad_norm/0.bias": bias * every,
            "grad_norm/2.weight": 0.0 * every,
        },
    ))  # fmt: skip
    columns = shown.of(panel.source)
    assert list(columns["left"]) == [0, 10, 20, 30, 40]
    assert list(columns["right"]) == [10, 20, 30, 40, 41]
    np.testing.assert_allclose(columns["v0"], np.hypot(weight, bias)[::10])
    assert set(columns["v1"]) == {0.0}
    assert np.isnan(columns["v2"]).all()
    labels = shown.prop(panel.figure.yaxis[0], "major_label_overrides")
    assert list(labels.values()) == ["0", "2"]


@pytest.mark.parametrize(
    ("names", "lanes"),
    [
        (["0.weight", "0.bias", "2.weight"], ["0", "2"]),
        (["weight"], ["weight"]),
        ([f"blocks.{b}.{part}.weight" for b in range(6) for part in ("q", "k", "v", "o")],
         [f"blocks.{b}" for b in range(6)]),
        (["emb.weight", *(f"layers.{b}.ffn.{i}.weight" for b in range(12) for i in range(9))],
         ["emb", *(f"layers.{b}.ffn" for b in range(12))]),
        ([f"{layer}.weight" for layer in range(33)],
         [*(f"{at} … {at + 2}" for at in range(0, 33, 3))]),
        ([f"{layer}.weight" for layer in range(31)],
         [*(f"{at} … {at + 1}" for at in range(0, 30, 2)), "30"]),
    ],
)  # fmt: skip
def test_deep_models_are_folded_by_block(names, lanes):
    assert list(folded([f"grad_norm/{name}" for name in names])) == lanes


@pytest.mark.parametrize("depth", [17, 40, 300, 1000])
def test_any_depth_fits_into_16_lanes_of_four_parameters(depth):
    found = folded([f"grad_norm/{n}.{part}" for n in range(depth) for part in ("weight", "bias")])
    assert 8 <= len(found) <= 16
    assert max(map(len, found.values())) <= 4


def test_a_new_step_changes_only_the_last_cells(shown):
    panel = built(GradNormStrip, shown)
    series = {f"grad_norm/{n}.weight": np.linspace(1, 2, 400) for n in range(16)}
    mirror = Mirror()
    sizes = []
    for steps in (380, 381, 382):
        draw(panel, history(**{name: values[:steps] for name, values in series.items()}))
        mirror.set_data("strip", shown.of(panel.source))
        sizes.append(mirror.tick().size)
    assert len(shown.of(panel.source)["left"]) <= 2 * MAX_COLUMNS
    assert sizes[0] < BUDGET
    assert max(sizes[1:]) < 1000


def test_a_metric_is_a_curve_with_its_name(shown):
    panel = built(Metric, shown)
    accuracy = np.linspace(0.1, 0.9, 30)
    draw(panel, history(accuracy=accuracy, val_accuracy=[np.nan] * 29 + [0.8]))
    columns = shown.of(panel.curves.sources["train"])
    np.testing.assert_array_equal(columns["mean"], accuracy)
    assert list(shown.of(panel.curves.sources["val"])["y"]) == [0.8]
    assert shown.prop(panel.axis, "axis_label") == "accuracy"
    assert shown.notes["metric"] == ""
    assert "accuracy 0.9" in shown.read_out["metric"]


def test_one_of_several_metrics_is_chosen(shown):
    panel = built(Metric, shown)
    made = history(metrics=("f1", "top5", "never"), f1=[0.5, 0.6], top5=[0.9, 1.0])
    draw(panel, made)
    (offered,) = [c for c in panel.context.choices.describe() if c["name"] == "metric"]
    assert offered["options"] == [["f1", "f1"], ["top5", "top5"]]
    panel.context.choices.pick("metric", "top5")
    draw(panel, made)
    assert list(shown.of(panel.curves.sources["train"])["mean"]) == [0.9, 1.0]


def test_without_a_metric_the_plot_says_how_to_get_one(shown):
    panel = built(Metric, shown)
    draw(panel, history(loss=[1.0]))
    assert shown.notes["metric"] == (
        "No metric: pass metrics={name: function(outputs, targets)}. A trainer, or a loop of your "
        "own, logs them by name."
    )
