"""What TensorBoard itself reads in the files that are written for it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nbdebug.core.series import Series
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.store.run import Run

pytest.importorskip("tensorboard", reason="tensorboard is not installed")

STARTED = 1.7e9


def series(name: str, steps: list[int], values: list[float]) -> Series:
    numbers = np.array(values, dtype=float)
    count = np.ones(len(steps), np.int32)
    return Series(name, np.array(steps), numbers, numbers - 1, numbers + 1, numbers, count)


def a_run(*parts: Series, **documents: Any) -> Run:
    about = {
        "key": "k", "name": "first", "started": STARTED, "ended": STARTED + 60, "step": 8,
        "status": "finished", "metrics": ["accuracy"],
    }  # fmt: skip
    bundle = RunData(
        {**documents, "run": about | documents.get("run", {})}, {one.name: one for one in parts}
    )
    return Run(lambda: bundle)


def read(folder: Path) -> Any:
    """TensorBoard's own reader, which keeps everything."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), {"scalars": 0, "tensors": 0}).Reload()


def table(folder: Path, tag: str) -> list[list[str]]:
    """A text as TensorBoard shows it: the cells of a table of HTML."""
    with warnings.catch_warnings():
        # Its copy of html5lib warns of itself.
        warnings.simplefilter("ignore", DeprecationWarning)
        from tensorboard import plugin_util

    import html
    import re

    texts = read(folder).Tensors(tag)
    assert len(texts) == 1
    page = plugin_util.markdown_to_safe_html(texts[0].tensor_proto.string_val[0])
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [[html.unescape(one) for one in re.findall(r"<t[hd]>(.*?)</t[hd]>", r)] for r in rows]


def hparams(folder: Path, kind: str) -> Any:
    """What the HPARAMS tab goes by."""
    from tensorboard.plugins.hparams import metadata

    found: Mapping[str, Any] = read(folder).summary_metadata
    content = found[f"_hparams_/{kind}"].plugin_data.content
    parse = getattr(metadata, f"parse_{kind}_plugin_data")
    return parse(content)


def test_scalars_are_read_back(tmp_path: Path) -> None:
    loss = series("loss", [0, 1, 2, 7], [0.1, 1 / 3, 2.5, -4.0])
    layer = series("grad_norm/0.weight", [1, 7], [1e-30, 1e30])

    a_run(loss, layer).export(tmp_path / "first", "tensorboard")

    found = read(tmp_path / "first")
    assert set(found.Tags()["scalars"]) == {"loss", "grad_norm/0.weight"}
    for one in (loss, layer):
        events = found.Scalars(one.name)
        assert [event.step for event in events] == one.step.tolist()
        np.testing.assert_array_equal(
            np.array([event.value for event in events], np.float32), one.mean.astype(np.float32)
        )


def test_numbers_that_are_none_are_read_back(tmp_path: Path) -> None:
    values = [np.nan, np.inf, -np.inf, 1e300, -1e300]

    a_run(series("loss", [0, 1, 2, 3, 4], values)).export(tmp_path, "tensorboard")

    found = [event.value for event in read(tmp_path).Scalars("loss")]
    np.testing.assert_array_equal(found, [np.nan, np.inf, -np.inf, np.inf, -np.inf])


def test_many_steps_are_all_there(tmp_path: Path) -> None:
    steps = list(range(0, 60_000, 3))

    a_run(series("loss", steps, [float(step) for step in steps])).export(tmp_path, "tensorboard")

    assert [event.step for event in read(tmp_path).Scalars("loss")] == steps


def test_the_clock_goes_on_by_the_length_of_steps(tmp_path: Path) -> None:
    # Two steps of one second, then a bucket of four of half a second each.
    lengths = series("step_ms", [0, 1, 5], [1000.0, 1000.0, 500.0])

    a_run(lengths, series("loss", [0, 1, 3, 5, 9], [1.0] * 5)).export(tmp_path, "tensorboard")

    times = [event.wall_time - STARTED for event in read(tmp_path).Scalars("loss")]
    assert times == pytest.approx([1.0, 2.0, 3.0, 4.0, 4.0])


