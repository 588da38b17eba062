"""Statistics of a layer's output against a plain computation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nbdebug.model.module.names import Layer
from nbdebug.probes._layer_statistics import MAX_VALUES, active, by_unit, moments

SHAPES = [(64, 32), (8, 4, 5, 5), (8, 12, 6), (30,), (64, 16, 28, 28)]


def outputs(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(*shape, generator=generator) + 0.5).relu()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_moments_are_those_of_plain_torch(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    output = outputs(*shape).to(dtype)
    whole = output.double()
    units = by_unit(Layer("layer", nn.ReLU()), output)
    mean, spread, near = moments(units).tolist()
    # A sample of 16,384 values is off by a few hundredths of the spread at most.
    room = 1e-4 if whole.numel() <= MAX_VALUES else 0.05
    assert mean == pytest.approx(whole.mean().item(), abs=room)
    assert spread == pytest.approx(whole.std(correction=0).item(), abs=room)
    assert near == pytest.approx((whole.abs() <= 0.05).double().mean().item(), abs=room)


def test_values_that_are_not_finite_are_not_hidden() -> None:
    mean, spread, _ = moments(torch.tensor([1.0, torch.nan, 2.0])).tolist()
    assert mean != mean
    assert spread != spread


@pytest.mark.parametrize("shape", [(64, 32), (8, 4, 5, 5), (8, 12, 6)], ids=str)
def test_units_are_channels_or_features(shape: tuple[int, ...]) -> None:
    output = outputs(*shape)
    output.select(1 if len(shape) == 4 else -1, 2).zero_()
    units = by_unit(Layer("layer", nn.ReLU()), output)
    counts = active(units)
    channels = output.movedim(1, -1) if len(shape) == 4 else output
    expected = (channels.reshape(-1, channels.shape[-1]).abs() >= 1e-5).sum(0)
    assert counts.tolist() == expected.tolist()
    assert counts[2] == 0


def test_large_images_are_thinned_out_and_keep_their_channels() -> None:
    output = outputs(64, 16, 28, 28)
    output[:, 3].zero_()
    units = by_unit(Layer("conv", nn.Conv2d(1, 16, 3)), output)
    assert units.shape[1] == 16
    assert 0 < len(units) <= 2 * MAX_VALUES / 16
    assert (active(units) == 0).nonzero().flatten().tolist() == [3]
