"""A step that fails is explained in plain words; the exception stays the user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbdebug as nbd

CE = nn.CrossEntropyLoss()
X, Y = torch.randn(12, 5), torch.arange(12) % 3
IMAGES = torch.randn(12, 1, 8, 8)
Case = tuple[nn.Module, Any, Any, str]


class Through(nn.Module):
    """A model with a forward of its own."""

    def __init__(self, forward: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self._forward = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, *inputs: Any) -> Any:
        return self._forward(self, *inputs)


def mlp(features: int = 5, out: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, 8), nn.ReLU(), nn.Linear(8, out))


def lstm(forward: Callable[..., Any]) -> nn.Module:
    return Through(forward, rnn=nn.LSTM(5, 4, batch_first=True), head=nn.Linear(4, 3))


CASES: dict[str, Case] = {
    "features": (mlp(4), (X, Y), CE, "Layer `0 Linear` takes 4 features, the data have 5"),
    "features inside": (
        nn.Sequential(nn.Linear(5, 8), nn.Linear(9, 3)), (X, Y), CE,
        "Layer `1 Linear` takes 9 features, its input has 8",
    ),
    "no flatten": (
        nn.Sequential(nn.Linear(64, 3)), (IMAGES, Y), CE, "flatten it before, with nn.Flatten()"
    ),
    "channels": (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 3)), (IMAGES, Y), CE,
        "Layer `0 Conv2d` takes 3 channels, the data have 1",
    ),
    "channels last": (
        nn.Sequential(nn.Conv2d(3, 4, 3)), (torch.randn(12, 8, 9, 3), Y), CE,
        "with channels last; use .permute(0, 3, 1, 2)",
    ),
    "no channels": (
        nn.Sequential(nn.Conv2d(1, 4, 3)), (torch.randn(12, 8, 8), Y), CE, "use .unsqueeze(1)"
    ),
    "rows into a convolution": (
        nn.Sequential(nn.Conv1d(1, 4, 3)), (torch.randn(12, 2, 3, 8), Y), CE, "[N, C, L]"
    ),
    "kernel": (nn.Sequential(nn.Conv2d(1, 4, 9)), (IMAGES, Y), CE, "has a kernel of [9, 9]"),
    "normalised channels": (
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(3)), (IMAGES, Y), CE,
        "Layer `1 BatchNorm2d` takes 3 channels, its input has 4",
    ),
    "normalised images": (nn.Sequential(nn.BatchNorm1d(1)), (IMAGES, Y), CE, "takes 2 or 3 axes"),
    "layer norm": (nn.Sequential(nn.LayerNorm(4)), (X, Y), CE, "takes [4] as its last axes"),
    "one sample": (
        nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)), (X[:1], Y[:1]), CE,
        "cannot compute statistics of a single sample",
    ),
    "rnn": (
        Through(lambda m, x: m.rnn(x)[0][:, -1], rnn=nn.GRU(4, 3, batch_first=True)),
        (torch.randn(12, 6, 5), Y), CE, "Layer `rnn GRU` takes 4 features, the data have 5",
    ),
    "integers": (mlp(), (X.long(), Y), CE, "takes float32, the data are int64"),
    "doubles inside": (
        Through(lambda m, x: m.a(x.double()), a=nn.Linear(5, 3)), (X, Y), CE,
        "takes float32, its input is float64",
    ),
    "floats into an embedding": (
        nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(20, 3)), (X, Y), CE,
        "takes whole numbers (ids), the data are float32",
    ),
    "ids": (
        nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(20, 3)),
        (torch.arange(60).reshape(12, 5), Y), CE, "has 9 rows, for ids from 0 to 8",
    ),
    "tuple into a layer": (
        lstm(lambda m, x: m.head(m.rnn(x))), (torch.randn(12, 6, 5), Y), CE,
        "Layer `head Linear` takes a tensor, it got a tuple of 2 parts",
    ),
    "tuple into the loss": (
        lstm(lambda m, x: m.rnn(x)), (torch.randn(12, 6, 5), Y), CE,
        "the outputs of the model are a tuple of 2 parts",
    ),
    "float labels": (mlp(), (X, Y.float()), CE, "takes whole numbers: targets.long()"),
    "labels from 1": (mlp(), (X, Y + 1), CE, "subtract 1 from the labels"),
    "labels beyond": (mlp(out=2), (X, Y), CE, "labels go from 0 to 2, the outputs are for 2"),
    "column labels": (mlp(), (X, Y[:, None]), CE, "use targets.squeeze(1)"),
    "float column labels": (mlp(), (X, Y[:, None].float()), CE, "whole numbers of shape [12]"),
    "one-hot labels": (mlp(), (X, functional.one_hot(Y)), CE, "targets.argmax(1)"),
    "short labels": (mlp(), (X, Y.int()), CE, "The labels are int32, cross-entropy takes int64"),
    "labels in a function": (
        mlp(), (X, Y + 1), lambda o, t: functional.cross_entropy(o, t), "subtract 1"
    ),
    "batch axes": (
        Through(lambda m, x: m.a(x).reshape(-1, 1), a=nn.Linear(5, 3)), (X, Y), CE,
        "The outputs hold 36 samples, the targets 12",
    ),
    "binary column": (
        mlp(out=1), (X, (Y > 0).float()), nn.BCEWithLogitsLoss(), "use targets.unsqueeze(-1)"
    ),
    "binary integers": (
        mlp(out=1), (X, (Y > 0).long()[:, None]), nn.BCEWithLogitsLoss(), "use targets.float()"
    ),
    "no probabilities": (
        nn.Sequential(nn.Linear(5, 1)), (X * 50, (Y > 0).float()[:, None]), nn.BCELoss(),
        "end the model with a sigmoid",
    ),
    "widths to fit": (mlp(), (X, X[:, :2]), nn.MSELoss(), "The outputs have the shape [12, 3]"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using a target size:UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_the_first_sentence_says_what_does_not_fit(name: str) -> None:
    model, data, loss_fn, said = CASES[name]
    plain = type(failure_of_plain_torch(model, data, loss_fn))
    with nbd.Debugger(model, data, loss_fn, batch_size=12, runs=None) as dbg:
        with pytest.raises(Exception) as raised:  # noqa: PT011
            dbg.step()
        failure = dbg.failure
    assert raised.type is plain
    notes = [note for note in raised.value.__notes__ if note.startswith("nbdebug: ")]
    assert len(notes) == 1
    assert said in notes[0]
    assert failure is not None
    assert failure.text.startswith(notes[0].removeprefix("nbdebug: "))
    assert "Traceback" in failure.traceback


def failure_of_plain_torch(model: nn.Module, data: Any, loss_fn: Any) -> Exception:
    try:
        loss_fn(model(data[0]), data[1]).backward()
    except Exception as error:
        return error
    raise AssertionError("Torch takes it.")


def fails(_: Any, x: torch.Tensor) -> torch.Tensor:
    raise ValueError("not today")


def fails_inside_a_layer(_: Any, x: torch.Tensor) -> torch.Tensor:
    return nn.Linear(5, 3).register_forward_hook(fails) and x @ x  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("model", "loss_fn"),
    [
        (Through(fails, a=nn.Linear(5, 3)), CE),
        (Through(fails_inside_a_layer, a=nn.Linear(5, 3)), CE),
        (mlp(), lambda outputs, targets: outputs.nowhere),
        (mlp(), lambda outputs, targets: outputs @ outputs),
    ],
)
def test_nothing_is_said_about_what_is_not_known(model: nn.Module, loss_fn: Any) -> None:
    with nbd.Debugger(model, (X, Y), loss_fn, batch_size=12, runs=None) as dbg:
        with pytest.raises(Exception) as raised:  # noqa: PT011
            dbg.step()
        assert dbg.failure is not None
        assert str(raised.value).split("\n", 1)[0] in dbg.failure.text
    assert not hasattr(raised.value, "__notes__")


def test_a_container_that_takes_a_tuple_is_not_blamed() -> None:
    def inside(_: Any, pair: Any) -> torch.Tensor:
        raise ValueError("inside")

    part = nn.Sequential(Through(inside, a=nn.Linear(5, 3)))
    model = Through(lambda m, x: m.part((x, x)), part=part)
    dbg = nbd.Debugger(model, (X, Y), CE, runs=None)
    with dbg, pytest.raises(ValueError, match="inside") as raised:
        dbg.step()
    assert not hasattr(raised.value, "__notes__")


def test_a_hook_that_fails_in_a_fitting_layer_is_not_blamed_on_the_layer() -> None:
    model = mlp()

    def hook(*_: Any) -> None:
        raise RuntimeError("in a hook")

    model[0].register_forward_hook(hook)
    dbg = nbd.Debugger(model, (X, Y), CE, runs=None)
    with dbg, pytest.raises(RuntimeError, match="in a hook") as raised:
        dbg.step()
    assert not hasattr(raised.value, "__notes__")


def test_integer_targets_that_older_versions_of_torch_refuse_in_backward() -> None:
    def loss_fn(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("Found dtype Long but expected Float")

    with nbd.Debugger(mlp(), (X, Y), loss_fn, runs=None) as dbg:
        with pytest.raises(RuntimeError):
            dbg.step()
        assert dbg.failure is not None
        assert dbg.failure.text.startswith("The targets are int64")


@pytest.mark.parametrize("name", ["loss_fn", "step_fn"])
def test_the_class_of_a_loss_is_refused_at_once(name: str) -> None:
    with pytest.raises(nbd.ArgumentError, match=r"write CrossEntropyLoss\(\)"):
        nbd.Debugger(mlp(), (X, Y), runs=None, **{name: nn.CrossEntropyLoss})


def test_a_step_function_is_explained_too() -> None:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        return CE(model(batch["x"]), batch["y"])

    batches = [{"x": X, "y": Y}]
    with nbd.Debugger(mlp(4), batches, step_fn=step, runs=None) as dbg:
        with pytest.raises(RuntimeError):
            dbg.step()
        assert dbg.failure is not None
        assert dbg.failure.text.startswith("Layer `0 Linear` takes 4 features, the data have 5.")
