"""The tour opens pages of the docs, in a clone and from the wheel, without a network."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import ipywidgets
import pytest

from nbdebug.dashboard import tour as module
from nbdebug.dashboard.close_widgets import close_tree
from nbdebug.dashboard.tour import STOPS, PageLinks, Tour, read_page
from tests.inside import say

ROOT = Path(__file__).parents[2]


def shown(tour: Tour) -> str:
    """Markdown under the terms."""
    return "".join(output["data"]["text/markdown"] for output in tour.page.outputs)


def click(tour: Tour, term: str) -> None:
    next(row.children[0] for row in rows(tour) if row.children[0].description == term).click()


def rows(tour: Tour) -> list[Any]:
    """Rows of terms, without the page and what hears its links."""
    return [child for child in tour.box.children if isinstance(child, ipywidgets.HBox)]


def test_widgets_are_made_when_the_tour_is_shown_and_once() -> None:
    tour = Tour()
    assert tour.box.children == ()
    assert tour.box.layout.display == "none"
    tour.show(True)
    made = tour.box.children
    assert [row.children[0].description for row in rows(tour)] == [stop.term for stop in STOPS]
    tour.show(False)
    assert tour.box.layout.display == "none"
    tour.show(True)
    assert tour.box.children == made
    assert tour.box.layout.display != "none"


def test_a_term_shows_its_page_another_one_replaces_it_and_a_second_click_hides_it() -> None:
    tour = Tour()
    tour.show(True)
    click(tour, "Controls")
    assert shown(tour).startswith("# Controls")
    click(tour, "Timeline")
    assert shown(tour) == read_page("timeline.md")
    click(tour, "Timeline")
    assert shown(tour) == ""
    close_tree(tour.box)


@pytest.mark.parametrize("page", sorted({stop.page for stop in STOPS}))
def test_each_page_is_in_the_docs_and_in_the_wheel(page: str) -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    included = wheel["targets"]["wheel"]["force-include"]

    assert included[f"docs/{page}"] == f"nbdebug/dashboard/pages/{page}"
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert read_page(page).splitlines()[0] == text.splitlines()[0]


def test_links_lead_to_pages_that_came_with_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs.md").write_text("[a](timeline.md#undo), [b](gone.md), [c](../x.ipynb)\n")
    (tmp_path / "timeline.md").write_text("# Timeline\n\n[d](https://x.org/y)\n")
    monkeypatch.setattr(module, "FOLDERS", (tmp_path,))

    assert read_page("runs.md") == "[a](#nbd-page-timeline.md), b, c\n"
    assert read_page("timeline.md") == "# Timeline\n\n[d](https://x.org/y)\n"


def test_pages_of_the_wheel_link_each_other() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    included = wheel["targets"]["wheel"]["force-include"]
    pages = [Path(source).name for source in included if source.endswith(".md")]
    links = {
        link for page in pages for link in re.findall(r"\]\(#nbd-page-(.*?)\)", read_page(page))
    }

    assert {"rules.md", "checks.md", "predictions.md", "own_loop.md"} <= links & set(pages)


def test_a_link_that_is_clicked_opens_its_page_and_another_name_none() -> None:
    tour = Tour()
    tour.show(True)
    click(tour, "Controls")
    (links,) = [row for row in tour.box.children if isinstance(row, PageLinks)]

    say(links, {"page": "timeline.md"})
    assert shown(tour) == read_page("timeline.md")
    for strange in ({"page": "../README.md"}, {"page": "gone.md"}, {"page": 3}, {}, "timeline.md"):
        say(links, strange)
    assert shown(tour) == read_page("timeline.md")
    click(tour, "Controls")
    assert shown(tour).startswith("# Controls")
    close_tree(tour.box)


def test_the_pages_of_the_package_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs.md").write_text("# Runs\n\nSee [one](a.md#b), [two](https://x.org/y).\n")
    monkeypatch.setattr(module, "FOLDERS", (tmp_path,))

    assert read_page("runs.md") == "# Runs\n\nSee one, [two](https://x.org/y).\n"
    assert "docs/timeline.md" in read_page("timeline.md")
