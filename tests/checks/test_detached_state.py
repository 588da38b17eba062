"""States that are cut off between the calls of one step, and those that are meant so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from nbdebug.core.results.checks.check_result import CheckResult
from tests.checks.result_of import result_of
from tests.checks.watched import watched

DRAW = torch.Generator().manual_seed(2)
SERIES = torch.randn(48, 6, 3, generator=DRAW)
NEXT = SERIES.cumsum(1)[..., :1]
LAST = (SERIES.sum((1, 2)) > 0).long()
UNITS = 8
Cut = Callable[[torch.Tensor], torch.Tensor]


def whole(h: torch.Tensor) -> torch.Tensor:
    return h


class OverTime(nn.Module):
    """A cell, called at each time; outputs [N, T, 1] of all times, or [N, 2] of the last one."""

    def __init__(self, cell: nn.Module, cut: Cut, last: bool = False, chunk: int = 1) -> None:
        super().__init__()
        self.cell, self.cut, self.last, self.chunk = cell, cut, last, chunk
        self.head = nn.Linear(UNITS, 2 if last else 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, states = x.new_zeros(len(x), UNITS), []
        for time in range(x.shape[1]):
            h = self.cell(x[:, time], h)
            states.append(h)
            if (time + 1) % self.chunk == 0:
                h = self.cut(h)
        result: torch.Tensor = self.head(states[-1] if self.last else torch.stack(states, 1))
        return result


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Linear(3 + UNITS, UNITS)

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.both(torch.cat([x, h], 1)))


class Joined(nn.Module):
    """The state is put beside the input before the cell is called."""

    def __init__(self, cut: Cut) -> None:
        super().__init__()
        self.cell = nn.Sequential(nn.Linear(3 + UNITS, UNITS), nn.Tanh())
        self.head, self.cut = nn.Linear(UNITS, 1), cut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, outputs = x.new_zeros(len(x), UNITS), []
        for time in range(x.shape[1]):
            h = self.cell(torch.cat([x[:, time], self.cut(h)], 1))
            outputs.append(self.head(h))
        return torch.stack(outputs, 1)


class Long(nn.Module):
    """LSTMCell with both of its states, or one, cut off."""

    def __init__(self, first: Cut, second: Cut) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTMCell(3, UNITS), nn.Linear(UNITS, 1)
        self.first, self.second = first, second

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state, outputs = None, []
        for time in range(x.shape[1]):
            h, c = self.cell(x[:, time], state)
            outputs.append(self.head(h))
            state = self.first(h), self.second(c)
        return torch.stack(outputs, 1)


class Pieces(nn.Module):
    """nn.GRU over pieces of some times."""

    def __init__(self, times: int, cut: Cut) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(3, UNITS, batch_first=True), nn.Linear(UNITS, 1)
        self.times, self.cut = times, cut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, outputs = None, []
        for piece in x.split(self.times, 1):
            out, h = self.rnn(piece, h)
            outputs.append(out)
            h = self.cut(h)
        result: torch.Tensor = self.head(torch.cat(outputs, 1))
        return result


def row(model: nn.Module, data: Any = None, **more: Any) -> CheckResult:
    torch.manual_seed(0)
    loss = None if "step_fn" in more else nn.MSELoss()
    return result_of("detached_state", model, data or (SERIES, NEXT), loss, runs=None, **more)


def numpy(h: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(h.detach().numpy().copy())


SICK: dict[str, Callable[[], nn.Module]] = {
    "detach": lambda: OverTime(nn.GRUCell(3, UNITS), torch.Tensor.detach),
    "data": lambda: OverTime(nn.RNNCell(3, UNITS), lambda h: h.data),
    "by numpy": lambda: OverTime(nn.GRUCell(3, UNITS), numpy),
    "a list of numbers": lambda: OverTime(nn.GRUCell(3, UNITS), lambda h: torch.tensor(h.tolist())),
    "detached clones": lambda: OverTime(nn.GRUCell(3, UNITS), lambda h: h.clone().detach()),
    "an own cell": lambda: OverTime(Own(), torch.Tensor.detach),
    "beside the input": lambda: Joined(torch.Tensor.detach),
    "both states": lambda: Long(torch.Tensor.detach, torch.Tensor.detach),
    "a layer that is used as a cell": lambda: Pieces(1, torch.Tensor.detach),
}
HEALTHY: dict[str, Callable[[], nn.Module]] = {
    "whole": lambda: OverTime(nn.GRUCell(3, UNITS), whole),
    "chunks": lambda: OverTime(nn.GRUCell(3, UNITS), torch.Tensor.detach, chunk=3),
    "one of two states": lambda: Long(torch.Tensor.detach, whole),
    "pieces of three": lambda: Pieces(3, torch.Tensor.detach),
    "pieces of two with graph": lambda: Pieces(2, whole),
    "an own cell": lambda: OverTime(Own(), whole),
    "beside the input": lambda: Joined(whole),
    "no state": lambda: nn.Sequential(nn.Linear(3, UNITS), nn.Tanh(), nn.Linear(UNITS, 1)),
}


@pytest.mark.parametrize("name", SICK)
def test_a_state_without_its_graph_is_named(name: str) -> None:
    found = row(SICK[name]())
    assert found.status == "warning", found.seen
    assert found.seen.startswith(("cell", "rnn"))
    assert "backward pass" in found.remedy


@pytest.mark.parametrize("name", HEALTHY)
def test_a_state_with_its_graph_is_not(name: str) -> None:
    found = row(HEALTHY[name]())
    assert found.status in ("pass", "not_applicable"), found.seen


def test_a_class_of_the_whole_series_needs_it_most() -> None:
    cell = nn.GRUCell(3, UNITS)
    for cut, status in ((torch.Tensor.detach, "warning"), (whole, "pass")):
        model = OverTime(cell, cut, last=True)
        found = result_of("detached_state", model, (SERIES, LAST), nn.CrossEntropyLoss(), runs=None)
        assert found.status == status


class Flat(nn.Module):
    """A cell and a head, called by a step."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cell, self.head = nn.GRUCell(3, UNITS), nn.Linear(UNITS, 1)
        self.refine = nn.GRUCell(3, UNITS)


