"""A script needs no nbdebug and ends in the same weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from tests.inside import session_of
from tests.training.script.script_host import ScriptHost
from tests.training.timeline.timelines import KINDS, X, Y, change_everything, go_on_to, make, mixup

pytestmark = pytest.mark.slow
WIDTH = 16


class Block(nn.Module):
    """A user-defined layer with arguments."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(width, width), nn.BatchNorm1d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.relu(self.norm(self.layer(x)))


class Net(nn.Module):
    """A user-defined model that needs another class and a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, WIDTH)
        self.blocks = nn.ModuleList([Block(WIDTH), Block(WIDTH)])
        self.drop = nn.Dropout(0.2)
        self.last = nn.Linear(WIDTH, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.last(self.drop(x))


def smoothed(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(outputs, targets, label_smoothing=0.1)


def smooth_step(model: nn.Module, batch: Any) -> Any:
    x, y = batch
    outputs = model(x)
    return smoothed(outputs, y), outputs, y


def loaded() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(96, 6, generator=generator)
    return inputs, torch.randint(0, 3, (96,), generator=generator)


def run_script(dbg: nbd.Debugger, host: ScriptHost, folder: Path, **options: Any) -> str:
    """Write it, run it elsewhere, compare every tensor; gives the program."""
    path = folder / "train.py"
    dbg.script(path, **options)
    text = path.read_text(encoding="utf-8")
    assert "nbdebug" not in text
    assert host.run(path) == ""
    assert_trained(dbg, folder)
    return text


def assert_trained(dbg: nbd.Debugger, folder: Path) -> None:
    """What the script saved is the model of the Debugger, to the bit."""
    trained = torch.load(folder / "train-trained.pt", weights_only=True)
    wanted = dbg.model.state_dict()
    assert list(trained) == list(wanted)
    differ = [name for name in wanted if not torch.equal(trained[name], wanted[name])]
    assert differ == []


def test_python_runs_it_as_a_program(tmp_path: Path) -> None:
    with make() as dbg:
        dbg.run(steps=5)
        dbg.script(tmp_path / "train.py")
        made = subprocess.run(
            [sys.executable, "-I", "train.py"], capture_output=True, text=True, cwd=tmp_path
        )
        assert made.returncode == 0, made.stderr
        assert_trained(dbg, tmp_path)


def test_a_script_that_needs_nbdebug_would_be_found_out(host: ScriptHost, tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text("import nbdebug.errors\n")
    assert "nbdebug" in host.run(path).splitlines()[-1]


PLAIN = [
    kind for kind in KINDS if kind not in ("workers", "stream", "augmented", "counting", "step_fn")
]


@pytest.mark.parametrize("kind", PLAIN)
def test_a_script_with_many_changes_ends_in_the_same_weights(
    kind: str, host: ScriptHost, tmp_path: Path
) -> None:
    with KINDS[kind]() as dbg:
        change_everything(dbg)
        text = run_script(dbg, host, tmp_path)
    for control in ("lr", "batch_size", "clip_mode", "dropout", "weight_decay", "reinit"):
        assert f"# {control} = " in text


def test_a_class_of_ones_own_comes_with_what_it_needs(host: ScriptHost, tmp_path: Path) -> None:
    with make(model=Net) as dbg:
        session_of(dbg).loss_fn = smoothed
        dbg.run(steps=20)
        dbg.set(dropout=0.5, lr=1e-2, why="to see")
        dbg.set(clip_mode="layer", clip_threshold=0.1, clip_overrides={"first": 0.01})
        dbg.run(steps=20)
        text = run_script(dbg, host, tmp_path)
    assert "class Block(nn.Module):" in text
    assert "WIDTH = 16" in text
    assert "def smoothed(" in text
    assert "# lr = 0.01, by api: to see" in text


def with_logs(model: nn.Module, batch: Any) -> Any:
    loss = mixup(model, batch)
    return loss, {"half": loss / 2}


def as_dict(model: nn.Module, batch: Any) -> Any:
    return {"loss": mixup(model, batch)}


@pytest.mark.parametrize("step_fn", [with_logs, as_dict])
def test_a_step_that_returns_more_than_the_loss(
    step_fn: Any, host: ScriptHost, tmp_path: Path
) -> None:
    with make(step_fn=step_fn) as dbg:
        dbg.run(steps=12)
        run_script(dbg, host, tmp_path)


def test_a_loss_that_is_trained_is_refused(tmp_path: Path) -> None:
    class Scaled(nn.CrossEntropyLoss):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

    with nbd.Debugger(nn.Linear(6, 3), loaded(), Scaled()) as dbg:
        dbg.run(steps=2)
        with pytest.raises(nbd.ScriptError, match="loss_fn has parameters"):
            dbg.script(tmp_path / "train.py")


def test_a_step_of_ones_own_with_random_numbers(host: ScriptHost, tmp_path: Path) -> None:
    with make(step_fn=mixup) as dbg:
        dbg.run(steps=15)
        dbg.set(lr=1e-2)
        dbg.run(steps=15)
        assert "np.random.seed(0)" in run_script(dbg, host, tmp_path)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("drop_last", [True, False])
def test_a_loader_over_tensors(
    shuffle: bool, drop_last: bool, host: ScriptHost, tmp_path: Path
) -> None:
    data = DataLoader(TensorDataset(X, Y), batch_size=20, shuffle=shuffle, drop_last=drop_last)
    with make(data=data, batch_size=None) as dbg:
        dbg.run(steps=13)
        dbg.set(batch_size=6)
        dbg.run(steps=31)
        run_script(dbg, host, tmp_path)


def test_a_loading_function_takes_the_place_of_the_tensors(
    host: ScriptHost, tmp_path: Path
) -> None:
    with make() as dbg:
        dbg.run(steps=9)
        text = run_script(dbg, host, tmp_path, data=loaded)
    assert "def loaded()" in text
    assert "data" not in torch.load(tmp_path / "train.pt", weights_only=True)


def test_an_expression_says_how_the_model_is_built(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 8), Block(8), nn.Linear(8, 3))
    with make(model=model) as dbg:
        dbg.run(steps=5)
        with pytest.raises(nbd.ScriptError, match=r"The arguments of Block are unknown"):
            dbg.script(tmp_path / "train.py")


def test_a_batch_that_was_left_out_is_left_out(host: ScriptHost, tmp_path: Path) -> None:
    broken = X.clone()
    broken[40] = torch.nan
    with make(data=(broken, Y), val_data=None) as dbg:
        go_on_to(dbg, 20)
        assert "this batch was excluded" in run_script(dbg, host, tmp_path)


@pytest.mark.parametrize("step_fn", [None, smooth_step], ids=["loss_fn", "step_fn"])
def test_accumulated_steps_have_a_loop_over_their_batches(
    step_fn: Any, host: ScriptHost, tmp_path: Path
) -> None:
    options: dict[str, Any] = {} if step_fn is None else {"step_fn": step_fn}
    broken = X.clone()
    broken[40] = torch.nan
    with make(data=(broken, Y), accumulate=3, not_finite="exclude", **options) as dbg:
        dbg.run(steps=5)
        dbg.set(accumulate=1, clip_mode="norm", clip_threshold=0.3)
        dbg.run(steps=4)
        dbg.set(accumulate=2, batch_size=10)
        dbg.run(steps=7)
        text = run_script(dbg, host, tmp_path)
        assert "accumulate = 3" in text
        assert "/ len(batches)" in text


def test_accumulated_steps_of_a_loader_that_drops_its_last_batch(
    host: ScriptHost, tmp_path: Path
) -> None:
    loader = DataLoader(TensorDataset(X, Y), batch_size=10, shuffle=True, drop_last=True)
    with make(data=loader, batch_size=None) as dbg:
        dbg.run(steps=2)
        dbg.set(accumulate=2)
        dbg.run(steps=8)
        text = run_script(dbg, host, tmp_path)
        assert "accumulate = 1" in text
        assert "accumulate = 2" in text


def test_a_step_that_lost_its_last_batch_is_refused(tmp_path: Path) -> None:
    with make(data=(X[:81], Y[:81]), accumulate=2) as dbg:
        dbg.run(steps=4)
        with pytest.raises(nbd.ScriptError, match=r"left out of a step of several"):
            dbg.script(tmp_path / "train.py")


def test_frozen_layers_that_learn_later_become_a_group(host: ScriptHost, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    rest = [p for p in model.parameters() if p.requires_grad]
    with make(model=model, optimizer=torch.optim.Adam(rest, lr=1e-3)) as dbg:
        dbg.run(steps=5)
        dbg.set(frozen="trainable")
        dbg.run(steps=5)
        run_script(dbg, host, tmp_path)


@pytest.mark.parametrize("mode", ["norm", "value", "parameter", "layer", "adaptive"])
def test_every_way_of_clipping(mode: str, host: ScriptHost, tmp_path: Path) -> None:
    with make(clip_mode=mode, clip_threshold=0.05) as dbg:
        dbg.run(steps=10)
        dbg.set(clip_norm_type=1.0)
        dbg.run(steps=10)
        run_script(dbg, host, tmp_path)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("workers", "user-defined dataset"),
        ("augmented", "user-defined dataset"),
        ("stream", "user-defined dataset"),
        ("counting", None),
    ],
)
def test_what_cannot_be_written_is_refused_or_right(
    kind: str, reason: str | None, host: ScriptHost, tmp_path: Path
) -> None:
    with KINDS[kind]() as dbg:
        dbg.run(steps=6)
        if reason is None:
            run_script(dbg, host, tmp_path)
            return
        with pytest.raises(nbd.ScriptError, match=reason):
            dbg.script(tmp_path / "train.py")
        assert list(tmp_path.iterdir()) == []
        dbg.run(steps=2)


def test_a_loss_without_a_name_is_refused(tmp_path: Path) -> None:
    with make() as dbg:
        session_of(dbg).loss_fn = lambda o, t: nn.functional.cross_entropy(o, t)
        dbg.run(steps=2)
        with pytest.raises(nbd.ScriptError, match="give it a name by def"):
            dbg.script(tmp_path / "train.py")
