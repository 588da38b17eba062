"""Attributions against those of Captum, on images, rows of a table and tokens, where it is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import nbdebug as nbd
from nbdebug.core.results.inside.attribution import Attribution

attr = pytest.importorskip("captum.attr", reason="Captum is not installed")

SAMPLE, CLASSES = 3, 3
# Of nbdebug's integrated gradients: midpoints of equal parts of the way.
PATH_POINTS = 32
Values = NDArray[np.float64]


class Reader(nn.Module):
    """Classes of a text by a recurrent layer, whose order matters."""

    def __init__(self) -> None:
        super().__init__()
        self.word, self.flow = nn.Embedding(11, 8), nn.GRU(8, 8, batch_first=True)
        self.last = nn.Linear(8, CLASSES)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.last(self.flow(self.word(tokens))[0][:, -1])
        return found


def _image() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 6, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(6 * 8 * 8, CLASSES),
    )  # fmt: skip


def _row() -> nn.Module:
    return nn.Sequential(nn.Linear(7, 16), nn.Tanh(), nn.Linear(16, CLASSES))


KINDS: dict[str, tuple[Callable[[], nn.Module], Callable[[], torch.Tensor]]] = {
    "image": (_image, lambda: torch.randn(24, 3, 16, 16)),
    "row": (_row, lambda: torch.randn(24, 7)),
    "tokens": (Reader, lambda: torch.randint(0, 11, (24, 9))),
}


def explained(kind: str, method: str, **more: Any) -> tuple[Attribution, Any, torch.Tensor]:
    """Our attribution after some training, a copy of the model in eval mode, and the sample."""
    torch.manual_seed(0)
    model, data = KINDS[kind][0](), KINDS[kind][1]()
    classes = torch.arange(len(data)) % CLASSES
    with nbd.Debugger(
        model, (data, classes), nn.CrossEntropyLoss(), batch_size=8, runs=None
    ) as dbg:
        dbg.run(steps=5)
        found = dbg.explain(SAMPLE, method, **more)
        x = data[SAMPLE : SAMPLE + 1].clone().requires_grad_(data.is_floating_point())
        return found, copy.deepcopy(dbg.model).eval(), x


def same(found: Attribution, expected: torch.Tensor) -> None:
    """Compare with one sample of Captum's; the largest difference over the largest value."""
    theirs: Values = expected.detach().double().numpy()[0]
    assert found.values.shape == theirs.shape
    assert np.abs(theirs).max() > 0
    assert np.abs(found.values - theirs).max() < 1e-5 * np.abs(theirs).max()


@pytest.mark.parametrize("kind", ["image", "row"])
def test_saliency_and_input_times_gradient(kind: str) -> None:
    found, model, x = explained(kind, "saliency")
    same(found, attr.Saliency(model).attribute(x, target=found.of))
    found, model, x = explained(kind, "input_x_gradient")
    same(found, attr.InputXGradient(model).attribute(x, target=found.of))


@pytest.mark.parametrize("kind", ["image", "row"])
def test_integrated_gradients(kind: str) -> None:
    found, model, x = explained(kind, "integrated_gradients")
    theirs, gap = attr.IntegratedGradients(model).attribute(
        x, target=found.of, n_steps=PATH_POINTS, method="riemann_middle",
        return_convergence_delta=True,
    )  # fmt: skip
    same(found, theirs)
    assert found.gap == pytest.approx(float(gap), abs=1e-5)


def test_occlusion_of_an_image_by_patches() -> None:
    found, model, x = explained("image", "occlusion")
    theirs = attr.Occlusion(model).attribute(
        x, (3, 2, 2), strides=(3, 2, 2), baselines=0, target=found.of
    )
    # Captum gives each input of a patch the whole loss; ours sum up to it.
    same(found, theirs / (3 * 2 * 2))


def test_occlusion_of_a_row_by_features() -> None:
    found, model, x = explained("row", "occlusion")
    same(found, attr.FeatureAblation(model).attribute(x, baselines=0, target=found.of))


@pytest.mark.parametrize(("layer", "place"), [("", "5"), ("4", "4"), ("0", "0")])
def test_grad_cam(layer: str, place: str) -> None:
    found, model, x = explained("image", "grad_cam", layer=layer)
    assert found.place == place
    theirs = attr.LayerGradCam(model, model[int(place)]).attribute(
        x, target=found.of, relu_attributions=True
    )
    same(found, theirs[:, 0])


def test_tokens_by_the_output_of_their_embedding() -> None:
    found, model, x = explained("tokens", "integrated_gradients")
    words = model.word(x).detach().requires_grad_()
    after = _AfterEmbedding(model)
    theirs = attr.IntegratedGradients(after).attribute(
        words, target=found.of, n_steps=PATH_POINTS, method="riemann_middle"
    )
    same(found, theirs.sum(-1))
    found, *_ = explained("tokens", "saliency")
    same(found, attr.Saliency(after).attribute(words, target=found.of).sum(-1))


class _AfterEmbedding(nn.Module):
    """A reader as a function of the output of its embedding."""

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.reader = reader

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.reader.last(self.reader.flow(words)[0][:, -1])
        return found


def test_occlusion_of_tokens_one_by_one() -> None:
    found, model, x = explained("tokens", "occlusion")
    words = model.word(x).detach().requires_grad_()
    groups = torch.arange(words.shape[1])[None, :, None].expand_as(words)
    theirs = attr.FeatureAblation(_AfterEmbedding(model)).attribute(
        words, baselines=0, feature_mask=groups, target=found.of
    )
    # Captum gives each number of an embedding the whole loss of its token.
    same(found, theirs[..., 0])
