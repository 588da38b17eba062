"""Attributions against formulas by hand, sums that they must have, and trainings left alone."""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.results.inside.attribution import METHODS
from nbdebug.errors import ArgumentError, DataError, ModelError
from tests.problems import same_weights

torch.manual_seed(0)
IMAGES, CLASSES = torch.randn(40, 1, 8, 8), torch.arange(40) % 3
ROWS = torch.randn(40, 5)
TOKENS = torch.randint(0, 11, (40, 6))


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.word, self.head = nn.Embedding(11, 8), nn.Sequential(nn.Linear(8, 8), nn.Tanh())
        self.last = nn.Linear(8, 3)

    def forward(self, tokens: torch.Tensor) -> Any:
        return self.last(self.head(self.word(tokens)).mean(1))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(6 * 36, 3),
    )  # fmt: skip


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))


KINDS: dict[str, tuple[Any, torch.Tensor]] = {
    "cnn": (cnn, IMAGES), "mlp": (mlp, ROWS), "tokens": (Reader, TOKENS),
}  # fmt: skip


def made(kind: str) -> nbd.Debugger:
    torch.manual_seed(0)
    model, X = KINDS[kind]
    return nbd.Debugger(model(), (X, CLASSES), nn.CrossEntropyLoss(), batch_size=8, runs=None)


def output(model: nn.Module, x: torch.Tensor, of: int) -> torch.Tensor:
    found: torch.Tensor = model(x)[0, of]
    return found


@pytest.mark.parametrize("kind", ["cnn", "mlp"])
def test_gradients_are_those_of_a_plain_backward_pass(kind: str) -> None:
    with made(kind) as dbg:
        dbg.run(steps=4)
        found = {name: dbg.explain(3, name) for name in ("saliency", "input_x_gradient")}
        model = copy.deepcopy(dbg.model).eval()
    x = KINDS[kind][1][3:4].clone().requires_grad_()
    of = int(CLASSES[3])
    output(model, x, of).backward()
    assert x.grad is not None
    slope = x.grad[0].double().numpy()
    assert np.array_equal(found["saliency"].values, np.abs(slope))
    assert np.allclose(
        found["input_x_gradient"].values, slope * x[0].detach().double().numpy(), atol=1e-7
    )
    assert found["saliency"].of == of
    assert found["saliency"].output == output(model, x, of).item()


@pytest.mark.parametrize("kind", KINDS)
def test_integrated_gradients_sum_up_to_the_difference_of_the_outputs(kind: str) -> None:
    with made(kind) as dbg:
        dbg.run(steps=4)
        found = dbg.explain(5, "integrated_gradients")
        model = copy.deepcopy(dbg.model).eval()
    if kind != "tokens":
        zeros = torch.zeros_like(KINDS[kind][1][5:6])
        difference = found.output - output(model, zeros, found.of).item()
        assert math.isclose(found.values.sum() - difference, found.gap, abs_tol=1e-5)
    assert abs(found.gap) < 0.05 * max(abs(found.output), 0.2)
    assert found.values.shape == ((6,) if kind == "tokens" else KINDS[kind][1][0].shape)


def test_integrated_gradients_of_a_linear_model_are_weight_times_input() -> None:
    model = nn.Linear(5, 3)
    with nbd.Debugger(model, (ROWS, CLASSES), nn.CrossEntropyLoss(), runs=None) as dbg:
        found = dbg.explain(2, "integrated_gradients", of=1)
    expected = (model.weight[1] * ROWS[2]).detach().double().numpy()
    assert np.allclose(found.values, expected, atol=1e-6)
    assert abs(found.gap) < 1e-5


@pytest.mark.parametrize("kind", ["cnn", "mlp"])
def test_occlusion_is_what_is_lost_without_a_patch(kind: str) -> None:
    with made(kind) as dbg:
        dbg.run(steps=4)
        found = dbg.explain(7, "occlusion")
        model = copy.deepcopy(dbg.model).eval()
    x = KINDS[kind][1][7:8]
    lost = np.zeros(x.shape[1:])
    for where in np.ndindex(*x.shape[1:]):
        hidden = x.clone()
        hidden[(0, *where)] = 0
        lost[where] = found.output - output(model, hidden, found.of).item()
    assert np.allclose(found.values, lost, atol=1e-6)


