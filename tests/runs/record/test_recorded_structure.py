"""Structure of a model in a record: what is written is read, what is odd is left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nbdebug.core.results.inside.network_page import network_page
from nbdebug.core.results.inside.network_picture import NetworkPicture
from nbdebug.core.results.inside.structure import Part, Structure
from nbdebug.runs.bounded.recorded_structure import (
    MAX_CONNECTIONS,
    MAX_PARTS,
    rows_to_structure,
    structure_to_rows,
)
from nbdebug.runs.record.schema import checked_document

PARTS = (
    Part("body.0", "Conv2d", (), (1, 4, 8, 8), 40, 40, entry=True),
    Part("body.add", "add", (0, 2), (1, 4, 8, 8), module=False),
    Part("body.cell", "GRUCell", (1,), None, 9, 0, calls=7),
)
GOOD = {"part": "a", "kind": "Linear"}


def read(rows: Any) -> Structure:
    found: list[dict[str, Any]] = checked_document("model", {"parts": rows})["parts"]
    return rows_to_structure(found)


def test_what_is_written_is_read() -> None:
    assert read(structure_to_rows(Structure(PARTS, 1))).parts == PARTS


def test_a_call_that_failed_or_is_huge_is_not_written() -> None:
    assert structure_to_rows(Structure((replace(PARTS[0], error="boom"),))) == []
    long = Structure(tuple(Part(f"{at}", "ReLU") for at in range(MAX_PARTS + 1)))
    assert structure_to_rows(long) == []
    assert len(structure_to_rows(Structure(long.parts[:-1]))) == MAX_PARTS


@pytest.mark.parametrize(
    "rows",
    [
        [{}],
        [{"kind": "Linear"}],
        [GOOD | {"inputs": [1]}],
        [GOOD | {"inputs": [2**62]}],
        [GOOD | {"part": "a." * 41}],
        [GOOD | {"part": "a" * 201}],
        [GOOD | {"kind": "a" * 201}],
        [GOOD | {"shape": [1] * 17}],
        [GOOD] * (MAX_PARTS + 1),
        [GOOD | {"inputs": [0] * (MAX_CONNECTIONS + 1)}],
    ],
)
def test_what_is_odd_is_left_out(rows: list[dict[str, Any]]) -> None:
    assert read(rows).parts == ()


@pytest.mark.parametrize("row", [{"inputs": 3}, {"inputs": [-1]}, {"shape": ["x"]}, {"calls": []}])
def test_other_types_are_refused(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="parts"):
        read([GOOD | row])


def test_names_that_are_the_same_and_rings_are_drawn() -> None:
    rows = [GOOD | {"inputs": [(at + 1) % MAX_PARTS], "shape": [2**62]} for at in range(MAX_PARTS)]
    names = [GOOD | {"part": "a." * 40 + f"{at}"} for at in range(MAX_PARTS)]
    for given in (rows, names):
        structure = read(given)
        assert len(structure.parts) == MAX_PARTS
        assert "nbd-part" in network_page(NetworkPicture(0, structure))
