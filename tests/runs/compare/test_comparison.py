from __future__ import annotations

import html
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nbdebug as nbd
from nbdebug import ArgumentError, Debugger, RunNameError, SeriesError
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.runs.compare.comparison import Comparison
from nbdebug.runs.compare.data import aligned_position
from nbdebug.runs.compare.parallel_coordinates import NONFINITE_POSITION, parallel_axes
from nbdebug.runs.store.run_store import RunStore
from tests.runs.handmade import HOSTILE, buckets, change, run_of, series

Make = Callable[..., Debugger]


def two_recorded(debugger: Make) -> tuple[Debugger, Debugger]:
    """A run of 40 steps and one of 25 with another learning rate and batch size."""
    first, second = debugger(name="long", lr=0.05), debugger(name="short", lr=0.01, batch_size=50)
    first.run(steps=20)
    first.set(lr=0.02, why="slower")
    first.run(steps=20)
    second.run(steps=25)
    first.close()
    second.close()
    return first, second


def test_recorded_runs_by_their_rows(debugger: Make, place: Path) -> None:
    first, second = two_recorded(debugger)
    rows = nbd.runs(place)

    found = nbd.compare(rows.head(2), place)

    assert [run.id for run in found.runs] == rows.index.tolist()
    frame = found.frame("loss")
    assert frame.index.name == "step"
    for dbg in (first, second):
        expected = dbg.history.frame("loss")["loss"]
        pd.testing.assert_series_equal(
            frame[dbg.name].dropna(), expected, check_names=False, check_index_type=False
        )
    assert found.parameters.loc[["lr", "batch_size"], "long"].tolist() == [0.05, 20]
    assert found.parameters.loc[["lr", "batch_size"], "short"].tolist() == [0.01, 50]
    assert "momentum" not in found.parameters.index
    assert found.changes[["run", "step", "control", "new", "why"]].values.tolist() == [
        ["long", 20, "lr", 0.02, "slower"]
    ]
    assert found.environment.empty
    assert found.data.empty


@pytest.mark.parametrize("align", ["samples", "epoch", "time"])
def test_recorded_runs_over_another_axis(debugger: Make, place: Path, align: str) -> None:
    dbg, _ = two_recorded(debugger)
    history = dbg.history.frame(["loss", "val_loss", "samples", "epoch", "step_ms"])
    axis = history["step_ms"].cumsum() / 1000 if align == "time" else history[align]

    found = nbd.compare(["long", "short"], place, align=align)

    for name in ("loss", "val_loss"):
        frame = found.frame(name)
        assert frame.index.name == {"time": "seconds"}.get(align, align)
        measured = history[name].dropna()
        column = frame["long"].dropna()
        np.testing.assert_array_equal(column.to_numpy(), measured.to_numpy())
        np.testing.assert_allclose(column.index, axis[measured.index], rtol=1e-12)


def test_seconds_are_the_sum_of_all_steps_also_where_they_were_merged() -> None:
    measured = {"step_ms": buckets("step_ms", [2.0, 4.0, 6.0], [3, 7, 11], 4)}

    at = aligned_position(measured, np.array([3, 7, 11, 5, 0]), "time")

    # 4 steps of 2 ms, 4 of 4 ms, 4 of 6 ms; between two ends evenly.
    np.testing.assert_allclose(at, [0.008, 0.024, 0.048, 0.016, 0.002])


def test_seconds_of_a_run_that_was_measured_now_and_then() -> None:
    measured = {"step_ms": series("step_ms", [10.0, 20.0, 20.0], [100, 110, 120])}

    at = aligned_position(measured, np.array([100, 110, 120]), "time")

    # What was before the first value is not known.
    np.testing.assert_allclose(at, [0.01, 0.21, 0.41])


@pytest.mark.parametrize("align", ["samples", "epoch"])
def test_positions_are_those_of_the_dashboard(align: str) -> None:
    track = buckets(align, [100.0, 260.0, 900.0], [3, 7, 11], 4)
    steps = np.array([0, 3, 5, 9, 20])

    found = aligned_position({align: track}, steps, align)

    expected = Snapshot(series={align: track}).position(steps, align)
    np.testing.assert_array_equal(found, expected)


def test_a_run_that_does_not_tell_has_no_place_on_the_axis() -> None:
    told = run_of("a", [series("loss", [3, 2, 1]), series("samples", [10, 20, 30])], id="1")
    untold = run_of("b", [series("loss", [3, 2, 1])], id="2")

    frame = nbd.compare([told, untold], align="samples").frame()

    assert frame["a"].to_dict() == {10: 3.0, 20: 2.0, 30: 1.0}
    assert frame["b"].isna().all()


def test_a_series_that_only_one_run_has() -> None:
    one = run_of("a", [series("loss", [2, 1]), series("val_loss", [5.0], [1])], id="1")
    other = run_of("b", [series("loss", [4, 3, 2])], id="2")
    found = nbd.compare([one, other])

    assert found.frame("val_loss").to_dict()["a"] == {1: 5.0}
    assert found.frame("val_loss")["b"].isna().all()
    assert found.frame()["b"].tolist() == [4, 3, 2]
    with pytest.raises(SeriesError, match="Did you mean 'val_loss'"):
        found.frame("val_los")


