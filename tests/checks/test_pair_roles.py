"""Pairs and triplets that are put together from a batch, and the labels that tell their roles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from nbdebug.examples.setups.base import X, mlp, y
from tests.checks.result_of import result_of
from tests.checks.watched import watched

Step = Callable[[Any, Any], torch.Tensor]
RANKS = X[:, 0] + 0.1 * X[:, 1]


def drawn(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A sample of the own class, and one of another, for each."""
    same = labels[:, None] == labels
    chance = torch.rand(same.shape)
    own = chance.masked_fill(~same | torch.eye(len(labels), dtype=torch.bool), -1).argmax(1)
    return own, chance.masked_fill(same, -1).argmax(1)


def triplets(m: Any, b: Any, wrong: bool, unit: bool = False, own: bool = False) -> torch.Tensor:
    rows = m(b[0])
    rows = F.normalize(rows, dim=1) if unit else rows
    near, far = drawn(b[1])
    near, far = (far, near) if wrong else (near, far)
    if own:
        loss = nn.TripletMarginWithDistanceLoss(distance_function=lambda u, v: 1 - (u * v).sum(1))
        return loss(rows, rows[near], rows.index_select(0, far))
    return nn.TripletMarginLoss(0.5)(rows, rows[near], rows[far])


def mined(m: Any, b: Any, wrong: bool) -> torch.Tensor:
    """The hardest of each kind."""
    rows = m(b[0])
    apart, same = torch.cdist(rows, rows), b[1][:, None] == b[1]
    near = apart.masked_fill(~same, -1).argmax(1)
    far = apart.masked_fill(same, 1e9).argmin(1)
    near, far = (far, near) if wrong else (near, far)
    return F.triplet_margin_loss(rows, rows[near], rows[far])


def cosines(m: Any, b: Any, wrong: bool) -> torch.Tensor:
    rows, other = m(b[0]), torch.randperm(len(b[0]))
    signs = 2.0 * (b[1] == b[1][other]) - 1
    return F.cosine_embedding_loss(rows, rows[other], -signs if wrong else signs)


def ranked(m: Any, b: Any, wrong: bool) -> torch.Tensor:
    scores, other = m(b[0])[:, 0], torch.randperm(len(b[0]))
    signs = (b[2] - b[2][other]).sign()
    return F.margin_ranking_loss(scores, scores[other], -signs if wrong else signs, margin=0.1)


ROLES: dict[str, Callable[..., torch.Tensor]] = {
    "triplets": triplets,
    "of length 1": lambda m, b, wrong: triplets(m, b, wrong, unit=True),
    "an own distance": lambda m, b, wrong: triplets(m, b, wrong, own=True),
    "the hardest ones": mined, "cosines": cosines, "ranks": ranked,
}  # fmt: skip


@pytest.mark.parametrize("name", ROLES)
@pytest.mark.parametrize("batch", [24, 50])
def test_labels_tell_roles_that_are_exchanged(name: str, batch: int) -> None:
    data = (X, y, RANKS)
    for wrong in (True, False):
        found = result_of(
            "loss_inputs", mlp(), data, batch_size=batch,
            step_fn=lambda m, b, wrong=wrong: ROLES[name](m, b, wrong),
        )  # fmt: skip
        assert (found.status in ("fail", "warning")) is wrong, found.seen
        assert not wrong or "have changed places" in found.seen or "the target is 1" in found.seen


def side_by_side(m: Any, b: Any, wrong: bool) -> torch.Tensor:
    signs = torch.where(b[2] > b[3], 1.0, -1.0)
    return F.margin_ranking_loss(
        m(b[0])[:, 0], m(b[1])[:, 0], -signs if wrong else signs, margin=0.1
    )


@pytest.mark.parametrize("wrong", [True, False])
def test_pairs_that_stand_side_by_side(wrong: bool) -> None:
    data = (X, X.roll(7, 0), RANKS, RANKS.roll(7, 0))
    found = result_of(
        "loss_inputs", mlp(), data, step_fn=lambda m, b: side_by_side(m, b, wrong), batch_size=50
    )
    assert found.status == ("warning" if wrong else "pass"), found.seen


def other_labels(m: Any, b: Any) -> torch.Tensor:
    """Triplets by one label of two, such as of a person, whose clothes are another's."""
    return triplets(m, (b[0], b[2]), False)


def by_neighbours(m: Any, b: Any) -> torch.Tensor:
    """Triplets that no label gives."""
    rows = m(b[0])
    return F.triplet_margin_loss(rows, rows.roll(1, 0), rows.roll(5, 0))


def augmented(m: Any, b: Any) -> torch.Tensor:
    """Two views of a sample against another one."""
    rows, views = m(b[0]), m(b[0] + 0.1)
    return F.triplet_margin_loss(rows, views, rows.roll(1, 0))


@pytest.mark.parametrize("step", [other_labels, by_neighbours, augmented])
def test_roles_of_another_kind_pass(step: Step) -> None:
    draws = torch.Generator().manual_seed(3)
    persons = torch.randint(4, (len(X),), generator=draws)
    found = result_of("loss_inputs", mlp(), (X, y, persons), step_fn=step, batch_size=50)
    assert found.status == "pass", found.seen


def test_a_loop_of_ones_own_is_judged() -> None:
    for wrong, status in ((True, "fail"), (False, "pass")):
        found = watched(
            ("loss_inputs",), mlp(), (X, y), lambda m, b, wrong=wrong: triplets(m, b, wrong)
        )
        assert found["loss_inputs"].status == status, found["loss_inputs"].seen


SHARES = torch.softmax(3 * X[:, :4], 1)
EXCHANGED: dict[str, tuple[Step, str]] = {
    "cross-entropy": (lambda m, b: F.cross_entropy(5 * b[2], m(b[0]).softmax(1)), "fail"),
    "binary": (lambda m, b: F.binary_cross_entropy(b[2], m(b[0]).sigmoid()), "fail"),
}  # fmt: skip


@pytest.mark.parametrize("name", EXCHANGED)
def test_targets_in_the_place_of_outputs(name: str) -> None:
    step, status = EXCHANGED[name]
    found = result_of("loss_inputs", mlp(), (X, y, SHARES), step_fn=step, batch_size=50)
    assert found.status == status, found.seen
    assert "Swap the arguments" in found.remedy
