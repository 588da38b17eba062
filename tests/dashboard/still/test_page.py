"""The page of the last state: what it shows, and what it never holds."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest

from nbdebug.core.control_spec import ControlSpec, ControlState
from nbdebug.core.records import ControlChange, Notice, Status
from nbdebug.core.results.findings import Finding, Findings, Remedy
from nbdebug.dashboard.still.page import still_page
from nbdebug.testing import snapshot

TOKEN = "sk-proj-AbCdEf0123456789AbCdEf0123456789AbCd"
SVG = "{http://www.w3.org/2000/svg}"
CONTROLS = [
    ControlState(ControlSpec("lr", "Learning rate", "float", ""), 0.003),
    ControlState(ControlSpec("beta2", "Second beta", "float", "", advanced=True), 0.999),
    ControlState(ControlSpec("dropout", "Dropout", "float", "", unavailable="no layer"), 0.0),
    ControlState(
        ControlSpec("clip_mode", "Clipping", "choice", "", choices=(("off", "Switched off"),)),
        "off",
    ),
]


def change(control, step=3, **fields):
    values = {"old": 1, "new": 2, "who": "api", "why": "", "status": "applied"} | fields
    return ControlChange(step, 64 * step, 0.1, control, **values)


def finding(title="Updates far too large", seen="Step 0 changed the weights.", **fields):
    remedies = (Remedy("Divide the learning rate by 10"),)
    values = {"severity": "error", "since": 7, "value": 1.0, "threshold": 0.1} | fields
    return Finding("f", title, seen=seen, why="", remedies=remedies, source="", **values)


def curves(steps=300):
    noise = np.random.default_rng(0)
    loss = np.exp(-np.arange(steps) / 100) * noise.uniform(0.5, 1.5, steps)
    return {"loss": loss, "grad_norm": loss * 3, "accuracy": 1 - loss / 2, "val_accuracy": loss}


def picture_of(page):
    """The plots, as XML."""
    found = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
    return ET.fromstring(base64.b64decode(found[1]))


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.seen, self.words = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


def with_findings(shown, *found):
    from dataclasses import replace

    results = shown.results.with_result(Findings(found))
    return replace(shown, results=results)


def test_it_shows_numbers_controls_findings_and_plots():
    shown = with_findings(snapshot(curves(), changes=(change("beta2"),)), finding())
    page = still_page(shown, CONTROLS, "My net")
    words = "".join(Tags(page).words)
    for text in (
        "My net", "at step 300", "loss", "accuracy", "gradient norm", "Learning rate 0.003",
        "Second beta 0.999", "Clipping Switched off", "Updates far too large", "Step 0 changed",
        "Divide the learning rate by 10",
    ):  # fmt: skip
        assert text in words
    assert "Dropout" not in words
    titles = [one.text for one in picture_of(page).iter(f"{SVG}text")]
    assert {"Loss", "Accuracy", "Gradient norm"} <= set(titles)


def test_an_advanced_control_that_was_never_changed_is_left_out():
    page = still_page(snapshot(curves()), CONTROLS, "net")
    assert "Second beta" not in page


def test_it_has_no_script_and_loads_nothing():
    page = still_page(with_findings(snapshot(curves()), finding()), CONTROLS, "net", "mark")
    tags = Tags(page).seen
    assert {tag for tag, _ in tags} <= {
        "div", "p", "strong", "img", "table", "tr", "th", "td"
    }  # fmt: skip
    assert {name for _, attrs in tags for name in attrs} <= {"class", "style", "alt", "src"}
    assert all(attrs["src"].startswith("data:image/svg") for tag, attrs in tags if tag == "img")
    inside = {one.tag.removeprefix(SVG) for one in picture_of(page).iter()}
    assert inside <= {"svg", "text", "tspan", "path", "line", "g", "circle"}
    assert tags[0][1]["class"] == "nbd-still mark"


def test_it_says_everything_where_styles_and_images_are_stripped():
    """As on hosts that keep plain tags alone."""
    shown = with_findings(snapshot(curves()), finding())
    bare = re.sub(
        r"<img[^>]*>|style=\"[^\"]*\"|class=\"[^\"]*\"", "", still_page(shown, CONTROLS, "net")
    )
    assert all(text in bare for text in ("at step 300", "Learning rate", "Updates far too large"))


@pytest.mark.parametrize("where", ["name", "failure", "finding", "control"])
def test_secrets_are_masked(where):
    shown, controls, name = snapshot(curves()), CONTROLS, "net"
    if where == "name":
        name = f"run with {TOKEN}"
    if where == "failure":
        failure = Notice(3, "error", "Stopped", f"cannot open https://user:{TOKEN}@host")
        shown = snapshot(curves(), status=Status("paused", 3, failure=failure))
    if where == "finding":
        shown = with_findings(shown, finding(seen=f"token = {TOKEN!r}"))
    if where == "control":
        spec = ControlSpec("note", "Note", "choice", "")
        controls = [ControlState(spec, f"password={TOKEN}")]
    page = still_page(shown, controls, name)
    assert TOKEN not in page
    assert "***" in page


def test_texts_are_no_html():
    shown = with_findings(snapshot(curves()), finding(title="<script>x</script>"))
    page = still_page(shown, CONTROLS, "<img src=x onerror=alert(1)>")
    assert "<script" not in page
    assert "onerror" not in {name for _, attrs in Tags(page).seen for name in attrs}


ONES = np.ones(50)


@pytest.mark.parametrize(
    "values",
    [
        [], [1.0], ONES, 0 * ONES, -ONES, np.nan * ONES, np.inf * ONES, -np.inf * ONES,
        [1.0, np.nan, 2.0], [0.0, 1e-300, 1e300], [-1e308, 1e308], [1e308, 1e308], [5e-324, 1.0],
        np.where(np.arange(50) % 2, np.nan, np.arange(50)), np.arange(50) - 25.0,
        [3.0, 3.0 + 1e-15, 3.0],
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_any_values_give_a_picture_with_places_inside(values):
    series = {"loss": values, "grad_norm": values, "accuracy": values, "val_accuracy": values}
    page = still_page(snapshot(series if len(values) else {}), CONTROLS, "net")
    if not len(values):
        assert "<img" not in page
        return
    drawn = picture_of(page)
    numbers = re.findall(
        r"[ML](\S+) ([^ML\sh]+)", " ".join(one.get("d") for one in drawn.iter(f"{SVG}path"))
    )
    places = np.array([[float(x), float(y)] for x, y in numbers]).reshape(-1, 2)
    assert np.isfinite(places).all()
    assert ((places >= 0) & (places <= [960, 230])).all()


def test_no_spike_is_lost_between_two_pixels():
    loss = np.ones(200_000)
    loss[123_457], loss[77_777] = 1.2, 0.8
    drawn = picture_of(still_page(snapshot({"loss": loss}), [], "net"))
    band = next(one for one in drawn.iter(f"{SVG}path") if one.get("stroke-opacity"))
    heights = [float(y) for y in re.findall(r"[ML]\S+ ([^MLh\s]+)", band.get("d"))]
    rest = np.median(heights)
    assert min(heights) < rest < max(heights)


def test_the_longest_training_fits_into_150_kilobytes():
    steps = 100_000
    series = curves(steps) | {"val_loss": np.random.default_rng(1).uniform(size=steps)}
    found = [finding(title=f"{n} " + "t" * 500, seen="s" * 5000) for n in range(50)]
    changes = tuple(change("lr", step) for step in range(0, steps, 100))
    shown = with_findings(snapshot(series, changes=changes), *found)
    controls = [
        ControlState(ControlSpec(f"c{n}", "c" * 400, "choice", ""), "v" * 400) for n in range(200)
    ]
    page = still_page(shown, controls, "n" * 10_000)
    assert len(page.encode()) <= 150_000
    assert "<img" in page


def test_a_metric_of_200_letters_covers_nothing():
    name = "m" * 200
    series = dict.fromkeys(("loss", name, f"val_{name}"), curves()["loss"])
    page = still_page(snapshot(series), [], "net")
    assert "m" * 41 not in page
    titles = [text.text or "" for text in picture_of(page).iter(f"{SVG}text")]
    assert max(len(text) for text in titles if text.lower().startswith("m")) <= 18


def test_equal_states_give_equal_pages():
    """Else a notebook would differ in version control each time it is run."""
    pages = {still_page(snapshot(curves()), CONTROLS, "net") for _ in range(2)}
    assert len(pages) == 1
