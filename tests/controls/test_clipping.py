"""Every way of clipping against torch's own functions in a plain loop, to the bit."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

import nbdebug as nbd
from tests.problems import PlainLoop, blobs, same_weights, tiny_mlp

STEPS = 40
Clip = Callable[[list[nn.Parameter]], Any]


class Awkward(nn.Module):
    """A frozen layer, a parameter without gradient, a 0-d one, and two layers of one module."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.frozen = nn.Linear(12, 12)
        self.frozen.requires_grad_(False)
        self.unused = nn.Parameter(torch.ones(3))
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.body = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 16))
        self.head = nn.Linear(16, 4)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.frozen(X) * self.scale).relu())


def each(parameters: Sequence[nn.Parameter], limit: float, p: float) -> None:
    for parameter in parameters:
        clip_grad_norm_([parameter], limit, p)


def by_layer(limits: dict[str, float], p: float, model: nn.Module, _: Any) -> None:
    for name, limit in limits.items():
        module = model if name == "" else model.get_submodule(name)
        clip_grad_norm_(list(module.parameters(recurse=False)), limit, p)


class Adaptive:
    """AutoClip as its authors write it, with a window."""

    def __init__(self, q: float, p: float) -> None:
        self.q, self.p = q, p
        self.norms: list[float] = []

    def __call__(self, parameters: list[nn.Parameter]) -> None:
        gradients = [q.grad for q in parameters if q.grad is not None]
        self.norms.append(nn.utils.get_total_norm(gradients, self.p).item())
        clip_grad_norm_(parameters, float(np.percentile(self.norms[-1000:], self.q)), self.p)


def both(
    build: Callable[[], nn.Module], clip: Clip | Callable[[nn.Module], Clip], **controls: Any
) -> nbd.Debugger:
    """Train under nbdebug and in the plain loop; equal weights are the claim."""
    torch.manual_seed(0)
    reference = build()
    chosen = clip(reference) if getattr(clip, "takes_model", False) else clip
    optimizer = torch.optim.SGD((p for p in reference.parameters() if p.requires_grad), lr=0.1)
    loop = PlainLoop(reference, blobs(), optimizer, clip=chosen)
    loop.run(STEPS)
    torch.manual_seed(0)
    model = build()
    made = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.1)
    with nbd.Debugger(
        model, blobs(), nn.CrossEntropyLoss(), optimizer=made, batch_size=32, **controls
    ) as dbg:
        dbg.run(steps=STEPS)
        assert same_weights(model, reference)
        assert dbg.history.frame("loss")["loss"].tolist() == loop.losses
    return dbg


@pytest.mark.parametrize("p", ["1", "2", "inf"])
@pytest.mark.parametrize("threshold", [1e-3, 0.2, 1e4])
@pytest.mark.parametrize("build", [tiny_mlp, Awkward])
def test_global_norm(build: Callable[[], nn.Module], threshold: float, p: str) -> None:
    clip = partial(clip_grad_norm_, max_norm=threshold, norm_type=float(p))
    dbg = both(build, clip, clip_mode="norm", clip_threshold=threshold, clip_norm_type=p)
    clipped = dbg.history.frame("clipped")["clipped"].mean()
    assert clipped == {1e-3: 1.0, 1e4: 0.0}.get(threshold, clipped)


@pytest.mark.parametrize("threshold", [1e-3, 0.05, 1e4])
@pytest.mark.parametrize("build", [tiny_mlp, Awkward])
def test_value(build: Callable[[], nn.Module], threshold: float) -> None:
    clip = partial(clip_grad_value_, clip_value=threshold)
    both(build, clip, clip_mode="value", clip_threshold=threshold)


@pytest.mark.parametrize("p", ["1", "2", "inf"])
@pytest.mark.parametrize("threshold", [1e-3, 0.1, 1e4])
@pytest.mark.parametrize("build", [tiny_mlp, Awkward])
def test_each_parameter(build: Callable[[], nn.Module], threshold: float, p: str) -> None:
    clip = partial(each, limit=threshold, p=float(p))
    both(build, clip, clip_mode="parameter", clip_threshold=threshold, clip_norm_type=p)


