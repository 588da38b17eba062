"""A class that is never predicted is named; one that the loss leaves out, or that comes, is not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbdebug as nbd
from nbdebug.core.results.findings import Finding

RULES = {"missed_class", "few_updates"}


def points(share: float, shift: float, classes: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    frequencies = torch.full((classes,), (1 - share) / (classes - 1))
    frequencies[-1] = share
    labels = torch.multinomial(frequencies, 2000, True, generator=draw)
    noise = torch.randn(2000, 8, generator=draw)
    return noise + 2 * shift * functional.one_hot(labels, 8), labels


def found(
    data: Any, loss: nn.Module, outputs: int = 2, steps: int = 450, **options: Any
) -> list[Finding]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, outputs))
    given = {"lr": 3e-3, "batch_size": 64, **options}
    with nbd.Debugger(model, data, loss, runs=None, **given) as dbg:
        dbg.run(steps=steps)
        return [one for one in dbg.findings if one.name in RULES]


@pytest.mark.parametrize("classes", [2, 5])
def test_a_rare_class_that_is_never_predicted_is_named(classes: int) -> None:
    data = points(0.03, 0.2, classes)
    (finding,) = found(data, nn.CrossEntropyLoss(), classes, 600)
    assert finding.name == "missed_class"
    assert finding.seen.startswith(f"Class {classes - 1} has ")


def test_so_is_one_of_two_with_one_output() -> None:
    inputs, labels = points(0.03, 0.2)
    (finding,) = found((inputs, labels[:, None].float()), nn.BCEWithLogitsLoss(), 1, 600)
    assert finding.seen.startswith("Class 1 has ")


@pytest.mark.parametrize(
    ("share", "shift", "classes", "loss"),
    [
        (0.05, 2.0, 2, nn.CrossEntropyLoss()),
        (0.03, 2.0, 5, nn.CrossEntropyLoss()),
        (0.03, 0.2, 2, nn.CrossEntropyLoss(weight=torch.tensor([0.03, 1.0]))),
        (0.03, 2.0, 5, nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0]))),
        (0.40, 2.0, 5, nn.CrossEntropyLoss(ignore_index=4)),
    ],
    ids=["clear", "clear of five", "weighted", "weight of 0", "ignore_index"],
)
def test_what_is_predicted_or_does_not_count_is_not(
    share: float, shift: float, classes: int, loss: nn.Module
) -> None:
    assert not found(points(share, shift, classes), loss, classes)


def test_batches_of_most_of_the_data_are_named() -> None:
    (finding,) = found(
        points(0.5, 0.3), nn.CrossEntropyLoss(), steps=60, batch_size=1000, lr=0.05, optimizer="sgd"
    )
    assert finding.name == "few_updates"
    assert "2 updates of 1,000 samples" in finding.seen
    assert dict(finding.remedies[0].settings) == {"batch_size": 32}


@pytest.mark.parametrize("options", [{"lr": 0.05}, {"batch_size": 64}])
def test_few_updates_that_suffice_are_not(options: dict[str, Any]) -> None:
    given = {"batch_size": 2000, **options}
    assert not found(points(0.5, 2.0), nn.CrossEntropyLoss(), steps=60, **given)


def masks(shape: tuple[int, ...], shift: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs [N, 1, ...], and places [N, ...] of which 3 % are 1; `shift` makes them visible."""
    draw = torch.Generator().manual_seed(0)
    labels = (torch.rand(256, *shape, generator=draw) < 0.03).long()
    noise = torch.randn(256, 1, *shape, generator=draw)
    return noise + shift * labels[:, None], labels


def dense(
    data: Any, loss: Any, outputs: int, flat: bool = False, volume: bool = False
) -> list[Finding]:
    torch.manual_seed(0)
    kind = nn.Conv3d if volume else nn.Conv2d
    model = nn.Sequential(kind(1, 4, 1), nn.ReLU(), kind(4, outputs, 1))
    whole = nn.Sequential(model, nn.Flatten(1, 2)) if flat else model
    with nbd.Debugger(whole, data, loss, runs=None, lr=3e-2, batch_size=32) as dbg:
        dbg.run(steps=420)
        return [one for one in dbg.findings if one.name == "missed_class"]


BCE = nn.BCEWithLogitsLoss()


@pytest.mark.parametrize("shift", [0.2, 6.0])
@pytest.mark.parametrize("kind", ["column", "flat", "one-hot", "volume", "classes"])
def test_a_rare_class_of_pixels_is_named_unless_it_is_predicted(kind: str, shift: float) -> None:
    inputs, labels = masks((4, 4, 4) if kind == "volume" else (40, 40), shift)
    column = labels[:, None].float()
    one_hot = torch.stack([1 - labels, labels], 1).float()
    found = {
        "column": lambda: dense((inputs, column), BCE, 1),
        "flat": lambda: dense((inputs, labels.float()), BCE, 1, flat=True),
        "one-hot": lambda: dense((inputs, one_hot), nn.CrossEntropyLoss(), 2),
        "volume": lambda: dense((inputs, labels), nn.CrossEntropyLoss(), 2, volume=True),
        "classes": lambda: dense((inputs, labels), nn.CrossEntropyLoss(), 2),
    }[kind]()
    assert [one.seen[:8] for one in found] == (["Class 1 "] if shift < 1 else [])
