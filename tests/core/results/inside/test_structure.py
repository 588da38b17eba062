"""Folding of structures, and places in which nothing stands above what it takes."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from nbdebug.core.results.inside.layout import MAX_IN_ROW, MAX_ROWS, places
from nbdebug.core.results.inside.network_page import network_page
from nbdebug.core.results.inside.network_picture import NetworkPicture
from nbdebug.core.results.inside.structure import OPENED, Part, Structure


def blocks(count: int, inside: int) -> Structure:
    """A chain of blocks of layers, each block with a way around it."""
    parts: list[Part] = []
    for block in range(count):
        first = len(parts)
        for layer in range(inside):
            inputs = {len(parts) - 1} if parts else set()
            if layer == inside - 1 and first:
                inputs.add(first - 1)
            parts.append(
                Part(f"layers.{block}.part{layer}", "Linear", tuple(sorted(inputs)), (1, 4), 20, 20)
            )
    return Structure(tuple(parts))


@st.composite
def graphs(draw: st.DrawFn) -> Structure:
    """Parts that take something from any earlier ones, and now and then from later ones."""
    count = draw(st.integers(1, 40))
    parts = []
    for at in range(count):
        earlier = draw(st.sets(st.integers(0, max(at - 1, 0)), max_size=3)) if at else set()
        back = draw(st.sets(st.integers(at, count - 1), max_size=1)) if at % 7 == 6 else set()
        name = f"{'ab'[at // 20]}.{at // 5}.{at}"
        parts.append(Part(name, "Linear", tuple(sorted(earlier | back)), (1, at), at, at))
    return Structure(tuple(parts))


@given(graphs())
def test_a_part_is_below_what_it_takes_and_no_two_are_in_one_place(structure: Structure) -> None:
    parts, where = structure.parts, places(structure.parts)
    for at, part in enumerate(parts):
        assert all(where[one].row < where[at].row for one in part.inputs if one < at)
    spots = {(place.stack, place.height, place.column) for place in where}
    assert len(spots) == len(parts)
    assert max(place.columns for place in where) <= MAX_IN_ROW
    assert max(place.height for place in where) < MAX_ROWS


@given(graphs(), st.integers(2, 12))
def test_folding_keeps_all_parameters_and_connections(structure: Structure, most: int) -> None:
    folded = structure.folded("", most)
    assert sum(part.parameters for part in folded.parts) == sum(
        part.parameters for part in structure.parts
    )
    assert sum(part.size for part in folded.parts) == len(structure.parts)
    assert len({part.name for part in folded.parts}) == len(folded.parts)
    # One part takes from another one across blocks exactly where the blocks do.
    held = [structure.folded(part.name, 1000).parts for part in folded.parts]
    holder = {part.name: at for at, inside in enumerate(held) for part in inside}
    names = [part.name for part in structure.parts]
    across = {
        (holder[names[one]], holder[part.name]) for part in structure.parts for one in part.inputs
    }
    found = {(one, at) for at, part in enumerate(folded.parts) for one in part.inputs}
    assert {(a, b) for a, b in across if a != b} == {(a, b) for a, b in found if a != b}


def test_a_large_network_is_folded_until_it_is_readable_and_unfolds() -> None:
    structure = blocks(200, 5)
    folded = structure.folded()
    assert 20 < len(folded.parts) <= OPENED
    first = structure.folded(folded.parts[0].name)
    assert {part.name for part in first.parts} <= {
        f"layers.{block}.part{n}" for block in range(9) for n in range(5)
    } | {f"layers.{block}" for block in range(9)}
    assert sum(part.size for part in first.parts) == folded.parts[0].size
    inside = structure.folded("layers.3")
    assert [part.name for part in inside.parts] == [f"layers.3.part{n}" for n in range(5)]
    assert inside.parts[0].entry
    names = [part.name for part in folded.parts]
    assert [part.name for part in structure.folded("nothing of the kind").parts] == names


class Tags(HTMLParser):
    """Checks that what is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        # A path closes itself.
        while self.open and self.open[-1] == "path" != tag:
            self.open.pop()
        assert self.open.pop() == tag


@given(graphs())
def test_a_drawing_is_well_formed(structure: Structure) -> None:
    page = network_page(NetworkPicture(0, structure), buttons=("block", "part"))
    tags = Tags()
    tags.feed(page)
    assert not tags.open
    drawn = structure.folded()
    assert page.count('<button type="button"') == 0
    assert page.count("<button class=") == len(drawn.parts)


def test_names_are_escaped() -> None:
    part = Part("<b>", "</svg>", error='"<script>"')
    page = network_page(NetworkPicture(0, Structure((part,))))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_table_tells_shares_of_the_time() -> None:
    parts = (Part("a", "Linear", (), (1, 2), seconds=3.0), Part("b", "Linear", (0,), seconds=1.0))
    frame = Structure(parts).to_frame()
    assert list(frame["time_share"]) == [0.75, 0.25]
    assert list(frame["inputs"]) == [(), ("a",)]