def test_runs_of_one_name_are_told_apart() -> None:
    runs = [run_of("same", id=f"{place}abcdef01") for place in range(3)]

    found = nbd.compare([*runs, run_of("other", id="9")])

    assert found.labels == ("same (0abcde)", "same (1abcde)", "same (2abcde)", "other")
    assert list(found.table.index) == list(found.labels)


def test_runs_without_an_id_are_told_apart() -> None:
    assert nbd.compare([run_of("same"), run_of("same")]).labels == ("same (1)", "same (2)")


def test_runs_are_found_in_one_reading_of_the_store(
    debugger: Make, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_recorded(debugger)
    rows = nbd.runs(place)
    long = nbd.load_run("long", place)
    readings = []
    read = RunStore.rows
    monkeypatch.setattr(RunStore, "rows", lambda self: readings.append(1) or read(self))

    found = nbd.compare([rows.index[0], rows.index[1][:8], "long", long], place)

    assert [run.id for run in found.runs] == [rows.index[0], rows.index[1]]
    assert len(readings) == 1
    assert nbd.compare("short", place).runs[0].name == "short"
    with pytest.raises(RunNameError, match="Did you mean 'short'"):
        nbd.compare(["long", "shirt"], place)


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([], "1 to 200 runs, got 0"),
        ([run_of(id=str(n)) for n in range(201)], "1 to 200 runs, got 201"),
        ([3], "got int"),
        (3, "got int"),
        (pd.DataFrame({"id": ["a"]}), "got int"),
    ],
    ids=["none", "too many", "number in a list", "number", "frame without ids"],
)
def test_what_is_no_list_of_runs(runs: object, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        nbd.compare(runs)  # type: ignore[arg-type]


def test_an_axis_that_does_not_exist() -> None:
    with pytest.raises(ArgumentError, match=r"no align 'minutes'.*epoch, samples, step"):
        nbd.compare(run_of(), align="minutes")  # type: ignore[arg-type]


def test_names_need_a_store() -> None:
    with pytest.raises(ArgumentError, match="not recorded here"):
        nbd.compare("some name")


def differing_pair() -> Comparison:
    machine = {"python": "3.11.7", "threads": 2, "packages": {"numpy": "2.1", "torch": "2.6"}}
    part = {"shape": [100, 4], "dtype": "float32", "sha256": "aa" * 32, "classes": {}}
    labels = {"shape": [100], "dtype": "int64", "sha256": "bb" * 32, "classes": {"0": 60, "1": 40}}
    train = {"kind": "tensors", "samples": 100, "parts": [part, labels]}
    first = run_of(
        "first", id="1", parameters={"lr": 0.1, "momentum": 0.9, "seed": 0}, environment=machine,
        code={"git": {"commit": "c0", "diff": ""}, "model": "class A: ..."},
        model={"class": "A", "initial_weights": "11" * 32}, data={"train": train, "validation": {}},
    )  # fmt: skip
    moved = machine | {"threads": 4, "packages": {"numpy": "2.2", "torch": "2.6"}}
    other = {**train, "parts": [part, {**labels, "sha256": "cc" * 32, "classes": {"0": 100}}]}
    second = run_of(
        "second", id="2", parameters={"lr": 0.1, "momentum": 0.5, "dropout": 0.2, "seed": 0},
        environment=moved,
        code={"git": {"commit": "c1", "diff": "+1"}, "model": "class A: pass"},
        model={"class": "A", "initial_weights": "22" * 32}, data={"train": other, "validation": {}},
    )  # fmt: skip
    return nbd.compare([first, second])


def test_only_what_differs_is_told() -> None:
    found = differing_pair()

    assert found.parameters.values.tolist() == [[0.9, 0.5], [None, 0.2]]
    assert found.parameters.index.tolist() == ["momentum", "dropout"]
    assert found.environment.index.tolist() == [
        "threads", "package numpy", "git commit", "uncommitted changes", "initial weights",
        "source of the model",
    ]  # fmt: skip
    assert found.environment.loc["package numpy"].tolist() == ["2.1", "2.2"]
    assert found.environment.loc["uncommitted changes", "first"] is None
    assert found.data.index.tolist() == ["train 1 sha256", "train 1 classes"]
    assert found.data.loc["train 1 classes"].tolist() == ["0: 60, 1: 40", "0: 100"]


def test_one_row_a_run() -> None:
    one = run_of(
        "one",
        [series("loss", [3, 1]), series("val_loss", [5, 4, 6]), series("val_f1", [0.1, 0.7])],
        id="1", parameters={"lr": 0.1}, run={"metrics": ["f1"]},
    )  # fmt: skip
    other = run_of("other", [series("loss", [3, np.inf])], id="2", parameters={"lr": 0.2})

    table = nbd.compare([one, other]).table

    assert table.columns.tolist() == [
        "id", "status", "steps", "seconds", "loss", "best_val_loss", "val_f1", "lr",
    ]  # fmt: skip
    assert table.loc["one"].tolist() == ["1", "finished", 3, 90.0, 1.0, 4.0, 0.7, 0.1]
    assert table.loc["other", "loss"] == np.inf
    assert np.isnan(table.loc["other", "best_val_loss"])


def test_rails_of_parallel_coordinates() -> None:
    settings = [
        {"lr": 1e-4, "optimizer": "sgd", "dropout": 0.0},
        {"lr": 1e-2, "optimizer": "adam", "dropout": 0.5},
        {"lr": 1e-3, "optimizer": "lion"},
    ]
    losses = [[1.0, 0.2], [1.0, 0.6], [1.0, np.inf]]
    runs = [
        run_of(f"r{n}", [series("loss", loss)], id=str(n), parameters=parameters)
        for n, (parameters, loss) in enumerate(zip(settings, losses, strict=True))
    ]

    axes = {axis.name: axis for axis in parallel_axes(nbd.compare(runs))}

    assert list(axes) == ["lr", "dropout", "optimizer", "last loss"]
    # Two decades: logarithmic. The alphabet: adam, lion, sgd.
    np.testing.assert_allclose(axes["lr"].positions, [0.0, 1.0, 0.5])
    np.testing.assert_allclose(axes["optimizer"].positions, [1.0, 0.0, 0.5])
    np.testing.assert_allclose(axes["dropout"].positions, [0.0, 1.0, np.nan])
    np.testing.assert_allclose(axes["last loss"].positions, [0.0, 1.0, NONFINITE_POSITION])
    assert axes["lr"].ticks == ((0.0, "0.0001"), (pytest.approx(0.5), "0.001"), (1.0, "0.01"))
    assert axes["last loss"].ticks[-1] == (NONFINITE_POSITION, "NaN or Inf")


def test_the_text_of_a_comparison() -> None:
    text = repr(differing_pair())

    assert text.startswith("2 runs, aligned by step")
    assert "momentum" in text
    assert "environment: differ in threads, package numpy" in text
    assert "data: differ in train 1 sha256, train 1 classes" in text


def test_the_page_of_a_comparison_escapes_what_users_wrote() -> None:
    runs = [
        run_of(
            HOSTILE + str(n), [series("loss", [3, 2, 1])], id=str(n),
            parameters={HOSTILE: n, "text": HOSTILE + str(n)},
            changes=[change(1, HOSTILE, HOSTILE, HOSTILE, why=HOSTILE)],
        )
        for n in range(3)
    ]  # fmt: skip

    page = nbd.compare(runs)._repr_html_()

    assert page.count("<iframe") == 1
    assert "<script" not in page
    assert "<img" not in page
    frame = html.unescape(page.split('srcdoc="')[1].split('" title=')[0])
    assert "<img" not in frame
    # The numbers, BokehJS and what starts it.
    assert frame.count("<script") == frame.count("</script>") == 3


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_the_page_of_runs_of_all_kinds(count: int) -> None:
    kinds = [
        run_of("empty", id="e"),
        run_of("one step", [series("loss", [2.0])], id="o", parameters={"lr": 1}),
        run_of("lost", [series("loss", [2.0, np.inf, np.inf])], id="l", parameters={"lr": "x"}),
        run_of("validated", [series("val_loss", [3.0, 2.0])], id="v", parameters={"lr": None}),
        *(
            run_of(f"more {n}", [series("loss", [2.0, -1.0])], id=f"m{n}", parameters={"lr": n})
            for n in range(5)
        ),
    ]

    found = nbd.compare(kinds[:count])

    assert ("<iframe" in found._repr_html_()) == (count > 1)
    assert len(found.table) == count


def test_a_live_run_beside_a_recorded_one(debugger: Make, place: Path) -> None:
    two_recorded(debugger)
    dbg = debugger(name="live", runs=None)
    dbg.run(steps=5)

    found = nbd.compare([dbg.record, "long"], place)

    assert found.labels == ("live", "long")
    assert found.frame()["live"].count() == 5


def test_comparing_loads_neither_bokeh_nor_torch() -> None:
    code = (
        "import json, sys\n"
        "import nbdebug.runs.record.run_record, nbdebug.runs.compare.data\n"
        "import nbdebug.runs.report.report\n"
        "print(json.dumps([name for name in ('bokeh', 'pandas', 'torch', 'mlflow') "
        "if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) == []


def test_the_page_of_many_runs_names_all_and_lists_some() -> None:
    loss = series("loss", [3, 2, 1])
    runs = [run_of(f"run {n}", [loss], id=str(n), parameters={"lr": n}) for n in range(60)]

    page = nbd.compare(runs)._repr_html_()

    frame, _, tables = page.partition("</iframe>")
    assert html.unescape(frame).count('data-run="run-') == 60
    assert "run 49" in tables
    assert "run 50" not in tables
    assert "and 10 more runs: see <code>.table</code>" in tables