@pytest.mark.parametrize("p", ["1", "2", "inf"])
def test_each_layer_with_overrides(p: str) -> None:
    limits = {"": 0.05, "body.0": 0.02, "body.2": 0.02, "head": 100.0}

    def clip(model: nn.Module) -> Clip:
        return partial(by_layer, limits, float(p), model)

    clip.takes_model = True  # type: ignore[attr-defined]
    dbg = both(
        Awkward,
        clip,
        clip_mode="layer",
        clip_threshold=0.05,
        clip_norm_type=p,
        clip_overrides={"head": 100.0, "body": 0.02},
    )
    assert dbg.controls["clip_overrides"] == {
        "awkward": 0.0, "frozen": 0.0, "body.0": 0.02, "body.2": 0.02, "head": 100.0
    }  # fmt: skip


@pytest.mark.parametrize("p", ["1", "2", "inf"])
@pytest.mark.parametrize("percentile", [0.0, 10.0, 90.0])
def test_adaptive(percentile: float, p: str) -> None:
    clip = Adaptive(percentile, float(p))
    dbg = both(Awkward, clip, clip_mode="adaptive", clip_percentile=percentile, clip_norm_type=p)
    assert dbg.history.frame("clip_norm")["clip_norm"].tolist() == clip.norms
    assert dbg.history.last("clip_threshold") <= max(clip.norms)


def test_the_norm_after_clipping_is_the_norm_of_what_is_there() -> None:
    for mode, threshold in (("parameter", 0.05), ("layer", 0.05), ("value", 0.01)):
        seen: list[float] = []
        model = Awkward()
        optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.1)

        def look(*_: Any, model: nn.Module = model, seen: list[float] = seen) -> None:
            gradients = [p.grad for p in model.parameters() if p.grad is not None]
            seen.append(nn.utils.get_total_norm(gradients).item())

        optimizer.register_step_pre_hook(look)
        with nbd.Debugger(
            model, blobs(), nn.CrossEntropyLoss(), optimizer=optimizer,
            clip_mode=mode, clip_threshold=threshold,
        ) as dbg:  # fmt: skip
            dbg.run(steps=5)
            after = dbg.history.frame(["grad_norm", "grad_norm_clipped"])
            assert after["grad_norm_clipped"].tolist() == pytest.approx(seen)
            assert (after["grad_norm_clipped"] < after["grad_norm"]).all()


def test_mixed_dtypes_are_clipped_as_torch_does() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.low, self.high = nn.Linear(12, 8).double(), nn.Linear(8, 4)

        def forward(self, X: torch.Tensor) -> torch.Tensor:
            return self.high(self.low(X.double()).float())

    for p in ("2", "inf"):
        clip = partial(clip_grad_norm_, max_norm=0.1, norm_type=float(p))
        both(Mixed, clip, clip_mode="norm", clip_threshold=0.1, clip_norm_type=p)


class Scaled:
    """The plain loop with a scaler, as PyTorch's notes on mixed precision write it."""

    def __init__(self, model: nn.Module, scaler: torch.amp.GradScaler) -> None:
        self.model, self.scaler = model, scaler
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        self.skipped = 0

    def run(self, steps: int) -> None:
        X, y = blobs()
        order = torch.Generator().manual_seed(0)
        torch.manual_seed(0)
        left = torch.empty(0, dtype=torch.int64)
        for _ in range(steps):
            if not len(left):
                left = torch.randperm(len(X), generator=order)
            batch, left = left[:32], left[32:]
            loss = loud_loss(self.model(X[batch]), y[batch])
            self.optimizer.zero_grad()
            self.scaler.scale(loss).backward()
            self.scaler.unscale_(self.optimizer)
            clip_grad_norm_(self.model.parameters(), 0.3)
            before = self.scaler.get_scale()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.skipped += self.scaler.get_scale() < before