def test_grad_cam_is_the_formula_by_hand() -> None:
    with made("cnn") as dbg:
        dbg.run(steps=4)
        found, first = dbg.explain(9, "grad_cam"), dbg.explain(9, "grad_cam", layer="0")
        model: Any = copy.deepcopy(dbg.model).eval()
    assert (found.place, first.place) == ("4", "0")
    maps = model[:5](IMAGES[9:10]).detach().requires_grad_()
    model[5:](maps)[0, found.of].backward()
    weights = maps.grad.mean((2, 3), keepdim=True)
    expected = (weights * maps).sum(1)[0].clamp(min=0).detach().double().numpy()
    assert np.allclose(found.values, expected, atol=1e-6)


def test_tokens_are_explained_by_their_embedding() -> None:
    with made("tokens") as dbg:
        dbg.run(steps=4)
        found = dbg.explain(4, "occlusion")
        model: Any = copy.deepcopy(dbg.model).eval()
    assert found.inputs.tolist() == TOKENS[4].tolist()
    words = model.word(TOKENS[4:5])
    for place in range(6):
        hidden = words.clone()
        hidden[0, place] = 0
        out = model.last(model.head(hidden).mean(1))[0, found.of]
        assert math.isclose(found.values[place], found.output - out.item(), abs_tol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_training_notices_nothing(kind: str) -> None:
    with made(kind) as bare, made(kind) as dbg:
        for step in range(10):
            bare.run(steps=1)
            dbg.run(steps=1)
            method = METHODS[step % 5]
            if not (method == "grad_cam" and kind != "cnn"):
                dbg.explain(step, method)
        assert same_weights(bare.model, dbg.model)


def test_a_frame_lists_the_largest_first_and_a_page_shows_images() -> None:
    with made("cnn") as dbg, made("mlp") as rows:
        image, row = dbg.explain(1, "saliency"), rows.explain(1, "input_x_gradient")
    frame = image.to_frame()
    assert list(frame["value"].abs()) == sorted(frame["value"].abs(), reverse=True)
    top = frame["index"][0]
    assert frame["value"][0] == image.values[top]
    assert frame["input"][0] == image.inputs[top]
    assert image._repr_html_().count("<img") == 2
    page = row._repr_html_()
    assert "<img" not in page
    assert {f"input {at}" for at in range(5)} == set(re.findall(r'title="([^"]*)"', page))
    assert "input_x_gradient of output" in repr(row)


def test_an_output_alone_needs_no_index() -> None:
    model = nn.Linear(5, 1)
    data = (ROWS, ROWS.sum(1, keepdim=True))
    with nbd.Debugger(model, data, nn.MSELoss(), runs=None) as dbg:
        found = dbg.explain(0, "saliency")
    assert found.of == -1
    assert np.array_equal(found.values, model.weight[0].detach().abs().double().numpy())


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"method": "guess"}, ArgumentError, "method must be one of"),
        ({"sample": -1}, ArgumentError, "sample must be"),
        ({"sample": 1000}, DataError, "no sample 1000"),
        ({"of": 3}, ArgumentError, "from 0 to 2"),
        ({"of": -2}, ArgumentError, "of must be"),
        ({"method": "grad_cam"}, ModelError, "needs a layer"),
    ],
)
def test_what_cannot_be_explained_is_refused_in_words(
    given: Any, error: type[Exception], words: str
) -> None:
    with made("mlp") as dbg, pytest.raises(error, match=words):
        dbg.explain(**given)


def test_an_unknown_layer_of_grad_cam_is_refused_with_those_there_are() -> None:
    with made("cnn") as dbg, pytest.raises(ArgumentError, match=r"'fc' is no layer .*: 0, 1, 2"):
        dbg.explain(0, "grad_cam", layer="fc")


