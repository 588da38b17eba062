from __future__ import annotations

import csv
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from torch import nn

import nbdebug as nbd
from nbdebug.core.series import Series
from nbdebug.errors import ArgumentError
from nbdebug.runs.record.run_data import DOCUMENTS, RunData
from nbdebug.runs.store.imports.run_file import read_run_file
from nbdebug.runs.store.run import Run
from tests.problems import blobs, tiny_mlp

COLUMNS = ("step", "mean", "minimum", "maximum", "last", "count")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> RunData:
    """A training with changes, notes and findings, as its journal holds it."""
    folder = tmp_path_factory.mktemp("recorded")
    with (
        pytest.MonkeyPatch.context() as patch,
        nbd.Debugger(
            tiny_mlp(), blobs(), nn.CrossEntropyLoss(), val_data=blobs(64, 8), batch_size=32,
            name="first", runs=folder / "runs.db",
        ) as dbg,
    ):  # fmt: skip
        patch.chdir(folder)
        dbg.run(steps=40)
        dbg.set(lr=3e-4, why='a | plateau, she said: "look"\nthere')
        dbg.note("=1+1 It looks fine, so far; ü")
        dbg.run(steps=10)
        return dbg.record.bundle


@pytest.fixture
def run(recorded: RunData) -> Run:
    return Run(lambda: recorded)


def odd_run(**documents: object) -> Run:
    values = np.array([1 / 3, np.nan, np.inf, -np.inf, 5e-324, -0.0])
    one = Series("loss", np.arange(6), values, values, values, values, np.ones(6, np.int32))
    return Run(lambda: RunData({"run": {"key": "k", "name": "odd"}, **documents}, {"loss": one}))


def assert_equal(found: RunData, expected: RunData) -> None:
    for name in DOCUMENTS:
        assert found[name] == expected[name], name
    assert list(found.series) == list(expected.series)
    for name, one in expected.series.items():
        for column in COLUMNS:
            array, other = getattr(found.series[name], column), getattr(one, column)
            assert array.dtype == other.dtype
            assert array.tobytes() == other.tobytes(), (name, column)


def test_a_zip_holds_all_of_it_to_the_bit(run: Run, recorded: RunData, tmp_path: Path) -> None:
    assert len(recorded.series) > 10
    assert recorded["changes"]
    assert recorded["notes"]

    path = run.export(tmp_path / "run.zip")

    assert_equal(read_run_file(path), recorded)


def test_a_zip_holds_numbers_that_are_none(tmp_path: Path) -> None:
    run = odd_run()

    assert_equal(read_run_file(run.export(tmp_path / "run.zip")), run.bundle)


def test_a_run_travels_to_another_store(
    run: Run, recorded: RunData, place: Path, tmp_path: Path
) -> None:
    path = run.export(tmp_path / "run.zip")

    taken = nbd.import_run(path, runs=place)
    again = nbd.import_run(path, runs=place)

    assert taken.name == "first"
    assert again.id == taken.id
    assert_equal(nbd.load_run("first", runs=place).bundle, recorded)


def test_the_same_run_gives_the_same_zip(run: Run, recorded: RunData, tmp_path: Path) -> None:
    first = run.export(tmp_path / "a.zip").read_bytes()
    copied = Run(lambda: read_run_file(tmp_path / "a.zip"))

    assert copied.export(tmp_path / "b.zip").read_bytes() == first


def test_names_in_a_zip_are_plain(run: Run, tmp_path: Path) -> None:
    with zipfile.ZipFile(run.export(tmp_path / "run.zip")) as archive:
        names = archive.namelist()

        assert archive.testzip() is None
    assert names == [*(f"{name}.json" for name in DOCUMENTS), "series.parquet"]


def test_csv_is_the_frame(run: Run, tmp_path: Path) -> None:
    path = run.export(tmp_path / "run.csv")

    expected = run.frame()
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["step", *expected.columns]
    assert [int(row[0]) for row in rows] == expected.index.tolist()
    values = [[float(cell or "nan") for cell in row[1:]] for row in rows]
    np.testing.assert_array_equal(values, expected.to_numpy())


