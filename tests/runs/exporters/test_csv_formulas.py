from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from nbdebug.runs.exporters.comet import _contents
from tests.runs.handmade import change, run_of, series

FORMULAS = [
    "=1+1", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "\n=1", " =1", "\ufeff=1", "|x",
    '"=1', "'=1", "\uff1d1+1", "\x00=1", "=HYPERLINK(\"http://x\",\"y\")", "-Infinity+A1", "%0A",
]  # fmt: skip
PLAIN = ["lr", "", "a=b", "1-2", "it's", "5", "-1.5", "+3", "-1e-5", "NaN", "-Infinity", "a\n=1"]


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(text: str, tmp_path: Path) -> None:
    run = run_of(
        measured=[series(text, [1.0])],
        changes=[change(0, text, text, [text], why=text, who=text, note=text)],
        notes=[{"step": 0, "samples": 0, "epoch": 0.0, "text": text}],
    )

    run.export(tmp_path / "run.csv")

    tables = {path.stem: rows(path) for path in tmp_path.iterdir()}
    assert tables["run"] == [["step", f"'{text}"], ["0", "1.0"]]
    assert tables["run-notes"][1][3] == f"'{text}"
    assert [cell for cell in tables["run-changes"][1] if cell.endswith(text)] == [f"'{text}"] * 5
    for kind, table in _contents(run)["tables"].items():
        assert list(csv.reader(io.StringIO(table, newline=""))) == tables[f"run-{kind}"]


def test_a_carriage_return_begins_no_row(tmp_path: Path) -> None:
    text = "fine\r=1+1\r\n=2"
    run_of(
        measured=[series("a\r=1", [1.0])],
        notes=[{"step": 0, "samples": 0, "epoch": 0.0, "text": text}],
    ).export(tmp_path / "run.csv")

    assert rows(tmp_path / "run.csv")[0] == ["step", "a\n=1"]
    assert rows(tmp_path / "run-notes.csv")[1] == ["0", "0", "0.0", "fine\n=1+1\n=2"]
    assert all(b"\r" not in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize("text", PLAIN)
def test_other_texts_and_numbers_stay_as_they_are(text: str, tmp_path: Path) -> None:
    run = run_of(
        measured=[series("loss", [-1.0, float("-inf"), 2e-5])],
        notes=[{"step": 0, "samples": 0, "epoch": 0.0, "text": text}],
        changes=[change(0, "lr", -0.5, -1)],
    )

    run.export(tmp_path / "run.csv")

    assert rows(tmp_path / "run-notes.csv")[1][3] == text
    assert rows(tmp_path / "run.csv")[1:] == [["0", "-1.0"], ["1", "-inf"], ["2", "2e-05"]]
    assert rows(tmp_path / "run-changes.csv")[1][4:6] == ["-0.5", "-1"]
