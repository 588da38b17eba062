"""Validation pictures whose colour channels are in another order than those of training."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from nbdebug.core.results.checks.check_result import CheckResult
from tests.checks.result_of import result_of
from tests.checks.test_class_numbering import CE, fitted

CLASSES = 6
DRAWS = torch.Generator().manual_seed(7)
# The first is red where the second is blue, and so on: each order of colours is a class.
COLOURS = torch.tensor([[9, 0, 3], [3, 0, 9], [0, 9, 3], [3, 9, 0], [9, 3, 0], [0, 3, 9]]) / 9
LABELS = torch.randint(CLASSES, (360,), generator=DRAWS)
PICTURES = COLOURS[LABELS][:, :, None, None] + 0.2 * torch.randn(360, 3, 4, 4, generator=DRAWS)
Change = Callable[[torch.Tensor], torch.Tensor]


class Last(nn.Module):
    """Takes pictures with the channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.body = network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.body(x.movedim(-1, 1))
        return outputs


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 12, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, CLASSES),
    )


def judged(change: Change, of: Change = lambda y: y, last: bool = False) -> CheckResult:
    x = PICTURES.movedim(1, -1) if last else PICTURES
    train, held_out = (x[:240], LABELS[:240]), (change(x[240:]), of(LABELS[240:]))
    model = fitted(Last() if last else network(), train, CE, 300)
    return result_of("class_numbering", model, train, CE, val_data=held_out)


@pytest.mark.parametrize("order", [[2, 1, 0], [1, 2, 0], [2, 0, 1], [0, 2, 1]])
def test_another_order_of_colours_is_named(order: list[int]) -> None:
    found = judged(lambda x: x[:, order])
    assert found.status == "fail", found.seen
    assert "channels" in found.seen
    assert "BGR" in found.remedy


def test_channels_may_be_the_last_axis() -> None:
    found = judged(lambda x: x.flip(-1), last=True)
    assert "channels" in found.seen


def test_the_same_order_passes() -> None:
    assert judged(lambda x: x).status == "pass"
    assert judged(lambda x: x.flip(-1)).status == "pass"


def test_other_numbers_of_classes_stay_such() -> None:
    found = judged(lambda x: x, lambda y: (y + 1) % CLASSES)
    assert "is predicted as" in found.seen
    assert "channels" not in found.seen