Step = Callable[[Any, Any], torch.Tensor]


def by_step(cut: Cut) -> Step:
    def step(model: Any, batch: Any) -> torch.Tensor:
        x, target = batch
        h, loss = torch.zeros(len(x), UNITS), torch.zeros(())
        for time in range(x.shape[1]):
            h = model.cell(x[:, time], h)
            loss = loss + F.mse_loss(model.head(h), target[:, time])
            h = cut(h)
        return loss

    return step


def truncated(model: Any, batch: Any) -> torch.Tensor:
    """A backward pass at each time, after which the state is detached."""
    x, target = batch
    h = torch.zeros(len(x), UNITS)
    for time in range(x.shape[1]):
        h = model.cell(x[:, time], h)
        loss = F.mse_loss(model.head(h), target[:, time])
        if time + 1 < x.shape[1]:
            loss.backward()
            h = h.detach()
    return loss


def recycled(model: Any, batch: Any) -> torch.Tensor:
    """The same inputs again, with what came of them before."""
    x, h = batch[0][:, 0], torch.zeros(len(batch[0]), UNITS)
    for _ in range(4):
        h = model.refine(x, h.detach())
    return F.mse_loss(model.head(h), batch[1][:, 0])


def conditioned(model: Any, batch: Any) -> torch.Tensor:
    """A first guess without a graph."""
    x, h = batch[0][:, 0], torch.zeros(len(batch[0]), UNITS)
    with torch.no_grad():
        for time in range(4):
            h = model.cell(batch[0][:, time], h)
    return F.mse_loss(model.head(model.cell(x, h)), batch[1][:, 0])


def rollout(model: Any, batch: Any) -> torch.Tensor:
    """What a layer gives is given to it again, as in the pushforward trick."""
    h, loss = torch.zeros(len(batch[0]), UNITS) + 0.1, torch.zeros(())
    for time in range(4):
        h = torch.tanh(model.cell.weight_hh[:UNITS] @ h.detach().T).T
        loss = loss + F.mse_loss(model.head(h), batch[1][:, time])
    return loss


def rivals(model: Any, batch: Any) -> torch.Tensor:
    """What one module made goes into another one, as in a GAN."""
    x, h = batch[0], torch.zeros(len(batch[0]), UNITS)
    made = [model.cell(x[:, time], h) for time in range(4)]
    judged = [model.refine(x[:, time], one.detach()) for time, one in enumerate(made)]
    return F.mse_loss(model.head(torch.stack(judged, 1)), batch[1][:, :4])


def fed_back(model: Any, batch: Any) -> torch.Tensor:
    """The output is fed back without its graph, the state with it."""
    x, target = batch
    h, out, loss = torch.zeros(len(x), UNITS), x[:, 0, :1], torch.zeros(())
    for time in range(x.shape[1]):
        h = model.cell(torch.cat([out, x[:, time, 1:]], 1), h)
        out = model.head(h).detach()
        loss = loss + F.mse_loss(model.head(h), target[:, time])
    return loss


def acted(model: Any, batch: Any) -> torch.Tensor:
    """States that an actor stored without a graph, each learnt from by itself."""
    x, target = batch
    states = [torch.zeros(len(x), UNITS)]
    with torch.no_grad():
        for time in range(x.shape[1] - 1):
            states.append(model.cell(x[:, time], states[-1]))
    loss = torch.zeros(())
    for time, h in enumerate(states):
        loss = loss + F.mse_loss(model.head(model.cell(x[:, time], h)), target[:, time])
    return loss


def carried(model: Any, batch: Any) -> torch.Tensor:
    """A state that comes from the step before."""
    x, target = batch
    h = getattr(model, "state", torch.zeros(len(x), UNITS)).detach()
    loss = torch.zeros(())
    for time in range(x.shape[1]):
        h = model.cell(x[:, time], h)
        loss = loss + F.mse_loss(model.head(h), target[:, time])
    return loss


def test_a_step_of_ones_own_is_seen() -> None:
    assert row(Flat(), step_fn=by_step(torch.Tensor.detach)).status == "warning"
    assert row(Flat(), step_fn=by_step(whole)).status == "pass"


@pytest.mark.parametrize(
    "step", [truncated, recycled, conditioned, rollout, rivals, fed_back, acted, carried]
)
def test_a_step_that_means_it_is_not(step: Step) -> None:
    found = row(Flat(), step_fn=step)
    assert found.status in ("pass", "not_applicable"), found.seen


@pytest.mark.parametrize(("cut", "status"), [(torch.Tensor.detach, "warning"), (whole, "pass")])
def test_a_loop_of_ones_own_is_seen(cut: Cut, status: str) -> None:
    step = by_step(cut)
    data = SERIES, NEXT
    report = watched(("detached_state",), Flat(), data, step, batch_size=16)
    assert report["detached_state"].status == status, report["detached_state"].seen
