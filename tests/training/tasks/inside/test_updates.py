"""Updates in the picture of the network, against weights that are copied by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.html.heat import heat
from nbdebug.core.results.inside.network_page import percent_text
from nbdebug.core.results.inside.network_picture import NetworkPicture
from nbdebug.core.results.inside.part_values import PartValues
from nbdebug.training.tasks.inside.values import picture
from tests.problems import blobs
from tests.training.tasks.inside.test_network_picture import made

# The probe of update ratios measures at this step.
MEASURED = 10


def weights(dbg: nbd.Debugger) -> dict[str, torch.Tensor]:
    return {name: one.detach().double().clone() for name, one in dbg.model.named_parameters()}


@pytest.mark.parametrize("kind", ["mlp", "cnn", "gru", "transformer"])
def test_ratio_and_picture_are_those_of_weights_copied_by_hand(kind: str) -> None:
    with made(kind) as dbg:
        dbg.run(steps=MEASURED)
        before = weights(dbg)
        dbg.run(steps=1)
        after = weights(dbg)
        # Later steps are not measured before step 20.
        dbg.run(steps=3)
        found = dbg.network(0, "updates")
        shapes = {part.name for part in found.structure.parts if part.parameters}
    assert found.updated == MEASURED
    assert found.values.keys() == shapes
    for name, values in found.values.items():
        own = {n: w for n, w in before.items() if n == name or n.startswith(f"{name}.")}
        moved = math.hypot(*(float((after[n] - w).norm()) for n, w in own.items()))
        norm = math.hypot(*(float(w.norm()) for w in own.values()))
        assert values.ratio == pytest.approx(moved / norm, rel=1e-4)
        largest = max(own, key=lambda n: own[n].numel())
        old = before[largest]
        relative = ((after[largest] - old) / old.square().mean().sqrt()).numpy()
        drawn = picture(relative.reshape(len(relative), -1) if relative.ndim > 2 else relative)
        assert np.allclose(values.picture, drawn, rtol=1e-3, atol=1e-6)
        assert values.count == relative.size


def test_the_table_has_the_ratio_and_the_picture_names_its_step() -> None:
    with made("mlp") as dbg:
        dbg.run(steps=1)
        found = dbg.network(show="updates", part="0")
    frame = found.to_frame().set_index("name")
    assert frame.ratio["0"] == found.values["0"].ratio
    # Dropout and ReLU have no weights.
    assert frame.ratio.isna().sum() == 2
    assert "update of step 0" in found.place
    assert found.detail is not None
    assert found.detail.maps.shape[0] == 1
    page = found._repr_html_()
    assert f"{found.values['0'].ratio * 100:.2g}% of the weights by L2 norm" in page
    assert "L2 norm of the update" in page
    assert "eval mode" not in page
    other = NetworkPicture(found.step, found.structure, values=found.values)
    assert "ratio" not in other.to_frame()


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.00412, "0.41%"), (1.24e-5, "0.0012%"), (0.1234, "12.3%"), (1.37, "137%"), (0.0, "0%")],
)
def test_a_share_is_short(ratio: float, text: str) -> None:
    assert percent_text(ratio) == text
    # About 23 letters fit into a box.
    assert len(f"update up to {text}") < 23


def test_a_step_that_was_not_made_or_is_undone_has_no_update() -> None:
    with made("mlp") as dbg:
        assert dbg.network(show="updates").values == {}
        dbg.run(steps=MEASURED + 2)
        assert dbg.network(show="updates").updated == MEASURED
        dbg.rewind(3)
        found = dbg.network(show="updates")
        assert found.values == {}
        assert found.updated is None
        assert "No update was measured yet" in found.reason
        dbg.run(steps=1)
        assert dbg.network(show="updates").updated == 3


def test_frozen_layers_have_none() -> None:
    with made("mlp") as dbg:
        dbg.model[0].requires_grad_(False)
        dbg.run(steps=1)
        found = dbg.network(show="updates")
    assert "0" not in found.values
    assert "frozen" in found._repr_html_()


def test_weights_too_large_to_keep_have_a_ratio_and_no_picture() -> None:
    torch.manual_seed(0)
    X, y = blobs()
    model = nn.Sequential(nn.Linear(X.shape[1], 9_000), nn.ReLU(), nn.Linear(9_000, 2_000))
    with nbd.Debugger(model, (X, y), nn.CrossEntropyLoss(), batch_size=16, runs=None) as dbg:
        before = weights(dbg)
        dbg.run(steps=1)
        after = weights(dbg)
        found = dbg.network(show="updates", part="2")
    moved = [(after[n] - before[n]).norm() for n in ("2.weight", "2.bias")]
    norms = [before[n].norm() for n in ("2.weight", "2.bias")]
    ratio = math.hypot(*map(float, moved)) / math.hypot(*map(float, norms))
    # The norm of torch in float32 is 1 % off for 18 million equal numbers.
    assert found.values["2"].ratio == pytest.approx(ratio, rel=0.02)
    assert found.values["2"].picture.size == 0
    page = found._repr_html_()
    assert "<img" not in page
    assert found.detail is not None
    assert not found.detail.maps.size


def test_a_folded_block_shows_its_largest_update() -> None:
    torch.manual_seed(0)
    X, y = blobs()
    block = [nn.Sequential(nn.Linear(X.shape[1], X.shape[1]), nn.ReLU()) for _ in range(30)]
    model = nn.Sequential(*block, nn.Linear(X.shape[1], 4))
    with nbd.Debugger(model, (X, y), nn.CrossEntropyLoss(), batch_size=16, runs=None) as dbg:
        dbg.run(steps=1)
        found = dbg.network(show="updates")
    folded = [part for part in found.structure.folded().parts if part.size > 1]
    assert folded
    members = [found.values[name] for name in folded[0].members if name in found.values]
    most: PartValues = max(members, key=lambda one: one.ratio)
    page = found._repr_html_()
    assert f"<small>update up to {percent_text(most.ratio)}</small>" in page
    assert heat(most.picture) in page
