"""Pictures of the network against hooks by hand, and trainings that notice nothing of them."""

from __future__ import annotations

import copy
import math
import random
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.commands.running import WatchProbe
from nbdebug.core.results.inside.network_picture import SHOWN, NetworkPicture
from nbdebug.errors import ArgumentError, DataError, ModelError
from nbdebug.training.tasks.inside.values import picture
from tests.draw import some
from tests.inside import queue_of, session_of
from tests.problems import blobs, images, same_weights, tiny_cnn, tiny_mlp
from tests.training.timeline.timelines import equal, state
from tools.architectures.catalogue import ARCHITECTURES

VIEW = "network_picture"


class Tagger(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.word = nn.Embedding(11, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.2, batch_first=True)
        self.body: nn.Module = (
            nn.GRU(8, 8, batch_first=True) if kind == "gru" else nn.TransformerEncoder(layer, 2)
        )
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: torch.Tensor) -> Any:
        found = self.body(self.word(tokens))
        return self.head((found[0] if isinstance(found, tuple) else found).mean(1))


def tokens(count: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    X = torch.randint(0, 11, (count, 6), generator=generator)
    return X, X.sum(1) % 3


def made(kind: str) -> nbd.Debugger:
    torch.manual_seed(0)
    model, data = {
        "mlp": lambda: (tiny_mlp(), blobs()),
        "cnn": lambda: (tiny_cnn(), images(96)),
        "gru": lambda: (Tagger("gru"), tokens()),
        "transformer": lambda: (Tagger("transformer"), tokens()),
    }[kind]()
    return nbd.Debugger(model, data, nn.CrossEntropyLoss(), batch_size=16, runs=None)


@pytest.mark.parametrize("show", ["activations", "gradients"])
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_values_are_those_of_hooks_by_hand(kind: str, show: Any) -> None:
    with made(kind) as dbg:
        dbg.run(steps=3)
        found = dbg.network(5, show)
        model = copy.deepcopy(dbg.model).eval()
    X, y = blobs() if kind == "mlp" else images(96)
    assert found.index is not None
    one = slice(found.index, found.index + 1)
    seen: dict[str, torch.Tensor] = {}

    def note(name: str, output: torch.Tensor) -> None:
        if show == "activations":
            seen[name] = output.detach().clone()
        else:
            output.register_hook(lambda gradient: seen.setdefault(name, gradient.clone()))

    for name, module in model.named_children():
        module.register_forward_hook(lambda _, given, output, name=name: note(name, output))
    nn.functional.cross_entropy(model(X[one]), y[one]).backward()
    assert found.target == int(y[found.index])
    assert found.values.keys() == seen.keys()
    for name, tensor in seen.items():
        values, expected = found.values[name], tensor[0].double().numpy()
        assert np.array_equal(values.picture, picture(expected))
        assert values.mean == expected.mean()
        assert (values.low, values.high) == (expected.min(), expected.max())
        assert values.zeros == (expected == 0).mean()


@pytest.mark.parametrize("kind", ["mlp", "cnn", "gru", "transformer"])
def test_training_is_equal_to_the_bit_with_the_view_open(kind: str) -> None:
    looked_at = set()
    with made(kind) as bare, made(kind) as dbg:
        bare.run(steps=30)
        queue_of(dbg).put(WatchProbe(VIEW, True)).answer.result(60)
        for step in range(30):
            dbg.run(steps=1)
            dbg.network(step % 7, SHOWN[step % 3])
            found = dbg.history.snapshot(()).results.of(NetworkPicture)
            assert found is not None
            looked_at.add(found.step)
        assert same_weights(bare.model, dbg.model)
        assert equal(state(bare), state(dbg))
    assert looked_at == set(range(1, 31))


def test_random_numbers_modes_and_gradients_stay() -> None:
    with made("mlp") as dbg:
        dbg.run(steps=2)
        before = state(dbg)
        gradients = [p.grad for p in dbg.model.parameters()]
        drawn = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
        dbg.network(0, "gradients", "0")
        after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
        assert drawn[:2] == after[:2]
        assert torch.equal(drawn[2], after[2])
        assert equal(before, state(dbg))
        assert all(p.grad is g for p, g in zip(dbg.model.parameters(), gradients, strict=True))
        assert dbg.model.training


def step_shown(dbg: nbd.Debugger) -> int:
    found = dbg.history.snapshot(()).results.of(NetworkPicture)
    return -1 if found is None else found.step


def wait_for_step(dbg: nbd.Debugger, step: int) -> None:
    until = time.monotonic() + 60
    while step_shown(dbg) != step and time.monotonic() < until:
        time.sleep(0.01)
    assert step_shown(dbg) == step


def test_the_view_follows_training_and_a_rewind() -> None:
    with made("mlp") as dbg:
        queue_of(dbg).put(WatchProbe(VIEW, True)).answer.result(60)

        wait_for_step(dbg, 0)
        dbg.run(steps=40)
        wait_for_step(dbg, 40)
        dbg.rewind(7)
        wait_for_step(dbg, 7)
        queue_of(dbg).put(WatchProbe(VIEW, False)).answer.result(60)
        dbg.run(steps=1)
        dbg.set(lr=0.1)
        assert step_shown(dbg) == 7


def test_a_view_that_cannot_be_made_says_so_once_and_training_goes_on() -> None:
    class OnlyTrains(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> Any:
            if not self.training:
                raise ValueError("no eval here")
            return self.one(x)

    X, y = torch.randn(32, 4), torch.randint(0, 3, (32,))
    with nbd.Debugger(OnlyTrains(), (X, y), nn.CrossEntropyLoss(), runs=None) as dbg:
        queue_of(dbg).put(WatchProbe(VIEW, True)).answer.result(60)
        dbg.run(steps=5)
        found = dbg.network()
        assert found.structure.error is not None
        assert "no eval here" in found.structure.error.error
        assert "no eval here" in repr(found)


def test_a_model_that_fails_is_drawn_as_far_as_it_came() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(9, 3))
    X, y = torch.randn(32, 4), torch.randint(0, 3, (32,))
    with nbd.Debugger(model, (X, y), nn.CrossEntropyLoss(), runs=None) as dbg:
        found = dbg.network()
        assert [part.name for part in found.structure.parts] == ["0", "1", "2"]
        failed = found.structure.error
        assert failed is not None
        assert (failed.name, failed.given) == ("2", ((1, 8),))
        assert "nbd-marked" in found._repr_html_()
        assert found.values.keys() == {"0", "1"}
        gradients = dbg.network(0, "gradients")
        assert gradients.structure.error is not None
        assert not gradients.values


@pytest.mark.parametrize("whole", [True, False])
def test_a_step_function_is_looked_into(whole: bool) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))

    def step_fn(model: Any, batch: Any) -> torch.Tensor:
        x, y = batch
        out = model(x) if whole else model[2](model[1](model[0](x)))
        return nn.functional.cross_entropy(out, y)

    X, y = torch.randn(32, 4), torch.randint(0, 3, (32,))
    with nbd.Debugger(model, (X, y), step_fn=step_fn, runs=None) as dbg:
        found, slopes = dbg.network(3), dbg.network(3, "gradients")
        expected = model[0](X[3:4])[0].detach().double().numpy()
        assert np.allclose(found.values["0"].picture[0], expected)
        assert set(slopes.values) == {"0", "1", "2"}


