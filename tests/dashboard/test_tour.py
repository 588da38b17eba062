"""The tour opens pages of the docs, in a clone and from the wheel, without a network."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from nbdebug.dashboard import tour as module
from nbdebug.dashboard.close_widgets import close_tree
from nbdebug.dashboard.tour import STOPS, Tour, read_page

ROOT = Path(__file__).parents[2]


def shown(tour: Tour) -> str:
    """Markdown under the terms."""
    return "".join(output["data"]["text/markdown"] for output in tour.page.outputs)


def click(tour: Tour, term: str) -> None:
    next(
        row.children[0] for row in tour.box.children[:-1] if row.children[0].description == term
    ).click()


def test_widgets_are_made_when_the_tour_is_shown_and_once() -> None:
    tour = Tour()
    assert tour.box.children == ()
    assert tour.box.layout.display == "none"
    tour.show(True)
    rows = tour.box.children
    assert [row.children[0].description for row in rows[:-1]] == [stop.term for stop in STOPS]
    tour.show(False)
    assert tour.box.layout.display == "none"
    tour.show(True)
    assert tour.box.children == rows
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
    assert "](" not in read_page(page).replace("](http", "")


def test_the_pages_of_the_package_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs.md").write_text("# Runs\n\nSee [one](a.md#b), [two](https://x.org/y).\n")
    monkeypatch.setattr(module, "FOLDERS", (tmp_path,))

    assert read_page("runs.md") == "# Runs\n\nSee one, [two](https://x.org/y).\n"
    assert "docs/timeline.md" in read_page("timeline.md")