def test_the_clock_stands_where_the_length_of_steps_is_not_known(tmp_path: Path) -> None:
    a_run(series("loss", [0, 5], [1.0, 2.0])).export(tmp_path, "tensorboard")

    assert [event.wall_time for event in read(tmp_path).Scalars("loss")] == [STARTED, STARTED]


def test_changes_notes_and_findings_are_tables(tmp_path: Path) -> None:
    why = "a | b, <b>*no*</b> [x](y) `z` _u_ & \\ more\nthere"
    change = {"step": 3, "control": "lr", "old": 1e-3, "new": 0.5, "who": "api", "why": why}
    finding = {
        "title": "Updates are too small", "severity": "warning", "since": 3, "until": None,
        "seen": "1e-9", "because": "lr",
    }  # fmt: skip
    changes = [change | {"status": "applied", "note": ""}] * 30
    run = a_run(changes=changes, notes=[{"step": 4, "text": "ü"}], findings=[finding])

    run.export(tmp_path, "tensorboard")

    head, *rows = table(tmp_path, "changes")
    assert head == ["step", "control", "old", "new", "who", "why", "status", "note"]
    shown = why.replace("\n", " ")
    assert rows == [["3", "lr", "0.001", "0.5", "api", shown, "applied", ""]] * 30
    assert table(tmp_path, "notes") == [["step", "text"], ["4", "ü"]]
    row = ["3", "", "warning", "Updates are too small", "1e-9", "lr"]
    assert table(tmp_path, "findings")[1:] == [row]


def test_hyperparameters_are_read_back(tmp_path: Path) -> None:
    parameters = {"lr": 0.01, "batch_size": 64, "bn": True, "optimizer": "adam", "frozen": None}
    run = a_run(series("loss", [0], [1.0]), series("dead/0", [0], [0.0]), parameters=parameters)

    run.export(tmp_path, "tensorboard")

    start = hparams(tmp_path, "session_start_info")
    values = {n: getattr(v, v.WhichOneof("kind")) for n, v in start.hparams.items()}
    assert values == {
        "lr": 0.01, "batch_size": 64, "bn": True, "optimizer": "adam", "frozen": "None",
    }  # fmt: skip
    assert start.start_time_secs == STARTED
    experiment = hparams(tmp_path, "experiment")
    assert [info.name for info in experiment.hparam_infos] == list(parameters)
    assert [info.name.tag for info in experiment.metric_infos] == ["loss"]


@pytest.mark.parametrize(
    ("status", "name"),
    [
        ("finished", "SUCCESS"),
        ("failed", "FAILURE"),
        ("interrupted", "FAILURE"),
        ("running", "RUNNING"),
    ],
)
def test_the_end_is_told(status: str, name: str, tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import api_pb2

    a_run(run={"status": status}).export(tmp_path, "tensorboard")

    end = hparams(tmp_path, "session_end_info")
    assert end.status == getattr(api_pb2, f"STATUS_{name}")
    assert end.end_time_secs == STARTED + 60


def test_exported_again_it_takes_its_own_place(tmp_path: Path) -> None:
    a_run(series("loss", [0], [1.0])).export(tmp_path, "tensorboard")
    a_run(series("loss", [0, 1], [1.0, 2.0])).export(tmp_path, "tensorboard")

    assert [event.step for event in read(tmp_path).Scalars("loss")] == [0, 1]


def test_two_runs_do_not_mix(tmp_path: Path) -> None:
    a_run(series("loss", [0], [1.0])).export(tmp_path, "tensorboard")

    with pytest.raises(FileExistsError, match="folder of its own"):
        a_run(run={"key": "other"}).export(tmp_path, "tensorboard")

    assert [event.value for event in read(tmp_path).Scalars("loss")] == [1.0]


def test_neither_torch_nor_tensorflow_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch", "tensorflow"):
        monkeypatch.setitem(sys.modules, name, None)

    a_run(series("loss", [0], [1.0])).export(tmp_path, "tensorboard")

    assert [event.value for event in read(tmp_path).Scalars("loss")] == [1.0]


def test_without_the_package_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)

    with pytest.raises(ImportError, match=r'pip install "nbdebug-torch\[tensorboard\]"'):
        a_run().export(tmp_path / "first", "tensorboard")

    assert list(tmp_path.iterdir()) == []
