"""Places that are meant: indices, positions, ranks, masks and distances of classes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from nbdebug.examples.setups.base import X, mlp
from tests.checks.result_of import result_of

N, GAMMA = len(X), 0.97
torch.manual_seed(1)
NEXT = X[torch.randperm(N)]
ACTIONS, REWARDS, DONE = torch.randint(4, (N,)), torch.randn(N), (torch.rand(N) < 0.2).float()
PLACES = torch.rand(N) * 2
PLAY = X, NEXT, ACTIONS, REWARDS, DONE
Q, OTHER = mlp(), mlp()
TARGET = copy.deepcopy(Q)


def chosen(m: Any, b: Any) -> Any:
    return m(b[0]).gather(1, b[2][:, None]).squeeze(1)


def double(m: Any, b: Any) -> Any:
    with torch.no_grad():
        best = m(b[1]).argmax(1, keepdim=True)
        wanted = b[3] + GAMMA * TARGET(b[1]).gather(1, best).squeeze(1)
    return F.mse_loss(chosen(m, b), wanted)


def with_accuracy(m: Any, b: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    out = m(b[0])
    right = (out.argmax(1) == b[2]).float()
    off = (out.argmax(1) - b[2]).abs().float().mean() + out.detach().mean()
    return F.cross_entropy(out, b[2]), {"accuracy": right.mean(), "off": off}


def by_distance(m: Any, b: Any) -> Any:
    """Classes in order: a sample counts more the farther off it is."""
    out = m(b[0])
    off = (out.argmax(1) - b[2]).abs()
    return (F.cross_entropy(out, b[2], reduction="none") * (1 + off)).mean()


def soft_position(m: Any, b: Any) -> Any:
    p = m(b[0]).softmax(1)
    soft = (p * torch.arange(4)).sum(1)
    return F.mse_loss(soft, p.argmax(1).float()) + F.mse_loss(soft, b[2].float())


def taught_position(m: Any, b: Any) -> Any:
    with torch.no_grad():
        place = OTHER(b[0]).argmax(1) / 3
    soft = m(b[0]).softmax(1) @ torch.linspace(0, 1, 4)
    return (soft - place).square().mean()


def by_rank(m: Any, b: Any) -> Any:
    scores = m(b[0])[:, 0]
    ranks = scores.argsort(descending=True).argsort()
    return -(scores * b[3] / torch.log2(ranks + 2.0)).mean()


def straight_through(m: Any, b: Any) -> Any:
    p = m(b[0]).softmax(1)
    hard = F.one_hot(p.argmax(1), 4).float()
    return F.cross_entropy(OTHER(b[0]) + hard - p.detach() + p, b[2])


def quantised(m: Any, b: Any) -> Any:
    out = m(b[0])
    codes = torch.eye(4)
    near = codes[torch.cdist(out.detach(), codes).argmin(1)]
    return F.mse_loss(out, near) + F.mse_loss(out + (near - out).detach(), X[: len(out), :4])


def lengths(m: Any, b: Any) -> Any:
    """Sums over positions, divided by the first place of padding."""
    padded = (b[0] > 1).float()
    padded[:, -1] = 1
    length = padded.argmax(1).clamp(min=1)
    rows = F.cross_entropy(m(b[0]), b[2], reduction="none")
    return (rows / length).mean()


def refined(m: Any, b: Any) -> Any:
    """A place on a grid and an offset, of one output."""
    out = m(b[0])
    place = out[:, :2].argmax(1)
    return F.mse_loss(place + out[:, 2], PLACES[: len(out)])


def parabola(m: Any, b: Any) -> Any:
    """A peak between places, by its neighbours."""
    heat = F.pad(m(b[0]), (1, 1))
    best = heat.argmax(1, keepdim=True).clamp(1, 4)
    low, mid, high = (heat.gather(1, best + by) for by in (-1, 0, 1))
    peak = best + 0.5 * (low - high) / (low - 2 * mid + high).abs().clamp(min=0.1)
    return F.l1_loss(peak[:, 0], PLACES[: len(heat)])


class TwoHeads(nn.Module):
    """Heat and offsets by two layers of one shape."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.heat, self.offset = mlp(out=16), nn.Linear(16, 5), nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.body(x)
        return self.heat(hidden), self.offset(hidden)


def decoded(m: Any, b: Any) -> Any:
    heat, offset = m(b[0])
    place = heat.argmax(1)
    found = place + offset.gather(1, place[:, None])[:, 0]
    return F.mse_loss(found, PLACES[: len(heat)]) + F.cross_entropy(heat, b[2])


def decoded_apart(m: Any, b: Any) -> Any:
    """The same with the parts of the model called one by one."""
    hidden = m.body(b[0])
    place = m.heat(hidden).argmax(1)
    found = place * 0.5 + m.offset(hidden)[:, 0]
    return F.mse_loss(found, PLACES[: len(hidden)])


def masked(m: Any, b: Any) -> Any:
    """The larger of two is a mask."""
    two = m(b[0])[:, :2]
    return (two.logsumexp(1) * two.argmax(1)).mean() + F.cross_entropy(two, b[2].clamp(max=1))


def routed(m: Any, b: Any) -> Any:
    gates = m(b[0]).softmax(1)
    weight, expert = gates.topk(2)
    share = F.one_hot(expert, 4).float().mean((0, 1))
    picked = torch.eye(4)[expert] * weight[..., None]
    return F.cross_entropy(picked.sum(1), b[2]) + (share * gates.mean(0)).sum() * 3


