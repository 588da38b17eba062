"""Clipping on a model on two devices; test_clipping_devices.py runs this in its own process."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

import nbdebug as nbd
from tests import second_device
from tests.controls.test_clipping import Adaptive, Clip, by_layer, each
from tests.problems import PlainLoop, blobs, same_weights
from tests.second_device import SECOND

STEPS = 20
ORDERS = [("cpu", SECOND), (SECOND, "cpu")]
second_device.install()


class Split(nn.Module):
    """Two layers, each on its device; the outputs come back to where the inputs lie."""

    def __init__(self, devices: tuple[str, str]) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.devices = devices
        self.below, self.above = nn.Linear(12, 16).to(devices[0]), nn.Linear(16, 4).to(devices[1])

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        inner = self.below(X.to(self.devices[0])).tanh()
        return self.above(inner.to(self.devices[1])).to(X.device)


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def plain(model: Split, clip: Clip | None) -> PlainLoop:
    X, y = (tensor.to(model.devices[0]) for tensor in blobs())
    return PlainLoop(model, (X, y), sgd(model), clip=clip).run(STEPS)


def clipped_like(reference: Split, clip: Clip | None, **controls: Any) -> nbd.Debugger:
    """Train under nbdebug and in the plain loop; equal weights are the claim."""
    loop = plain(reference, clip)
    model = Split(reference.devices)
    with nbd.Debugger(
        model, blobs(), nn.CrossEntropyLoss(), optimizer=sgd(model), batch_size=32, **controls
    ) as dbg:
        dbg.run(steps=STEPS)
        for trained in (reference, model):
            assert [p.device.type for p in trained.parameters()] == [
                device for device in trained.devices for _ in ("weight", "bias")
            ]
            assert all(p.grad.device == p.device for p in trained.parameters())
        assert same_weights(model, reference)
        assert dbg.history.frame("loss")["loss"].tolist() == loop.losses
        assert [str(n) for n in dbg.history.notices if "failed" in n.title] == []
    return dbg


@pytest.fixture(params=ORDERS, ids=["cpu first", "second first"])
def split(request: pytest.FixtureRequest) -> Split:
    return Split(request.param)


def test_the_second_device_refuses_to_mix_with_the_cpu() -> None:
    here, there = torch.ones(2, 3), torch.ones(2, 3).to(SECOND)
    assert there.device.type == SECOND
    assert type(there) is torch.Tensor
    for mix in (
        lambda: here + there,
        lambda: there * here,
        lambda: there.mul_(here),
        lambda: torch.stack([here, there]),
        lambda: nn.functional.linear(here, there),
        lambda: nn.functional.mse_loss(there, here),
        lambda: Split(("cpu", SECOND)).above(torch.ones(1, 16)),
    ):
        with pytest.raises(RuntimeError, match="on the same device"):
            mix()
    with pytest.raises(TypeError, match="to numpy"):
        there.numpy()


def test_the_second_device_computes_what_the_cpu_does(split: Split) -> None:
    # Up to rounding: torch has other ways there through the optimizer and the layers.
    one_device = Split(("cpu", "cpu"))
    assert plain(split, None).losses == pytest.approx(plain(one_device, None).losses, rel=1e-5)
    torch.testing.assert_close(split.cpu().state_dict(), one_device.state_dict())


def test_off(split: Split) -> None:
    dbg = clipped_like(split, None, clip_mode="off")
    assert dbg.history.frame("clipped")["clipped"].sum() == 0


@pytest.mark.parametrize("p", ["1", "2", "inf"])
@pytest.mark.parametrize("threshold", [1e-3, 0.4, 1e4])
def test_global_norm(split: Split, threshold: float, p: str) -> None:
    clip = partial(clip_grad_norm_, max_norm=threshold, norm_type=float(p))
    dbg = clipped_like(split, clip, clip_mode="norm", clip_threshold=threshold, clip_norm_type=p)
    clipped = dbg.history.frame("clipped")["clipped"].mean()
    assert clipped == {1e-3: 1.0, 1e4: 0.0}.get(threshold, clipped)


@pytest.mark.parametrize("threshold", [1e-3, 0.05, 1e4])
def test_value(split: Split, threshold: float) -> None:
    clip = partial(clip_grad_value_, clip_value=threshold)
    clipped_like(split, clip, clip_mode="value", clip_threshold=threshold)


@pytest.mark.parametrize("p", ["1", "2", "inf"])
@pytest.mark.parametrize("threshold", [1e-3, 0.1, 1e4])
def test_each_parameter(split: Split, threshold: float, p: str) -> None:
    clip = partial(each, limit=threshold, p=float(p))
    clipped_like(split, clip, clip_mode="parameter", clip_threshold=threshold, clip_norm_type=p)


@pytest.mark.parametrize("p", ["1", "2", "inf"])
def test_each_layer(split: Split, p: str) -> None:
    clip = partial(by_layer, {"below": 0.05, "above": 0.02}, float(p), split)
    clipped_like(
        split, clip, clip_mode="layer", clip_threshold=0.05, clip_norm_type=p,
        clip_overrides={"above": 0.02},
    )  # fmt: skip


@pytest.mark.parametrize("p", ["1", "2", "inf"])
@pytest.mark.parametrize("percentile", [0.0, 10.0, 90.0])
def test_adaptive(split: Split, percentile: float, p: str) -> None:
    clip = Adaptive(percentile, float(p))
    dbg = clipped_like(
        split, clip, clip_mode="adaptive", clip_percentile=percentile, clip_norm_type=p
    )
    assert dbg.history.frame("clip_norm")["clip_norm"].tolist() == clip.norms


def test_norms_over_both_devices(split: Split) -> None:
    norms: list[float] = []

    def look(parameters: list[nn.Parameter]) -> None:
        gradients = [p.grad for p in parameters]
        norms.append(nn.utils.get_total_norm(gradients).item())
        clip_grad_norm_(parameters, 0.2)

    dbg = clipped_like(split, look, clip_mode="norm", clip_threshold=0.2)
    frame = dbg.history.frame(["grad_norm", "grad_norm_clipped"])
    assert frame["grad_norm"].tolist() == norms
    last = nn.utils.get_total_norm([p.grad for p in split.parameters()]).item()
    assert frame["grad_norm_clipped"].iloc[-1] == pytest.approx(last)
