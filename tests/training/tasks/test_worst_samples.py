"""The worst samples of a batch against a plain loop over its samples."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import IterableDataset

import nbdebug as nbd
from nbdebug.core.html.thumbnail import thumbnail
from nbdebug.core.results.worst_samples import WorstSamples
from nbdebug.examples.catalogue import SICK_TRAININGS
from tests.problems import blobs, images, tiny_cnn, tiny_mlp
from tests.training.timeline.timelines import equal, state


def plain(model: nn.Module, X: torch.Tensor, y: torch.Tensor) -> list[tuple[float, float]]:
    """Loss and gradient norm of each sample in a plain loop."""
    found = []
    model.eval()
    for i in range(len(X)):
        model.zero_grad()
        loss = nn.functional.cross_entropy(model(X[i : i + 1]), y[i : i + 1])
        loss.backward()
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        found.append((loss.item(), math.hypot(*(float(g.norm()) for g in grads))))
    model.zero_grad()
    model.train()
    return found


@pytest.mark.parametrize(
    ("make", "data"), [(tiny_mlp, blobs), (tiny_cnn, images)], ids=["mlp", "cnn"]
)
def test_losses_and_gradients_are_those_of_a_plain_loop(make: Any, data: Any) -> None:
    X, y = data(80)
    with nbd.Debugger(make(), (X, y), nn.CrossEntropyLoss(), batch_size=80) as dbg:
        found = dbg.worst_samples(0, top=80)
        assert (found.step, found.looked_at, found.count) == (0, 80, 80)
        expected = plain(dbg.model, X, y)
    assert sorted(sample.index for sample in found.samples) == list(range(80))  # type: ignore[type-var]
    assert [s.loss for s in found.samples] == sorted((s.loss for s in found.samples), reverse=True)
    for sample in found.samples:
        loss, norm = expected[sample.index]
        assert sample.loss == pytest.approx(loss, rel=1e-5)
        assert sample.grad_norm == pytest.approx(norm, rel=1e-4)
        assert sample.target == int(y[sample.index])
        picture = sample.picture.startswith("data:image/png;base64,")
        assert picture is (X.ndim == 4)


def test_training_notices_nothing() -> None:
    ends = []
    for look in (False, True):
        with nbd.Debugger(tiny_cnn(), images(), nn.CrossEntropyLoss(), batch_size=32) as dbg:
            dbg.run(steps=12)
            if look:
                before = state(dbg)
                dbg.worst_samples()
                dbg.worst_samples(4)
                assert equal(before, state(dbg))
                assert dbg.model.training
            dbg.run(steps=12)
            ends.append((state(dbg), dbg.history.frame("loss")["loss"].tolist()))
    assert equal(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]


def test_a_model_that_draws_in_eval_mode_moves_no_random_number_of_training() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = tiny_mlp()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x + 0.1 * torch.randn_like(x))

    losses = []
    for look in (False, True):
        with nbd.Debugger(Noisy(), blobs(), nn.CrossEntropyLoss(), batch_size=32) as dbg:
            dbg.break_when("step == 5")
            dbg.run(steps=20)
            if look:
                dbg.worst_samples()
            dbg.clear_breakpoints()
            dbg.run(steps=10)
            losses.append(dbg.history.frame("loss")["loss"].tolist())
    assert losses[0] == losses[1]


def test_the_batch_is_that_of_the_step() -> None:
    X, y = blobs()
    with nbd.Debugger(tiny_mlp(), (X, y), nn.CrossEntropyLoss(), batch_size=32) as dbg:
        dbg.break_when("step == 9")
        dbg.run(steps=20)
        assert dbg.stopped is not None
        indices = set(dbg.stopped.indices.tolist())
        assert {s.index for s in dbg.worst_samples(top=32).samples} == indices
        dbg.clear_breakpoints()
        dbg.run(steps=5)
        assert dbg.worst_samples().step == dbg.history.status.step - 1
        assert {s.index for s in dbg.worst_samples(9, top=32).samples} == indices


def test_a_sample_that_is_not_finite_comes_first_and_can_be_left_out() -> None:
    with SICK_TRAININGS["a sample with NaN or Inf"].debugger(0) as dbg:
        with pytest.raises(nbd.NonFiniteError):
            dbg.run(steps=100)
        found = dbg.worst_samples()
        assert found.samples[0].index == 700
        assert math.isnan(found.samples[0].loss)
        assert math.isfinite(found.samples[1].loss)
        dbg.set(excluded_samples=[found.samples[0].index])
        dbg.run(steps=100)
        assert dbg.failure is None
        assert dbg.history.results.of(WorstSamples) == found


def test_an_outlier_is_the_sample_behind_its_spike() -> None:
    with SICK_TRAININGS["an outlier among the samples"].debugger(0) as dbg:
        dbg.run(steps=200)
        spike = next(one for one in dbg.findings if one.name == "gradient_spike")
        found = dbg.worst_samples(spike.since)
        assert found.samples[0].index == 1300
        assert found.samples[0].target != found.samples[0].prediction
        assert "1300" in repr(found)
        assert found.frame().loc[0, "index"] == 1300
        assert "<table" in found._repr_html_()


def test_a_batch_that_was_left_out_is_the_one_of_its_step() -> None:
    with SICK_TRAININGS["a sample with NaN or Inf"].debugger(0) as dbg:
        dbg.set(not_finite="exclude")
        dbg.run(steps=60)
        (left_out,) = [n.step for n in dbg.history.notices if n.title == "A batch was excluded"][:1]
        assert dbg.worst_samples(left_out).samples[0].index == 700


def test_a_recurrent_model_is_looked_at_too() -> None:
    X = torch.randn(60, 7, 3)
    y = (X.mean((1, 2)) > 0).long()

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = nn.GRU(3, 8, batch_first=True), nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.rnn(x)[0][:, -1])

    with nbd.Debugger(Reader(), (X, y), nn.CrossEntropyLoss(), batch_size=20) as dbg:
        dbg.run(steps=4)
        found = dbg.worst_samples(top=20)
        assert len(found.samples) == 20
        assert all(sample.grad_norm > 0 for sample in found.samples)


def test_a_stream_has_no_indices() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            X, y = blobs()
            return iter(zip(X, y, strict=True))

    with nbd.Debugger(tiny_mlp(), Stream(), nn.CrossEntropyLoss(), batch_size=32) as dbg:
        dbg.run(steps=5)
        first = dbg.worst_samples(top=1).samples[0]
        assert first.index is None
        assert first.name.startswith("position ")


def test_a_step_fn_gives_losses_alone() -> None:
    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    with nbd.Debugger(tiny_mlp(), blobs(), step_fn=step_fn, batch_size=32) as dbg:
        dbg.run(steps=3)
        found = dbg.worst_samples(top=3)
        assert len(found.samples) == 3
        assert found.samples[0].prediction is None


def test_what_takes_no_single_sample_says_so() -> None:
    class Pairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = tiny_mlp()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x.unflatten(0, (-1, 2)).flatten(0, 1))

    with nbd.Debugger(Pairs(), blobs(), nn.CrossEntropyLoss(), batch_size=50) as dbg:
        dbg.run(steps=3)
        with pytest.raises(nbd.ModelError, match="single sample"):
            dbg.worst_samples()
        dbg.run(steps=3)
    with (
        nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss()) as other,
        pytest.raises(nbd.ArgumentError, match="whole number from 1"),
    ):
        other.worst_samples(top=0)


def test_words_of_the_user_are_escaped_in_the_table() -> None:
    from nbdebug.core.results.worst_samples import WorstSample, WorstSamples

    found = WorstSamples(1, (WorstSample(3, 0, 1.0, 1.0, "<b>", "<i>"),), 1, 1)
    assert "<i>" not in found._repr_html_()
    assert "&lt;i&gt;" in found._repr_html_()


def test_a_thumbnail_is_a_png_of_the_values() -> None:
    values = np.linspace(-1.0, 1.0, 3 * 64 * 40).reshape(3, 64, 40)
    raw = base64.b64decode(thumbnail(values).partition(",")[2])
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    width, height, bits, colour = struct.unpack(">IIBB", raw[16:26])
    assert (width, height, bits, colour) == (20, 32, 8, 2)
    start = raw.index(b"IDAT") + 4
    pixels = zlib.decompress(raw[start : raw.index(b"IEND") - 8])
    rows = np.frombuffer(pixels, np.uint8).reshape(32, 1 + 3 * 20)
    assert not rows[:, 0].any()
    thinned = values[:, ::2, ::2]
    expected = 255 * (thinned - values[:, ::2, ::2].min()) / np.ptp(thinned)
    assert np.allclose(rows[:, 1:].reshape(32, 20, 3).transpose(2, 0, 1), expected, atol=4.0)
    assert thumbnail(np.full((1, 4, 4), np.nan)) == thumbnail(np.zeros((5, 4, 4))) == ""
