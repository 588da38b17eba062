"""Triplets whose positives and negatives have changed places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import TensorDataset

from nbdebug.examples.setups.base import X, mlp, y
from tests.checks.result_of import result_of

Step = Callable[[Any, Any], torch.Tensor]


def triplets() -> TensorDataset:
    """Anchors, samples of the same class, and samples of another one."""
    draws = torch.Generator().manual_seed(1)
    picked = []
    for i, label in enumerate(y.tolist()):
        same, other = (y == label).nonzero()[:, 0], (y != label).nonzero()[:, 0]
        same = same[same != i]
        picked.append([
            i, *(int(one[torch.randint(len(one), (), generator=draws)]) for one in (same, other)),
        ])  # fmt: skip
    return TensorDataset(*(X[index] for index in torch.tensor(picked).T))


def each(m: Any, b: Any) -> list[torch.Tensor]:
    return [m(part) for part in b]


def at_once(m: Any, b: Any) -> tuple[torch.Tensor, ...]:
    return m(torch.cat(list(b))).chunk(3)


def unit(m: Any, b: Any) -> list[torch.Tensor]:
    return [F.normalize(m(part), dim=1) for part in b]


def with_distance(a: Any, p: Any, n: Any) -> torch.Tensor:
    loss = nn.TripletMarginWithDistanceLoss(distance_function=lambda u, v: 1 - (u * v).sum(1))
    found: torch.Tensor = loss(a, p, n)
    return found


EMBEDDED = {"one call each": each, "one call": at_once, "vectors of length 1": unit}
LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "function": F.triplet_margin_loss, "module": nn.TripletMarginLoss(0.5),
    "by name": lambda a, p, n: F.triplet_margin_loss(anchor=a, positive=p, negative=n),
    "own distance": with_distance,
}  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("embedded", EMBEDDED)
def test_places_that_are_changed_are_named(embedded: str, loss: str) -> None:
    def sick(m: Any, b: Any) -> torch.Tensor:
        anchor, positive, negative = EMBEDDED[embedded](m, b)
        return LOSSES[loss](anchor, negative, positive)

    def healthy(m: Any, b: Any) -> torch.Tensor:
        return LOSSES[loss](*EMBEDDED[embedded](m, b))

    found = result_of("loss_inputs", mlp(), triplets(), step_fn=sick, batch_size=50)
    assert found.status == "warning", found.seen
    assert "anchor, positive, negative" in found.remedy
    found = result_of("loss_inputs", mlp(), triplets(), step_fn=healthy, batch_size=50)
    assert found.status == "pass", found.seen


def mined(rows: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The farthest of the own class, and the nearest of another, within the batch."""
    apart, same = torch.cdist(rows, rows), labels[:, None] == labels
    return apart.masked_fill(~same, -1).argmax(1), apart.masked_fill(same, 1e9).argmin(1)


def hardest(m: Any, b: Any) -> torch.Tensor:
    rows = m(b[0])
    positive, negative = mined(rows, b[1])
    return F.triplet_margin_loss(rows, rows[positive], rows[negative])


def gathered(m: Any, b: Any) -> torch.Tensor:
    rows = m(b[0])
    positive, negative = mined(rows, b[1])
    return F.triplet_margin_loss(
        rows, rows.index_select(0, positive), torch.embedding(rows, negative)
    )


def normalised(m: Any, b: Any) -> torch.Tensor:
    """Rows of length 1 after the choice."""
    rows = m(b[0])
    positive, negative = mined(rows, b[1])
    parts = (F.normalize(one, dim=1) for one in (rows, rows[positive], rows[negative]))
    return F.triplet_margin_loss(*parts)


def at_random(m: Any, b: Any) -> torch.Tensor:
    return F.triplet_margin_loss(m(b[0]), m(b[0].roll(1, 0)), m(b[0].roll(2, 0)))


@pytest.mark.parametrize("step", [hardest, gathered, normalised, at_random])
def test_triplets_that_are_chosen_by_their_distance_pass(step: Step) -> None:
    found = result_of("loss_inputs", mlp(), (X, y), step_fn=step, batch_size=50)
    assert found.status == "pass", found.seen


def test_few_triplets_in_a_batch_are_judged_over_several() -> None:
    def sick(m: Any, b: Any) -> torch.Tensor:
        anchor, positive, negative = each(m, b)
        return F.triplet_margin_loss(anchor, negative, positive)

    found = result_of("loss_inputs", mlp(), triplets(), step_fn=sick, batch_size=16)
    assert found.status == "warning", found.seen