def loud_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Large enough for gradients to overflow at the largest scale there is."""
    return 8 * nn.functional.cross_entropy(outputs, targets)


def make_scaler() -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=4)


def test_a_scaler_is_unscaled_before_clipping_and_its_skipped_steps_are_counted() -> None:
    plain = Scaled(tiny_mlp(), make_scaler())
    plain.run(STEPS)
    assert 0 < plain.skipped < STEPS

    model, scaler = tiny_mlp(), make_scaler()
    start = copy.deepcopy(model.state_dict())
    with nbd.Debugger(
        model, blobs(), loud_loss, batch_size=32, scaler=scaler,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        clip_mode="norm", clip_threshold=0.3,
    ) as dbg:  # fmt: skip
        for _ in range(2):
            dbg.run(steps=STEPS)
            assert same_weights(model, plain.model)
            assert dbg.history.last("skipped") == plain.skipped
            assert dbg.history.last("loss_scale") == plain.scaler.get_scale()
            norms = dbg.history.frame("grad_norm")["grad_norm"]
            assert len(norms) == STEPS - plain.skipped
            dbg.reset()
            assert all(
                torch.equal(start[name], value) for name, value in model.state_dict().items()
            )


def test_with_a_scaler_training_goes_on_after_a_loss_that_is_not_finite() -> None:
    factor = math.inf

    def loss_fn(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return factor * nn.functional.cross_entropy(outputs, targets)

    scaler = torch.amp.GradScaler("cpu")
    with nbd.Debugger(tiny_mlp(), blobs(), loss_fn, scaler=scaler) as dbg:
        with pytest.raises(nbd.NonFiniteError, match="The loss is inf"):
            dbg.run(steps=3)
        with pytest.raises(nbd.NonFiniteError, match="The loss is inf"):
            dbg.run(steps=3)
        assert len(dbg.lr_range_test(steps=10).lr) == 0
        factor = 1.0
        dbg.run(steps=3)
        assert dbg.history.status.step == 3


def test_something_that_is_no_scaler_is_refused() -> None:
    with pytest.raises(nbd.NbdebugError, match=r"float.*GradScaler"):
        nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), scaler=2.0)


class Reader(nn.Module):
    """Reads features one by one; with `limit`, clips the gradient into its second layer."""

    def __init__(self, limit: float = 0.0, packed: bool = False) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.limit, self.packed = limit, packed
        self.below, self.above = nn.Linear(1, 6), nn.LSTM(6, 8, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        inner = self.below(X.unsqueeze(-1))
        beside = inner.sum((1, 2), keepdim=True)[:, 0]
        if self.limit:
            limit, inner = self.limit, inner.view_as(inner)
            inner.register_hook(lambda gradient: gradient.clamp(-limit, limit))
        if self.packed:
            out, _ = self.above(pack_sequence(list(inner)))
            out, _ = pad_packed_sequence(out, batch_first=True)
        else:
            out, _ = self.above(inner)
        return self.head(out[:, -1]) + beside


@pytest.mark.parametrize("packed", [False, True])
def test_gradients_into_a_recurrent_layer(packed: bool) -> None:
    reference = Reader(1e-5, packed)
    PlainLoop(reference, blobs(), torch.optim.SGD(reference.parameters(), lr=0.1)).run(5)
    unclipped = Reader(0.0, packed)
    PlainLoop(unclipped, blobs(), torch.optim.SGD(unclipped.parameters(), lr=0.1)).run(5)
    assert not same_weights(reference, unclipped)
    model = Reader(0.0, packed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with nbd.Debugger(
        model, blobs(), nn.CrossEntropyLoss(), batch_size=32, optimizer=optimizer,
        clip_recurrent=1e-5,
    ) as dbg:  # fmt: skip
        dbg.run(steps=5)
        assert same_weights(model, reference)
        assert not model.above._forward_pre_hooks


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("clip_percentile", 101.0),
        ("clip_percentile", -1.0),
        ("clip_norm_type", "3"),
        ("clip_overrides", {"0": -1.0}),
        ("clip_overrides", {"haed": 1.0}),
        ("clip_threshold", math.inf),
        ("clip_mode", "sometimes"),
        ("clip_recurrent", 1.0),
    ],
)
def test_bad_values_are_refused_by_name_and_change_nothing(name: str, value: Any) -> None:
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss()) as dbg:
        before = dict(dbg.controls)
        with pytest.raises(nbd.ControlValueError, match=name):
            dbg.set(**{name: value})
        assert dict(dbg.controls) == before


def test_a_layer_that_does_not_exist_is_answered_with_those_that_do() -> None:
    with (
        nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss()) as dbg,
        pytest.raises(nbd.ControlValueError, match=r"head.*0, 1, 4"),
    ):
        dbg.set(clip_overrides={"head": 1.0})