def frame() -> pd.DataFrame:
    return pd.DataFrame(ROWS.numpy(), columns=[*"abcd", 7])


def test_columns_of_a_table_name_the_inputs() -> None:
    torch.manual_seed(0)
    targets = CLASSES.numpy()
    with nbd.Debugger(
        mlp(), (frame(), targets), nn.CrossEntropyLoss(), batch_size=8, runs=None
    ) as dbg:
        found = dbg.explain(3)
        assert found.names == ("a", "b", "c", "d", "7")
        assert dbg.explain(index=5).names == found.names
        dbg.network(data=(frame().set_axis([*"vwxyz"], axis=1), targets))
        assert dbg.explain(0).names == tuple("vwxyz")
        dbg.network(data=(ROWS, CLASSES))
        assert dbg.explain(0).names == ()
    assert set(found.to_frame().name) == {"a", "b", "c", "d", "7"}


def test_columns_of_validation_name_its_samples() -> None:
    torch.manual_seed(0)
    held_out = frame().set_axis([*"vwxyz"], axis=1), CLASSES.numpy()
    with nbd.Debugger(
        mlp(), (ROWS, CLASSES), nn.CrossEntropyLoss(), val_data=held_out, batch_size=8, runs=None
    ) as dbg:
        assert dbg.explain(3).names == tuple("vwxyz")
        assert dbg.explain(index=3).names == ()


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.word, self.last = nn.Embedding(11, 4), nn.Linear(5, 3)

    def forward(self, first: torch.Tensor, rows: torch.Tensor) -> Any:
        other = first if first.is_floating_point() else self.word(first)
        return self.last(rows + other.mean())


@pytest.mark.parametrize("whole", [False, True])
def test_columns_name_the_first_of_two_inputs_only(whole: bool) -> None:
    torch.manual_seed(0)
    first = frame().abs().astype("int64") if whole else frame()
    with nbd.Debugger(
        Two(), (first, ROWS, CLASSES), nn.CrossEntropyLoss(), batch_size=8, runs=None
    ) as dbg:
        found = dbg.explain(0)
    assert found.inputs.shape == (5,)
    assert found.inputs == pytest.approx(ROWS[0].numpy() if whole else frame().iloc[0].to_numpy())
    assert found.names == (() if whole else ("a", "b", "c", "d", "7"))


@pytest.mark.parametrize("method", METHODS)
def test_of_half_precision_the_same_is_told_in_fewer_digits(method: Any) -> None:
    torch.manual_seed(0)
    whole = cnn().eval()
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        model, data = copy.deepcopy(whole).to(dtype), (IMAGES.to(dtype), CLASSES)
        with nbd.Debugger(model, data, nn.CrossEntropyLoss(), batch_size=8, runs=None) as dbg:
            found.append(dbg.explain(3, method))
    single, half = found
    assert half.values.shape == single.values.shape
    assert np.abs(half.values - single.values).max() < 0.1 * np.abs(single.values).max()
    assert half._repr_html_()


def test_tokens_are_no_columns() -> None:
    with made("tokens") as dbg:
        found = dbg.explain(2)
    assert found.tokens
    assert found.names == ()
    words = [*"abcdefghijk"]
    assert found.with_names(words).names == tuple(words[int(one)] for one in found.inputs)


class Carrying(nn.Module):
    """Carries its hidden state from one batch to the next."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head = nn.GRU(4, 6, batch_first=True), nn.Linear(6, 4)
        self.state: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> Any:
        found, state = self.cells(x, self.state)
        self.state = state.detach()
        return self.head(found)


def test_a_model_that_takes_no_single_sample_is_refused_in_words() -> None:
    sequences = torch.randn(4, 61, 4)
    windows = [(sequences[:, i : i + 5], sequences[:, i + 1 : i + 6]) for i in range(0, 50, 5)]
    with nbd.Debugger(Carrying(), windows, nn.MSELoss(), runs=None) as dbg:
        dbg.run(steps=3)
        with pytest.raises(ModelError, match=r"takes no single sample: Expected hidden size"):
            dbg.explain()