def test_a_loop_of_its_own_is_looked_into_from_its_first_step_on() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    X = torch.randn(32, 4)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        with pytest.raises(ModelError, match="make a step first"):
            dbg.network()
        # Whoever opens the tab before the loop begins sees the picture as soon as there is one.
        queue_of(dbg).put(WatchProbe(VIEW, True)).answer.result(60)
        seen: list[int] = []
        for x in dbg.batches(X.split(8)):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
            seen.append(step_shown(dbg))
        assert seen == [-1, 1, 1, 1]
        found = dbg.network(2)
        assert (found.origin, found.samples) == ("a training step", 8)
        expected = model[0](X[2:3])[0].detach().double().numpy()
        assert np.allclose(found.values["0"].picture[0], expected)
        assert "unknown" in dbg.network(2, "gradients").reason


def test_other_samples_can_be_looked_at() -> None:
    with made("mlp") as dbg:
        X, y = blobs()
        found = dbg.network(1, data=(X[:3] + 100, y[:3]))
        assert (found.origin, found.samples, found.index) == ("given", 3, None)
        assert found.inputs is not None
        assert found.inputs.mean > 50
        assert set(dbg.network(1, "gradients").values) == set(found.values)
        alone = dbg.network(data=X[:2])
        assert (alone.samples, alone.target) == (2, None)
        assert "unknown" in dbg.network(0, "gradients").reason


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"sample": -1}, ArgumentError),
        ({"sample": True}, ArgumentError),
        ({"sample": 1.5}, ArgumentError),
        ({"sample": 100_000}, DataError),
        ({"show": "weights"}, ArgumentError),
        ({"show": None}, ArgumentError),
        ({"part": "nowhere"}, ArgumentError),
        ({"index": -1}, ArgumentError),
        ({"index": True}, ArgumentError),
        ({"index": 10**6}, DataError),
    ],
)
def test_bad_requests_are_refused_in_words(given: Any, error: type[Exception]) -> None:
    with made("mlp") as dbg:
        with pytest.raises(error, match=r"sample|index|show|There is no part 'nowhere'"):
            dbg.network(**given)
        assert dbg.network().step == 0


