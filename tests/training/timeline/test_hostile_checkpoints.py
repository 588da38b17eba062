"""Nothing in a checkpoint file becomes a method, a module or code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from tests.training.timeline.damage import write

X, Y = torch.randn(64, 6), torch.randint(0, 3, (64,))
Edit = Callable[[dict[str, Any]], Any]


class Counter(nn.Module):
    """Counts its calls in an attribute that its first call makes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(6, 3), nn.BatchNorm1d(3)
        self.last: float | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls = getattr(self, "calls", 0) + 1
        self.last = 0.5
        return self.norm(self.layer(x))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of a training of eight steps."""
    monkeypatch.chdir(tmp_path)
    options: dict[str, Any] = {"schedule": "cosine", "runs": None}
    with nbd.Debugger(Counter(), (X, Y), nn.CrossEntropyLoss(), name="a", **options) as dbg:
        dbg.run(steps=8)
        return Path(dbg.timeline.save())


def resume() -> nbd.Debugger:
    return nbd.Debugger.resume("a", Counter(), (X, Y), nn.CrossEntropyLoss(), runs=None)


EDITS: dict[str, Edit] = {
    "forward": lambda d: d["weights"]["values"][""].update(forward="x"),
    "a method": lambda d: d["weights"]["values"]["layer"].update(extra_repr="x"),
    "hooks": lambda d: d["weights"]["values"][""].update(_other_hooks={"a": 1}),
    "a child": lambda d: d["weights"]["values"][""].update(layer="x"),
    "a parameter": lambda d: d["weights"]["values"]["layer"].update(weight=1.0),
    "a buffer": lambda d: d["weights"]["values"]["norm"].update(running_mean=1.0),
    "a number as name": lambda d: d["weights"]["values"][""].update({1: 1}),
    "attributes that are text": lambda d: d["weights"].update(values="x"),
    "a buffer of text": lambda d: d["weights"]["buffers"]["norm"].update(running_mean="x"),
    "a flag of text": lambda d: d["weights"]["training"].update({"": "yes"}),
    "no weights": lambda d: d.pop("weights"),
    "weights of another shape": lambda d: d["weights"]["parameters"].update(
        {"layer.weight": torch.ones(1)}
    ),
    "weights that are text": lambda d: d["weights"]["parameters"].update({"layer.weight": "x"}),
    "a step method": lambda d: d["optimizers"][0][1]["attributes"].update(step="x"),
    "the state of an optimizer": lambda d: d["optimizers"][0][1]["attributes"].update(state="x"),
    "another optimizer": lambda d: d["optimizers"][0][1].update({"class": "Evil"}),
    "no optimizers": lambda d: d.update(optimizers=[]),
    "an optimizer by path": lambda d: d["optimizers"][0].__setitem__(0, "../x"),
    "an optimizer that is none": lambda d: d["optimizers"][0].__setitem__(0, 3),
    "a seed of text": lambda d: d.update(seed="x"),
    "unknown parameters": lambda d: d["optimizers"][0][1]["groups"][0].update(params=["x"]),
    "a schedule's method": lambda d: d["schedule"][0]["schedulers"][0].update(get_lr="x"),
    "a schedule's optimizer": lambda d: d["schedule"][0]["schedulers"][0].update(optimizer="x"),
    "an unknown schedule": lambda d: d["schedule"][0].update(main="x"),
    "a plan": lambda d: d["schedule"][0]["plan"].update(more=1),
    "an unknown control": lambda d: d["controls"].update(runs="http://127.0.0.1:9"),
    "a control out of range": lambda d: d["controls"].update(batch_size=-1),
    "counters of text": lambda d: d.update(counters="x"),
    "another counter": lambda d: d["counters"].update(more=1),
    "an unknown record": lambda d: d.update(position={"__record__": "os.system", "parts": []}),
    "an array of objects": lambda d: d.update(rng={"__array__": [1], "dtype": "O"}),
    "a huge array": lambda d: d.update(rng={"__array__": [""] * 9, "dtype": "S100000000000"}),
    "a position of text": lambda d: d.update(position="x"),
    "no controls": lambda d: d.pop("controls"),
    "no length": lambda d: d.pop("length"),
    "ratios": lambda d: d.update(ratios=[]),
}


ODD_STEPS = {
    "negative": torch.tensor(-7.0),
    "in parts": torch.tensor(2.5),
    "not a number": torch.tensor(float("nan")),
    "infinite": torch.tensor(float("inf")),
    "huge": torch.tensor(1e30),
    "a number": -1,
    "several": torch.ones(3),
}


def moved(buffer: str, value: float) -> Edit:
    def edit(data: dict[str, Any]) -> None:
        buffers = data["weights"]["buffers"]["norm"]
        buffers[buffer] = buffers[buffer].clone().fill_(value)

    return edit


ODD_BUFFERS = {
    "negative": moved("running_var", -1.0),
    "no number": moved("running_var", float("nan")),
    "a mean that is none": moved("running_mean", float("nan")),
    "a count": moved("num_batches_tracked", -3),
}
# What a forward may have left there, or what no version reads.
HARMLESS: dict[str, Edit] = {
    "no name": lambda d: d["weights"]["values"][""].update({"a = 1; b": 1}),
    "a list": lambda d: d["weights"]["values"][""].update(calls=[1]),
    "a tensor": lambda d: d["weights"]["values"][""].update(calls=torch.ones(1)),
    "another field": lambda d: d["weights"].update(more=1),
}


def crafted(path: Path, edit: Edit) -> None:
    data = torch.load(path, weights_only=True)
    edit(data)
    for file in path.parent.glob("*.pt"):
        write(file, data)


@pytest.mark.parametrize("edit", EDITS)
def test_a_checkpoint_with_another_value_is_refused_in_words(edit: str, path: Path) -> None:
    crafted(path, EDITS[edit])

    with pytest.raises(nbd.NbdebugError):
        resume()


@pytest.mark.parametrize("odd", ODD_STEPS)
def test_an_optimizer_that_counts_no_steps_is_refused(odd: str, path: Path) -> None:
    def edit(data: dict[str, Any]) -> None:
        for state in data["optimizers"][0][1]["state"].values():
            state["step"] = ODD_STEPS[odd]

    crafted(path, edit)
    with pytest.raises(nbd.CheckpointError, match="step of Adam"):
        resume()


@pytest.mark.parametrize("odd", ODD_BUFFERS)
def test_statistics_that_no_training_gives_are_refused(odd: str, path: Path) -> None:
    crafted(path, ODD_BUFFERS[odd])
    with pytest.raises(nbd.CheckpointError, match="norm"):
        resume()


@pytest.mark.parametrize("edit", HARMLESS)
def test_a_value_that_is_no_part_of_the_model_changes_nothing_else(edit: str, path: Path) -> None:
    crafted(path, HARMLESS[edit])

    with resume() as dbg:
        assert isinstance(dbg.model.layer, nn.Linear)
        assert "forward" not in vars(dbg.model)


def test_attributes_of_a_training_come_back(path: Path) -> None:
    with resume() as dbg:
        assert (dbg.model.calls, dbg.model.last) == (8, 0.5)
        dbg.run(steps=1)
        assert dbg.model.calls == 9
