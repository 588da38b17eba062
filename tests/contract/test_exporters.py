"""What holds for every exporter there is; a new file is tested the moment it exists."""

from __future__ import annotations

import importlib.util
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import nbdebug as nbd
from nbdebug.core.plugins import discover
from nbdebug.core.series import Series
from nbdebug.runs.exporters.base import Exporter
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.store.run import Run
from tests.problems import CLASSES, FEATURES, blobs, tiny_mlp

EXPORTERS = discover("nbdebug.runs.exporters", Exporter)
# Package that an exporter needs and that is not always there.
OPTIONAL = {"tensorboard": "tensorboard", "comet": "comet_ml"}
HOSTILE = "../../ü 木/a:b*?\"<>|'\\ $HOME `id` .."


# Each export by Comet's client takes seconds: it is imported in a process of its own.
SLOW = {"comet"}


@pytest.fixture(
    params=[
        pytest.param(one, id=one.name, marks=[pytest.mark.slow] if one.name in SLOW else [])
        for one in EXPORTERS
    ]
)
def exporter(request: pytest.FixtureRequest) -> type[Exporter]:
    made = request.param
    assert issubclass(made, Exporter)
    needed = OPTIONAL.get(made.name)
    if needed is not None and importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    return made


def full() -> RunData:
    with nbd.Debugger(
        tiny_mlp(), blobs(), nn.CrossEntropyLoss(), val_data=blobs(64, 8), batch_size=32,
        name="first", runs=None,
    ) as dbg:  # fmt: skip
        dbg.run(steps=20)
        dbg.set(lr=3e-4, why='a | plateau, she said: "look"\nthere')
        dbg.note("It looks *fine* <b>now</b> | so far.")
        dbg.run(steps=10)
        return dbg.record.bundle


def without_steps() -> RunData:
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), runs=None) as dbg:
        return dbg.record.bundle


def not_finite() -> RunData:
    values = np.array([1.0, np.nan, np.inf, -np.inf, 1e300, -0.0])
    steps = np.arange(10, 16)
    series = Series("loss", steps, values, values, values, values, np.ones(6, np.int32))
    run = {"key": "a" * 32, "name": "odd", "started": 1.7e9, "step": 16, "status": "failed"}
    finding = {
        "name": "x", "title": "X", "severity": "error", "since": 11, "value": float("nan"),
        "threshold": float("inf"), "seen": "NaN", "until": None,
    }  # fmt: skip
    documents = {"run": run, "parameters": {"lr": float("nan"), "clip": None, "layers": [1, 2]}}
    return RunData({**documents, "findings": [finding]}, {"loss": series})


def hostile() -> RunData:
    layers = nn.Sequential()
    layers.add_module("/etc/b ü <i>|\\", nn.Linear(FEATURES, 8))
    layers.add_module("木" * 70, nn.ReLU())
    layers.add_module(" $HOME", nn.Linear(8, CLASSES))
    with nbd.Debugger(layers, blobs(), nn.CrossEntropyLoss(), name=HOSTILE, runs=None) as dbg:
        dbg.run(steps=5)
        dbg.note(HOSTILE)
        bundle = dbg.record.bundle
    run = {**bundle["run"], "key": "../../key", "name": HOSTILE}
    return RunData({**bundle.documents, "run": run}, bundle.series)


RUNS: Mapping[str, Callable[[], RunData]] = {
    one.__name__: cache(one) for one in (full, without_steps, not_finite, hostile)
}


@pytest.fixture(params=RUNS)
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:  # fmt: skip
    # A Debugger keeps its checkpoints where it is.
    monkeypatch.chdir(tmp_path_factory.mktemp("training"))
    bundle = RUNS[request.param]()
    return Run(lambda: bundle)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where an exporter might leave something that it should not: here, at home, in /tmp."""
    for name in ("here", "home", "temporary"):
        (tmp_path / "elsewhere" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere" / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "elsewhere" / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "elsewhere" / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path / "elsewhere"


def files(folder: Path) -> set[str]:
    return {str(one.relative_to(folder)) for one in folder.rglob("*") if not one.is_dir()}


def state(run: Run) -> tuple[str, str, dict[str, bytes]]:
    return run.id, run.name, dict(run.bundle.files())


def test_names_and_suffixes_are_not_shared() -> None:
    names = [exporter.name for exporter in EXPORTERS]
    suffixes = [exporter.suffix for exporter in EXPORTERS if exporter.suffix]

    assert {"zip", "csv", "parquet", "tensorboard", "comet"} <= set(names)
    assert len(set(names)) == len(names)
    assert len(set(suffixes)) == len(suffixes)
    assert [one for one in suffixes if not re.fullmatch(r"\.[a-z]+", one)] == []


def test_the_description_is_for_the_user(exporter: type[Exporter]) -> None:
    first = (exporter.__doc__ or "").strip().partition("\n")[0]

    assert first.endswith(".")
    assert first != (Exporter.__doc__ or "").strip().partition("\n")[0]
    assert exporter.name.isidentifier()


def test_it_writes_where_it_was_told_and_nowhere_else(
    exporter: type[Exporter], run: Run, tmp_path: Path, elsewhere: Path
) -> None:
    before = state(run)
    target = tmp_path / "out" / f"run one{exporter.suffix}"

    written = run.export(target, exporter.name)

    assert written.exists()
    assert target.exists()
    assert written == target or written.parent == target
    assert files(elsewhere) == set()
    assert {one.name for one in tmp_path.iterdir()} == {"out", "elsewhere"}
    assert [one for one in files(tmp_path / "out") if ".part" in one] == []
    assert state(run) == before


def test_a_second_time_replaces_the_first(exporter: type[Exporter], tmp_path: Path) -> None:
    run = Run(RUNS["not_finite"])
    target = tmp_path / f"run{exporter.suffix}"
    first = run.export(target, exporter.name)
    names = files(tmp_path)

    assert run.export(target, exporter.name) == first
    assert files(tmp_path) == names


@pytest.mark.parametrize("before", [b"", b"what was there"])
def test_what_cannot_be_written_leaves_no_half(
    exporter: type[Exporter], before: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(RUNS["not_finite"])
    target = tmp_path / f"run{exporter.suffix}"
    if before and exporter.suffix:
        target.write_bytes(before)
    names = files(tmp_path)

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        run.export(target, exporter.name)

    assert files(tmp_path) == names
    assert not names or target.read_bytes() == before


def test_the_right_kind_of_place_is_asked_for(exporter: type[Exporter], tmp_path: Path) -> None:
    # A folder where a file should be, and the other way round.
    target = tmp_path / f"run{exporter.suffix}"
    if exporter.suffix:
        target.mkdir()
    else:
        target.write_bytes(b"a file")

    with pytest.raises(OSError, match=re.escape(target.name)):
        Run(RUNS["not_finite"]).export(target, exporter.name)

    assert target.is_dir() == bool(exporter.suffix)
    assert len(files(tmp_path)) == (0 if exporter.suffix else 1)