def test_a_sample_of_the_training_data_can_be_looked_at() -> None:
    X, y = blobs()
    val = X[:20] + 7, y[:20]
    with nbd.Debugger(tiny_mlp(), (X, y), nn.CrossEntropyLoss(), val_data=val, runs=None) as dbg:
        dbg.run(steps=2)
        fixed = dbg.network(3)
        found = dbg.network(index=41)
        assert (found.sample, found.samples, found.origin, found.index) == (
            -1, 20, "train_data", 41
        )  # fmt: skip
        assert found.target == int(y[41])
        assert "activations of sample 41 of train_data" in repr(found)
        expected = dbg.model[0](X[41:42])[0].detach().double().numpy()  # type: ignore[index]
        assert found.values["0"].mean == expected.mean()
        detail = dbg.network(part="0", index=41).detail
        assert detail is not None
        assert detail.samples == 20
        slopes = dbg.explain(index=41)
        assert np.array_equal(slopes.inputs, X[41].double().numpy())
        assert "sample 41 of train_data" in slopes._repr_html_()
        again = dbg.network(3)
        assert (again.origin, again.index) == (fixed.origin, fixed.index) == ("val_data", 3)


def test_a_worst_sample_is_looked_at_and_training_notices_nothing() -> None:
    with made("cnn") as bare, made("cnn") as dbg:
        bare.run(steps=12)
        for _ in range(12):
            dbg.run(steps=1)
            worst = dbg.worst_samples(top=1).samples[0].index
            assert worst is not None
            assert dbg.network(index=worst).index == worst
            assert dbg.explain(index=worst).index == worst
        assert same_weights(bare.model, dbg.model)
        assert equal(state(bare), state(dbg))


def test_samples_of_a_stream_have_no_index() -> None:
    def stream() -> Any:
        while True:
            yield torch.randn(8, 2), torch.arange(8) % 3

    with nbd.Debugger(nn.Linear(2, 3), stream(), nn.CrossEntropyLoss(), runs=None) as dbg:
        with pytest.raises(DataError, match="no index"):
            dbg.network(index=0)
        assert dbg.network().values


def test_details_tell_maps_filters_and_units_over_all_samples() -> None:
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 3))
    with torch.no_grad():
        model[0].weight[2], model[0].bias[2] = 0.0, -1.0
    generator = torch.Generator().manual_seed(0)
    X, y = torch.randn(50, 1, 8, 8, generator=generator), torch.randint(0, 3, (50,))
    with nbd.Debugger(model, (X, y), nn.CrossEntropyLoss(), runs=None) as dbg:
        detail = dbg.network(4, part="1").detail
        filters = dbg.network(4, part="0").detail
    assert detail is not None
    assert filters is not None
    after = model[:2](X).detach().double().numpy()
    # A batch of one may round differently from a batch of all.
    assert np.array_equal(detail.maps, model[:2](X[4:5])[0].detach().double().numpy())
    assert (detail.units, detail.samples, detail.dead) == (6, 50, (2,))
    means = np.abs(after).mean(axis=(0, 2, 3))
    assert [unit.number for unit in detail.excited] == [
        at for at in np.argsort(-means, kind="stable") if means[at] > 0
    ]
    first = detail.excited[0]
    per_sample = after[:, first.number].mean(axis=(1, 2))
    assert list(first.top) == list(np.argsort(-per_sample, kind="stable")[:4])
    assert np.array_equal(filters.weights, model[0].weight[:, 0].detach().double().numpy())


def test_attention_is_told_per_head() -> None:
    with made("transformer") as dbg:
        detail = dbg.network(0, part="body.layers.1.self_attn").detail
    assert detail is not None
    assert detail.attention.shape == (2, 6, 6)
    assert np.allclose(detail.attention.sum(axis=2), 1.0)


def test_nan_and_half_precision_are_drawn() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).to(torch.bfloat16)
    X, y = torch.randn(32, 4).bfloat16(), torch.randint(0, 3, (32,))
    X[0, 0] = math.nan
    with nbd.Debugger(model, (X, y), nn.CrossEntropyLoss(), runs=None) as dbg:
        found = dbg.network(0, part="0")
        assert found.values["0"].broken == 1.0
        assert found.detail is not None
        assert found.detail.dtype == "bfloat16"
        assert "NaN or Inf" in found._repr_html_()


@pytest.mark.parametrize(
    "shape", [(1,), (7,), (3000,), (5, 6), (200, 300), (20, 30, 40), (2, 3, 4, 5)]
)
def test_a_picture_is_small_and_made_of_the_values(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(size=shape)
    found = picture(values)
    assert found.ndim == 2
    assert found.size <= 48 * 48
    assert set(found.ravel()) <= {*values.ravel(), 0.0}


@pytest.mark.parametrize("name", some(ARCHITECTURES, share=8))
def test_stock_architectures_are_pictured_whole(name: str) -> None:
    with ARCHITECTURES[name].debugger() as dbg:
        before = state(dbg)
        found = dbg.network()
        assert found.structure.error is None
        assert equal(before, state(dbg))
        parts = found.structure.parts
        assert parts
        assert (
            not [
                part.name
                for part in parts
                if not (part.inputs or part.entry or part.kind == "Parameter")
            ]
            or session_of(dbg).step_fn is not None
        )
