from __future__ import annotations

import base64
import gzip
import json
import re
from collections import OrderedDict
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nbdebug import Debugger
from nbdebug.core.history.history import History
from nbdebug.core.records import Reading, StepRecord
from nbdebug.core.series import Series
from nbdebug.panels.base import NoSink, PanelContext
from nbdebug.panels.loss import Loss
from nbdebug.plots.curves import spans_decades
from nbdebug.plots.figures import caption
from nbdebug.plots.plot_options import PlotOptions
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.report.report import report_page
from nbdebug.runs.store.api import import_run
from nbdebug.runs.store.run import Run
from tests.runs.handmade import HOSTILE, change, run_of, series

Make = Callable[..., Debugger]


class Page(HTMLParser):
    """What a browser makes of a page: its words, its elements, and what they refer to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.scripts: dict[str, str] = {}
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag in ("script", "style"):
            self._inside = dict(attrs).get("id") or tag

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.scripts[self._inside] = self.scripts.get(self._inside, "") + data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def models(self) -> list[dict[str, Any]]:
        """All models of Bokeh that are in the page, as JSON."""
        found: list[dict[str, Any]] = []

        def walk(part: Any) -> None:
            if isinstance(part, dict):
                if part.get("type") == "object":
                    found.append(part)
                for value in part.values():
                    walk(value)
            elif isinstance(part, list):
                for value in part:
                    walk(value)

        walk(json.loads(self.scripts["nbd-document"]))
        return found

    def figure(self, name: str) -> dict[str, Any]:
        return next(
            model["attributes"]
            for model in self.models
            if model["name"] == "Figure" and model["attributes"].get("name") == name
        )

    def columns(self, figure: str, *names: str) -> list[np.ndarray]:
        """Columns of the first source of a figure that has them all."""
        known = {model["id"]: model.get("attributes", {}) for model in self.models}
        for renderer in self.figure(figure)["renderers"]:
            source = known[known[renderer["id"]]["data_source"]["id"]]
            data = dict(source["data"]["entries"])
            if set(names) <= set(data):
                return [_numbers(data[name]) for name in names]
        raise AssertionError(f"{figure} has no source with {names}")


def _numbers(column: Any) -> np.ndarray:
    if isinstance(column, list):
        return np.array(column)
    data = base64.b64decode(column["array"]["data"])
    if data.startswith(b"\x1f\x8b"):
        # Bokeh 3.6 does not compress.
        data = gzip.decompress(data)
    return np.frombuffer(data, column["dtype"])


def trained(debugger: Make) -> tuple[Debugger, Run]:
    dbg = debugger(name="digits", lr=0.05, metrics={"accuracy": accuracy})
    dbg.check()
    dbg.run(steps=30)
    dbg.set(lr=0.01, clip_mode="norm", clip_threshold=0.1, why="plateau")
    dbg.note("now slower")
    dbg.run(steps=30)
    return dbg, dbg.record


def accuracy(outputs: Any, targets: Any) -> Any:
    return (outputs.argmax(1) == targets).float().mean()


def test_what_a_report_says_of_a_training(debugger: Make) -> None:
    dbg, run = trained(debugger)
    history = dbg.history.frame()

    page = Page(report_page(run))

    assert page.tags.count("h1") == 1
    assert page.tags.count("h2") == 10
    for words in (
        "digits", f"{history['loss'].iloc[-1]:.4g}", f"{history['val_loss'].min():.4g}",
        "plateau", "now slower", "clip_threshold", "Checklist: ", "1. Start simple"[3:],
        "SHA-256", run.model["initial_weights"][:16], run.data["train"]["parts"][0]["sha256"][:16],
        run.environment["python"], "in_features=4, out_features=8", "train_samples",
        "output shape",
    ):  # fmt: skip
        assert words in page.text, words
    for result in run.checks["title"]:
        assert result in page.text


def test_what_was_looked_at_is_in_the_report(debugger: Make, tmp_path: Path) -> None:
    dbg, _ = trained(debugger)
    before = Page(dbg.report(tmp_path / "before.html").read_text(encoding="utf-8"))
    assert ("id", "inside") not in before.attributes

    dbg.network(3, part="0")
    dbg.explain(3)
    dbg.embedding()
    dbg.predictions()
    text = dbg.report(tmp_path / "after.html").read_text(encoding="utf-8")
    page = Page(text)

    section = text.partition('<section id="inside">')[2].partition("</section>")[0]
    for words in (
        "Step 60, sample 3 of", "0 Linear", "Change since step 0",
        "Saliency of output", "PCA of 8 features", "Confusion matrix",
    ):  # fmt: skip
        assert words in section, words
    sources = [value or "" for name, value in page.attributes if name == "src"]
    assert len(sources) > 3
    assert all(value.startswith("data:image/png;base64,") for value in sources)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "button" not in page.tags


def test_a_run_that_is_loaded_shows_the_structure_that_was_seen(
    debugger: Make, tmp_path: Path
) -> None:
    dbg, _ = trained(debugger)
    assert dbg.record.structure.parts == ()
    seen = dbg.network(3).structure
    dbg.close()
    path = dbg.record.export(tmp_path / "run.zip")
    loaded = import_run(path, tmp_path / "runs.db")
    assert loaded.id != ""
    known = [(part.name, part.kind, part.inputs, part.shape) for part in loaded.structure.parts]
    assert known == [(part.name, part.kind, part.inputs, part.shape) for part in seen.parts]
    assert loaded.structure.to_frame().parameters.sum() == seen.to_frame().parameters.sum()
    text = loaded.report(tmp_path / "loaded.html").read_text(encoding="utf-8")
    section = text.partition('<section id="inside">')[2].partition("</section>")[0]
    assert section.count('class="nbd-part') == len(seen.parts)
    assert "As it was looked at first" in section
    assert "<img" not in section


def test_names_of_parts_that_were_looked_at_stay_text(tmp_path: Path) -> None:
    name = '<img src=x onerror="alert(1)">'
    model = nn.Sequential(OrderedDict([(name, nn.Linear(4, 8)), ("last", nn.Linear(8, 3))]))
    data = torch.randn(32, 4), torch.arange(32) % 3
    with Debugger(model, data, nn.CrossEntropyLoss(), runs=None) as dbg:
        dbg.network(part=name)
        dbg.embedding(name)
        page = Page(dbg.report(tmp_path / "report.html").read_text(encoding="utf-8"))
    assert name in page.text
    assert not [one for one, _ in page.attributes if one.startswith("on")]


def test_the_plots_hold_the_numbers_of_the_run(debugger: Make) -> None:
    dbg, run = trained(debugger)
    history = dbg.history.frame()

    page = Page(report_page(run))

    for figure, name in (("loss", "loss"), ("grad_norm", "grad_norm")):
        x, y = page.columns(figure, "x", "y")
        np.testing.assert_array_equal(x, history.index)
        np.testing.assert_array_equal(y, history[name])
    x, _ = page.columns("grad_norm", "x", "share")
    np.testing.assert_array_equal(x, history.index[history["clipped"] > 0])
    x, new, why = page.columns("loss", "x", "new", "why")
    assert list(zip(x, new, why, strict=True)) == [
        (30.0, "0.01", "plateau"), (30.0, "norm", "plateau"), (30.0, "0.1", "plateau"),
    ]  # fmt: skip
    x, text = page.columns("loss", "x", "text")
    assert (x.tolist(), text.tolist()) == ([30.0], ["now slower"])
    x, y = page.columns("lr", "x", "y")
    np.testing.assert_array_equal(y, history["lr"])
    figures = [m["attributes"]["name"] for m in page.models if m["name"] == "Figure"]
    expected = ["loss", "grad_norm", "accuracy", "lr", "update_ratio", "activation_std"]
    assert [name for name in figures if name != "dead"] == expected


def test_a_long_run_is_thinned_with_its_extremes() -> None:
    rng = np.random.default_rng(0)
    loss = rng.normal(3, 1, 5000)
    loss[1234] = 77.0

    page = Page(report_page(run_of("long", [series("loss", loss)])))

    x, y, low, high = page.columns("loss", "x", "y", "low", "high")
    assert len(x) == 625
    np.testing.assert_allclose(y, loss.reshape(-1, 8).mean(1))
    np.testing.assert_array_equal(low, loss.reshape(-1, 8).min(1))
    np.testing.assert_array_equal(high, loss.reshape(-1, 8).max(1))
    assert high.max() == 77.0


@pytest.mark.parametrize(
    "run",
    [
        Run(lambda: RunData()),
        run_of("no step", parameters={"lr": 0.1}),
        run_of("one step", [series("loss", [1.0])]),
        run_of("no numbers", [series("loss", [])]),
        run_of("only validation", [series("val_loss", [3.0, 2.0], [10, 20])]),
        run_of("all lost", [series("loss", [np.inf] * 5), series("grad_norm", [np.inf] * 5)]),
        run_of("zero", [series("loss", [0.0] * 5), series("grad_norm", [0.0] * 5)]),
        run_of("one lost", [series("loss", [3.0, np.nan, np.inf, -np.inf, 2.0])]),
        run_of(
            "as text", [series("loss", [1.0, 2.0])],
            parameters={"lr": "NaN"}, run={"failure": "Stopped: NaN or Inf"},
            findings=[{"title": "t", "severity": "error", "since": 1, "until": None, "seen": "s",
                       "value": "NaN", "evidence": [1.0, "NaN", "Infinity", 2.0]}],
        ),
        run_of("odd", findings=[{}], changes=[{}], notes=[{}], checks=[{}], cells=[""],
               model={"layers": [{}]}, data={"train": {}, "other": {"parts": [{}]}},
               environment={"packages": {}}, code={"git": {"diff": "+1", "diff_cut": True}}),
    ],
    ids=lambda run: run.name or "nothing",
)  # fmt: skip
def test_a_report_of_any_run_can_be_written(run: Run) -> None:
    page = Page(report_page(run))

    assert page.tags.count("h1") == 1
    assert ("nbd-document" in page.scripts) == any(map(len, run.bundle.series.values()))


def test_a_run_without_a_step_needs_no_library() -> None:
    page = report_page(run_of("idle"))

    assert "there is nothing to draw" in page
    assert len(page) < 30_000


def test_values_that_are_not_finite_are_gaps() -> None:
    loss = [3.0, np.inf, 2.0, -np.inf, 1.0]

    x, y = Page(report_page(run_of("lost", [series("loss", loss)]))).columns("loss", "x", "y")

    np.testing.assert_array_equal(x, range(5))
    np.testing.assert_array_equal(y, [3.0, np.nan, 2.0, np.nan, 1.0])


def test_what_was_undone_is_struck_out_and_not_marked() -> None:
    changes = [
        change(2, "lr", 0.1, 0.2),
        change(3, "lr", 0.2, 0.3, status="undone"),
        change(4, "dropout", 0.5, 9.0, status="refused", note="0 to 1"),
    ]

    text = report_page(run_of("undone", [series("loss", [3, 2, 1, 1, 1])], changes=changes))

    assert Page(text).columns("loss", "x", "new")[1].tolist() == ["0.2"]
    assert text.count('<tr class="undone">') == 1
    assert "refused: 0 to 1" in text


def test_findings_say_when_why_and_what_to_do() -> None:
    found = {
        "name": "diverging", "title": "The loss grows", "severity": "warning", "since": 40,
        "until": 90, "value": 3.0, "threshold": 2.0, "seen": "3 times its start",
        "why": "Steps are too large.", "because": "", "source": "Bengio 2012",
        "evidence": [1.0, 2.0, 4.0],
        "remedies": [{"text": "A smaller rate", "settings": {"lr": 0.001}}],
    }  # fmt: skip
    grave = {**found, "title": "A value is NaN", "severity": "error", "until": None}
    follows = {**found, "title": "Updates are large", "because": "The loss grows"}

    text = report_page(run_of("sick", findings=[found, follows, grave]))
    page = Page(text)

    assert "since step 40, until step 90" in page.text
    assert "since step 40, until the end" in page.text
    assert "A smaller rate (lr=0.001)" in page.text
    assert "Consequences: Updates are large: 3 times its start" in page.text
    assert text.index("A value is NaN") < text.index("The loss grows")
    assert page.tags.count("article") == 2
    assert page.tags.count("polyline") == 2


def hostile() -> Run:
    """A run in which everything that anyone may name is an attack."""
    text = HOSTILE
    layer = {
        "layer": text,
        "kind": text,
        "settings": text,
        "parameters": 1,
        "trainable": 1,
        "output_shape": [text],
    }
    drawn = {"part": text, "kind": text, "inputs": [0, 1], "shape": [1, text], "calls": 2}
    part = {"shape": [3], "dtype": text, "sha256": text, "classes": {text: 3}}
    finding = {
        "name": text, "title": text, "severity": text, "since": 1, "until": 2, "seen": text,
        "why": text, "because": "", "source": text, "evidence": [1.0, 2.0],
        "remedies": [{"text": text, "settings": {text: text}}],
    }  # fmt: skip
    check = {
        "name": f'x" onclick="alert(1){text}', "title": text, "step": 2, "status": "fail",
        "seen": text, "expected": text, "remedy": text, "why": text, "source": text,
        "because": "", "seconds": text, "at": text,
    }  # fmt: skip
    curve = [3.0, 2.0, 1.0]
    return run_of(
        text,
        [series("loss", curve), series(f"update_ratio/{text}", curve), series(text, curve),
         series("grad_norm", curve), series(f"dead/{text}", curve)],
        id=text,
        run={"metrics": [text], "failure": text, "nbdebug": text},
        parameters={text: text},
        changes=[change(1, text, text, {text: text}, who=text, why=text, note=text),
                 change(2, text, 1, 2, status=text)],
        notes=[{"step": 1, "samples": 1, "epoch": 1.0, "text": text}],
        findings=[finding], checks=[check], cells=[text],
        environment={text: text, "packages": {text: text}},
        model={"class": text, "parameters": text, "initial_weights": text, "layers": [layer],
               "parts": [drawn, drawn | {"parameters": 3, "entry": True}]},
        data={text: {"kind": text, "samples": text, "parts": [part]}},
        code={"model": text, "loss": text, "git": {"commit": text, "branch": text, "diff": text}},
    )  # fmt: skip


def test_what_users_wrote_stays_text() -> None:
    text = report_page(hostile())
    page = Page(text)

    # The numbers, BokehJS and what starts it.
    assert page.tags.count("script") == text.count("<script") == text.count("</script>") == 3
    assert "img" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count("alert('it ran')") > 30
    # In Bokeh's data too; what a canvas writes is never taken for a formula.
    assert page.columns("loss", "x", "why")[1][0].startswith("</script><script>alert")
    labels = [model["attributes"] for model in page.models if model["name"] == "LegendItem"]
    assert labels
    assert "$$" not in json.dumps(labels)


def test_a_report_asks_for_nothing() -> None:
    text = report_page(hostile())
    page = Page(text)

    policy = next(
        value for _, value in page.attributes if (value or "").startswith("default-src 'none'")
    )
    assert "connect-src" not in (policy or "")
    references = [value for name, value in page.attributes if name in ("src", "href", "srcset")]
    assert all((value or "").startswith("#") for value in references)
    assert "link" not in page.tags
    assert not re.search(r"url\(|@import", page.scripts["style"])


def test_a_report_is_written_where_it_is_wanted(debugger: Make, tmp_path: Path) -> None:
    dbg, _ = trained(debugger)

    path = dbg.report(tmp_path / "new folder" / "report.html")

    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert path.stat().st_size < 1_500_000


def test_the_smoothed_loss_is_that_of_the_loss_panel() -> None:
    loss = np.linspace(3, 1, 250) + np.sin(np.arange(250.0))
    loss[100] = np.inf
    history = History()
    for step in range(250):
        history.append(StepRecord(step, (Reading(("loss",), loss[step : step + 1]),)))
    shown: dict[str, np.ndarray] = {}

    class Sink(NoSink):
        def set_data(self, source: Any, columns: Any) -> None:
            if "smooth" in columns:
                shown.update(columns)

    context = PanelContext(PlotOptions())
    context.sink = Sink()
    panel = Loss(context)
    panel.build()
    panel.update(history.snapshot(("loss",)))

    x, smooth = Page(report_page(run_of("same", [series("loss", loss)]))).columns(
        "loss", "x", "smooth"
    )

    np.testing.assert_array_equal(x, np.arange(250.0))
    np.testing.assert_array_equal(smooth, shown["smooth"])


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1, 100], True), ([1, 99], False), ([0, 100], False), ([-1, 100], False), ([], False),
     ([np.nan, 1, 1000, np.inf], True)],
)  # fmt: skip
def test_what_is_drawn_on_a_logarithmic_axis(values: list[float], expected: bool) -> None:
    assert spans_decades(np.array(values, dtype=float)) is expected


def test_captions_are_short_and_no_formulas() -> None:
    assert caption("plain") == "plain"
    assert "$$" not in caption(r"$$x$$ \[y\] \(z\)")
    assert len(caption("x" * 100)) == 40


def test_thinning_does_not_lose_where_it_was_clipped() -> None:
    clipped = np.zeros(4000)
    clipped[3000] = 1.0
    measured: list[Series] = [
        series("grad_norm", np.full(4000, 2.0)), series("clipped", clipped),
    ]  # fmt: skip

    x, y, share = Page(report_page(run_of("clipped", measured))).columns(
        "grad_norm", "x", "y", "share"
    )

    assert (x.tolist(), y.tolist(), share.tolist()) == ([3003.0], [2.0], [0.25])