def test_csv_has_changes_and_notes_beside_it(run: Run, tmp_path: Path) -> None:
    run.export(tmp_path / "my.run.csv")

    changes = pd.read_csv(tmp_path / "my.run-changes.csv")
    notes = pd.read_csv(tmp_path / "my.run-notes.csv")
    assert changes["control"].tolist() == ["lr"]
    assert changes["why"].tolist() == ['a | plateau, she said: "look"\nthere']
    assert notes["text"].tolist() == ["'=1+1 It looks fine, so far; ü"]
    assert notes["step"].tolist() == [40]


def test_csv_of_a_run_without_changes_is_alone(tmp_path: Path) -> None:
    odd_run().export(tmp_path / "run.csv")

    assert [one.name for one in tmp_path.iterdir()] == ["run.csv"]


def test_rows_of_an_export_before_do_not_stay(run: Run, tmp_path: Path) -> None:
    run.export(tmp_path / "run.csv")
    odd_run().export(tmp_path / "run.csv")

    assert len(pd.read_csv(tmp_path / "run.csv")) == 6
    assert len(pd.read_csv(tmp_path / "run-changes.csv")) == 0
    assert len(pd.read_csv(tmp_path / "run-notes.csv")) == 0


def test_csv_tells_infinite_from_not_measured(tmp_path: Path) -> None:
    lines = odd_run().export(tmp_path / "run.csv").read_text().splitlines()

    assert lines[0] == "step,loss"
    assert lines[2:5] == ["1,", "2,inf", "3,-inf"]


def test_parquet_is_the_long_table(run: Run, recorded: RunData, tmp_path: Path) -> None:
    path = run.export(tmp_path / "run.parquet")

    found = pd.read_parquet(path)
    assert list(found.columns) == ["series", *COLUMNS]
    assert found["series"].unique().tolist() == [n for n, s in recorded.series.items() if len(s)]
    loss, expected = found[found["series"] == "loss"], recorded.series["loss"]
    for column in COLUMNS:
        assert loss[column].to_numpy().tobytes() == getattr(expected, column).tobytes()


def test_parquet_of_a_run_without_steps_is_empty(tmp_path: Path) -> None:
    path = Run(RunData).export(tmp_path / "run.parquet")

    found = pd.read_parquet(path)
    assert len(found) == 0
    assert list(found.columns) == ["series", *COLUMNS]


def test_a_format_can_be_named(tmp_path: Path) -> None:
    path = odd_run().export(tmp_path / "a" / "b" / "data.bin", format="zip")

    assert path == tmp_path / "a" / "b" / "data.bin"
    assert read_run_file(path)["run"]["name"] == "odd"


def test_an_ending_in_capitals_will_do(tmp_path: Path) -> None:
    assert zipfile.is_zipfile(odd_run().export(tmp_path / "RUN.ZIP"))


def test_a_name_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    path = tmp_path / f"{'n' * 251}.zip"

    assert zipfile.is_zipfile(odd_run().export(path))


@pytest.mark.parametrize(
    ("name", "format", "words"),
    [("run", None, "zip"), ("run.xlsx", None, r"\.csv"), ("run.zip", "zipp", "Did you mean 'zip'")],
)
def test_an_unknown_format_is_named_with_the_right_ones(
    name: str, format: str | None, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError, match=words):
        odd_run().export(tmp_path / name, format)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["run.zip", "run.csv", "run.parquet"])
def test_an_export_does_without_bokeh(tmp_path: Path, name: str) -> None:
    source = """
import sys
import nbdebug.runs.store.run
imported = "bokeh" in sys.modules
from tests.runs.handmade import run_of, series
path = run_of("first", [series("loss", [3.0, 2.0, 1.0])]).export(sys.argv[1])
print(imported, "bokeh" in sys.modules, path.stat().st_size > 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", source, str(tmp_path / name)],
        cwd=Path(__file__).parents[3], capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False", "False", "True"]