def flattened(m: Any, b: Any) -> Any:
    """Rows and columns of the largest number of a map."""
    heat = m(b[0])
    best = F.pad(heat, (0, 1)).argmax(1)
    column, row = best % 2, best // 2
    off = (column - PLACES[: len(heat)]).abs() + row
    return F.cross_entropy(heat, b[2]) + off.mean() * 0


def sure_enough(m: Any, b: Any) -> Any:
    with torch.no_grad():
        sure, label = m(b[1]).softmax(-1).max(-1)
    return (F.cross_entropy(m(b[0]), label, reduction="none") * (sure > 0.3)).mean()


def by_time(m: Any, b: Any) -> Any:
    """Cox's partial likelihood."""
    order = b[3].argsort(descending=True)
    risk, event = m(b[0])[:, 0][order], b[4][order]
    return -((risk - risk.logcumsumexp(0)) * event).sum() / event.sum().clamp(min=1)


def correlated_ranks(m: Any, b: Any) -> Any:
    out, ranks = m(b[0])[:, 0], b[3].argsort().argsort().float()
    return -((out - out.mean()) / out.std() * (ranks - ranks.mean()) / ranks.std()).mean()


def discounted(m: Any, b: Any) -> Any:
    order = b[0][:, :4].sort(1, descending=True)[1]
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(4).expand_as(order))
    return -(m(b[0]).log_softmax(1) / torch.log2(rank + 2.0)).sum(1).mean()


def far_classes(m: Any, b: Any) -> Any:
    out = m(b[0])
    apart = (torch.arange(4)[None] - out.detach().argmax(1, keepdim=True)).abs().float()
    return F.cross_entropy(out, b[2]) + 0.1 * (out.softmax(1) * apart).sum(1).mean()


def until(m: Any, b: Any) -> Any:
    out = m(b[0])
    count = (out.detach().sigmoid() > 0.5).float().argmax(1) + 1
    return (out.square().sum(1) / count).mean()


def weighed_by_position(m: Any, b: Any) -> Any:
    heat = m(b[0])
    off = heat.argmax(1).float() / 4 * 8 - PLACES[: len(heat)] * 4
    return (F.cross_entropy(heat, b[2], reduction="none") * torch.exp(-off.abs())).mean()


def clusters(m: Any, b: Any) -> Any:
    rows = m(b[0])
    centres = rows.detach()[:4]
    return (rows - centres[torch.cdist(rows, centres).argmin(1)]).square().sum(1).mean()


def hardest(m: Any, b: Any) -> Any:
    rows = m(b[0])
    apart, same = torch.cdist(rows, rows), b[2][:, None] == b[2]
    far = apart.masked_fill(~same, 0).argmax(1)
    near = apart.masked_fill(same, 1e3).argmin(1)
    return F.triplet_margin_loss(rows, rows[far], rows[near])


def encoded(m: Any, b: Any) -> Any:
    places = b[0].topk(3, 1)[1].float()[..., None]
    waves = torch.sin(places * torch.tensor([1.0, 0.1, 0.01, 0.001])).mean(1)
    return F.cross_entropy(m(b[0]) + waves, b[2])


def as_feature(m: Any, b: Any) -> Any:
    with torch.no_grad():
        action = m(b[0]).argmax(1, keepdim=True).float()
    return F.cross_entropy(m(torch.cat([b[0][:, :11], action], 1)), b[2])


def bin_and_rest(m: Any, b: Any) -> Any:
    out = m(b[0])
    return F.smooth_l1_loss(out[:, 3], PLACES[: len(out)] - out[:, :3].argmax(1) * 0.7)


def bin_and_its_rest(m: Any, b: Any) -> Any:
    bins, rest = m(b[0]).split([2, 2], 1)
    place = bins.argmax(1)
    found = place * 0.7 + rest.gather(1, place[:, None])[:, 0]
    return F.mse_loss(found, PLACES[: len(found)])


def narrowed(m: Any, b: Any) -> Any:
    bins, rest = m(b[0]).narrow(1, 0, 3), m(b[0]).narrow(1, 3, 1)
    return F.mse_loss(bins.argmax(1, keepdim=True) + rest, PLACES[: len(bins), None])


HEALTHY: dict[str, Callable[[Any, Any], Any]] = {
    "double": double, "accuracy": with_accuracy, "by distance": by_distance,
    "soft position": soft_position, "position of a teacher": taught_position, "ranks": by_rank,
    "straight through": straight_through, "codes": quantised, "lengths": lengths,
    "refined": refined, "parabola": parabola, "decoded": decoded, "decoded apart": decoded_apart,
    "mask": masked, "experts": routed, "map": flattened,
    "sure enough": sure_enough, "order of times": by_time, "correlated ranks": correlated_ranks,
    "discounted": discounted, "far classes": far_classes, "until": until,
    "weighed by position": weighed_by_position, "clusters": clusters, "hardest": hardest,
    "encoded": encoded, "feature": as_feature, "bin and rest": bin_and_rest,
    "bin and its rest": bin_and_its_rest, "narrowed": narrowed,
}  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
def test_a_place_that_is_meant_passes(name: str) -> None:
    model = TwoHeads() if "decoded" in name else Q
    found = result_of("index_arithmetic", model, PLAY, step_fn=HEALTHY[name], batch_size=50)
    assert found.status == "pass", found.seen
