from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from tests.problems import blobs, tiny_mlp
from tests.runs.handmade import run_of
from tests.runs.record.archives import documents, files, zipped

FOREIGN = {
    "runs": "http://127.0.0.1:9", "name": "victim", "device": "cuda:7", "model": "Net",
    "train_data": "/etc/passwd", "val_data": "../x", "loss_fn": "os.system", "step_fn": "eval",
    "metrics": {"a": "b"}, "scaler": 1, "overhead": 1.0, "checkpoint_memory": 10**12,
    "val_every": 1, "where": "x", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "path": "/tmp/x",
    "callback": "os.system", "__class__": "x", "self": 1, "": 1, "resumed": "x", "serve": True,
}  # fmt: skip


def test_only_controls_and_plain_setup_values_are_settings() -> None:
    known = {"lr": 0.1, "batch_size": 8, "optimizer": "sgd", "schedule": "cosine", "seed": 3,
             "clip_mode": "norm", "dropout": 0.2}  # fmt: skip

    assert dict(run_of(parameters={**FOREIGN, **known}).settings) == known


def test_an_imported_run_sends_nothing_to_an_address_in_it(tmp_path: Path, place: Path) -> None:
    parameters = documents()["parameters"] | FOREIGN
    del parameters["dropout"]
    path = tmp_path / "run.zip"
    path.write_bytes(zipped(files(parameters=parameters)))
    run = nbd.import_run(path, place)

    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), **run.settings) as dbg:
        dbg.run(steps=1)

        assert dbg.name != "victim"
        assert dbg.controls["optimizer"] == "sgd"
        with pytest.raises(nbd.ArgumentError, match="not recorded"):
            assert dbg.runs is not None


@pytest.mark.parametrize("name", ["optimizer", "lr", "batch_size", "schedule", "seed"])
@pytest.mark.parametrize("value", [["sgd"], {"a": 1}], ids=["list", "object"])
def test_setup_values_of_another_type_are_refused(name: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.zip"
    path.write_bytes(zipped(files(parameters={name: value})))

    with pytest.raises(nbd.RunStoreError, match=rf"parameters\.json: {name}: expected"):
        nbd.import_run(path, tmp_path / "runs.db")


def test_the_settings_of_a_training_repeat_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    given = {"lr": 0.05, "batch_size": 16, "optimizer": "sgd", "clip_mode": "norm", "seed": 4}
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), runs=None, **given) as dbg:
        dbg.run(steps=1)
        settings = dbg.record.settings

    assert given.items() <= settings.items()
