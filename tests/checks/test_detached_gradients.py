"""Derivatives within a loss, with and without a graph of their own."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import grad
from torch.autograd.functional import hessian, jvp
from torch.nn import functional as F  # noqa: N812

import nbdebug as nbd
from nbdebug.examples.setups.base import X, mlp, regression
from tests.checks.result_of import result_of
from tests.checks.watched import watched

Step = Callable[[Any, Any], torch.Tensor]
DATA = regression()


def smooth() -> nn.Module:
    return mlp(out=1, act=nn.Tanh)


def slope(m: Any, b: Any, graph: bool = False) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs [N, D], outputs [N, 1], and derivatives of the outputs [N, D]."""
    x = b[0].clone().requires_grad_()
    u = m(x)
    return x, u, grad(u.sum(), x, create_graph=graph, retain_graph=True)[0]


def residual(m: Any, b: Any, graph: bool = False) -> torch.Tensor:
    _, u, du = slope(m, b, graph)
    return (du[:, :1] + u - b[1]).square().mean()


def convection(m: Any, b: Any, graph: bool = False) -> torch.Tensor:
    _, u, du = slope(m, b, graph)
    return (u * du[:, :1] - b[1]).square().mean()


def sobolev(m: Any, b: Any, graph: bool = False) -> torch.Tensor:
    _, u, du = slope(m, b, graph)
    wanted = torch.zeros_like(du)
    return F.mse_loss(u, b[1]) + 0.1 * F.mse_loss(du, wanted)


def penalty(m: Any, b: Any, graph: bool = False) -> torch.Tensor:
    real, made = b[0], b[0].flip(0) + 1
    share = torch.rand(len(real), 1)
    mixed = (share * real + (1 - share) * made).requires_grad_()
    (du,) = grad(m(mixed), mixed, torch.ones(len(real), 1), graph or None, graph)
    return m(made).mean() - m(real).mean() + 10 * ((du.norm(2, dim=1) - 1) ** 2).mean()


def curvature(m: Any, b: Any, graph: bool = False) -> torch.Tensor:
    x, u, du = slope(m, b, True)
    second = grad(du.sum(), x, create_graph=graph, retain_graph=True)[0]
    return F.mse_loss(u, b[1]) + second.pow(2).sum(1).mean()


def by_hessian(m: Any, b: Any, graph: bool = False) -> torch.Tensor:
    found = hessian(lambda x: m(x).sum(), b[0][0], create_graph=graph)
    return F.mse_loss(m(b[0]), b[1]) + 0.1 * torch.as_tensor(found).square().sum()


def contracted(m: Any, b: Any, graph: bool = False) -> torch.Tensor:
    x = b[0].clone().requires_grad_()
    hidden = m[:2](x)
    rows = [
        grad(hidden[:, unit].sum(), x, retain_graph=True, create_graph=graph)[0]
        for unit in range(3)
    ]
    jacobian = torch.stack(rows, dim=1)
    return F.mse_loss(m[2:](hidden), b[1]) + jacobian.pow(2).sum((1, 2)).mean()


def score_matching(m: Any, b: Any, graph: bool = False) -> torch.Tensor:
    x, _, score = slope(m, b, True)
    trace = torch.zeros(len(x))
    for place in range(2):
        trace = trace + grad(
            score[:, place].sum(), x, create_graph=graph, retain_graph=True
        )[0][:, place]  # fmt: skip
    return (trace + 0.5 * score.square().sum(1)).mean()


def by_backward(m: Any, b: Any, graph: bool = False) -> torch.Tensor:
    x = b[0].clone().requires_grad_()
    u = m(x)
    u.sum().backward(retain_graph=True)
    return F.mse_loss(u, b[1]) + (x.grad.norm(dim=1) - 1).square().mean()


def flat(m: Any, b: Any, graph: bool = False) -> torch.Tensor:
    loss = F.mse_loss(m(b[0]), b[1])
    slopes = grad(loss, list(m.parameters()), retain_graph=True, create_graph=graph)
    return loss + 0.1 * sum(one.square().sum() for one in slopes)


def burgers(m: Any, b: Any, graph: bool = False) -> torch.Tensor:
    """Only the second derivative has no graph."""
    x, u, du = slope(m, b, True)
    second = grad(du[:, 0].sum(), x, create_graph=graph, retain_graph=True)[0][:, :1]
    return (du[:, 1:2] + u * du[:, :1] - 0.01 * second - b[1]).square().mean()


def weighed_by_learnt(m: Any, b: Any, graph: bool = False) -> torch.Tensor:
    """A term that is weighed by a parameter of its own."""
    _, u, du = slope(m.net, b, graph)
    terms = torch.stack([F.mse_loss(u, b[1]), (du[:, :1] + u).square().mean()])
    return (terms * torch.exp(-m.weights) + m.weights).sum()


def learnt_coefficient(m: Any, b: Any, graph: bool = False) -> torch.Tensor:
    _, u, du = slope(m.net, b, graph)
    return F.mse_loss(u, b[1]) + m.criterion(m.weights[0] * du[:, :1], b[1])


class Learnt(nn.Module):
    """A network with two parameters beside it, and a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.criterion = smooth(), nn.MSELoss()
        self.weights = nn.Parameter(torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.net(x)
        return out


def filled(m: Any, b: Any, graph: bool = False) -> torch.Tensor:
    x = b[0].clone().requires_grad_()
    hidden = m[:2](x)
    jacobian = torch.zeros(len(x), 3, x.shape[1])
    for unit in range(3):
        (jacobian[:, unit],) = grad(
            hidden[:, unit].sum(), x, retain_graph=True, create_graph=graph
        )  # fmt: skip
    return F.mse_loss(m[2:](hidden), b[1]) + torch.linalg.matrix_norm(jacobian).mean()


def invariant(m: Any, b: Any, graph: bool = False) -> torch.Tensor:
    """Invariant risk: the slope for a factor that is 1."""
    factor = torch.ones((), requires_grad=True)
    loss = F.mse_loss(m(b[0]) * factor, b[1])
    return loss + grad(loss, [factor], retain_graph=True, create_graph=graph)[0] ** 2


def point_by_point(m: Any, b: Any, graph: bool = False) -> torch.Tensor:
    total = torch.zeros(1)
    for row, wanted in zip(b[0][:4], b[1][:4], strict=True):
        x = row.clone().requires_grad_()
        u = m(x)
        total = total + (u * grad(u, x, create_graph=graph, retain_graph=True)[0][0] - wanted) ** 2
    return total.mean()


def along(m: Any, b: Any, graph: bool = False) -> torch.Tensor:
    found = jvp(m, b[0], torch.ones_like(b[0]), create_graph=graph)[1]
    return F.mse_loss(m(b[0]), b[1]) + found.square().mean()


def energy_of_a_field(m: Any, b: Any, graph: bool = False) -> torch.Tensor:
    _, u, du = slope(m, b, graph)
    return (0.5 * du.square().sum(1, keepdim=True) - b[1] * u).mean()


class Forces(nn.Module):
    """Energies [N, 1] and forces [N, D] of positions."""

    def __init__(self, graph: bool = False) -> None:
        super().__init__()
        self.energy, self.graph = smooth(), graph

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = x.clone().requires_grad_()
        energy = self.energy(x)
        force = -grad([energy.sum()], [x], retain_graph=True, create_graph=self.graph)[0]
        return energy, force


def forces(m: Any, b: Any, graph: bool = False) -> torch.Tensor:
    energy, force = m(b[0])
    return F.mse_loss(energy, b[1]) + F.mse_loss(force, torch.sin(b[0]))


SICK: dict[str, tuple[Callable[..., torch.Tensor], str]] = {
    "residual of an equation": (residual, "grad("),
    "product with the output": (convection, "grad("),
    "slopes that are known": (sobolev, "grad("),
    "gradient penalty": (penalty, "grad("),
    "curvature": (curvature, "second = grad("),
    "contraction": (contracted, "grad("),
    "score matching": (score_matching, "grad("),
    "read after a backward": (by_backward, "x.grad"),
    "gradient of parameters": (flat, "slopes = grad("),
    "function of torch": (by_hessian, "found = hessian("),
    "second derivative": (burgers, "second = grad("),
    "weight that is learnt": (weighed_by_learnt, "grad("),
    "coefficient that is learnt": (learnt_coefficient, "grad("),
    "rows written one by one": (filled, "grad("),
    "slope for a factor": (invariant, "grad("),
    "point by point": (point_by_point, "grad("),
    "along a direction": (along, "found = jvp("),
    "energy of a field": (energy_of_a_field, "grad("),
}  # fmt: skip
# By torch.autograd.grad, with create_graph.
WITH_GRAPH = [name for name in SICK if name != "read after a backward"]


def model_of(name: str) -> nn.Module:
    return Learnt() if "learnt" in name else smooth()


@pytest.mark.parametrize("name", SICK)
def test_a_derivative_without_a_graph_is_named(name: str) -> None:
    step, line = SICK[name]
    found = result_of("detached_gradients", model_of(name), DATA, step_fn=step)
    assert found.status in ("fail", "warning"), found.seen
    assert line in found.seen
    assert "create_graph=True" in found.remedy


@pytest.mark.parametrize("name", WITH_GRAPH)
def test_one_with_a_graph_passes(name: str) -> None:
    def step(m: Any, b: Any) -> torch.Tensor:
        return SICK[name][0](m, b, graph=True)

    found = result_of("detached_gradients", model_of(name), DATA, step_fn=step)
    assert found.status == "pass", found.seen


@pytest.mark.parametrize("step", [penalty, sobolev, flat, forces, invariant])
def test_a_term_that_is_a_constant_as_a_whole_fails(step: Step) -> None:
    with nbd.Debugger(Forces() if step is forces else smooth(), DATA, step_fn=step) as dbg:
        report = dbg.check("detached_gradients", "loss_terms")
    assert report["detached_gradients"].status == "fail"
    assert [one.name for one in report.causes] == ["detached_gradients"]


@pytest.mark.parametrize("step", [residual, convection, energy_of_a_field])
def test_one_that_has_a_wrong_gradient_is_a_warning(step: Step) -> None:
    found = result_of("detached_gradients", smooth(), DATA, step_fn=step)
    assert found.status == "warning"


def test_a_loss_without_any_other_gradient_fails() -> None:
    def step(m: Any, b: Any) -> torch.Tensor:
        return slope(m, b)[2].square().mean().requires_grad_()

    found = result_of("detached_gradients", smooth(), DATA, step_fn=step)
    assert found.status == "fail"


@pytest.mark.parametrize("graph", [False, True])
def test_forces_made_within_the_model(graph: bool) -> None:
    found = result_of("detached_gradients", Forces(graph), DATA, step_fn=forces)
    assert found.status == ("pass" if graph else "fail"), found.seen


def test_a_loss_function_is_followed_too() -> None:
    def loss(outputs: Any, targets: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(outputs[0], targets) + outputs[1].square().mean()

    assert result_of("detached_gradients", Forces(), DATA, loss).status == "fail"
    assert result_of("detached_gradients", Forces(True), DATA, loss).status == "pass"


def test_a_plain_loss_takes_no_derivative() -> None:
    found = result_of("detached_gradients", smooth(), DATA, nn.MSELoss())
    assert found.status == "not_applicable"


@pytest.mark.parametrize("name", ["residual of an equation", "gradient penalty"])
def test_a_watched_loop_does_not_hide_it(name: str) -> None:
    def with_graph(m: Any, b: Any) -> torch.Tensor:
        return SICK[name][0](m, b, graph=True)

    for step, bad in ((SICK[name][0], True), (with_graph, False)):
        found = watched(("detached_gradients",), smooth(), DATA, step)["detached_gradients"]
        assert (found.status in ("fail", "warning")) is bad, found.seen


def test_the_step_gives_what_it_gives_without_the_check() -> None:
    torch.manual_seed(3)
    wanted = float(residual(smooth(), (X, DATA[1])).detach())
    values = queue.SimpleQueue[float]()

    def step(m: Any, b: Any) -> torch.Tensor:
        loss = residual(m, b)
        values.put(float(loss.detach()))
        return loss

    result_of("detached_gradients", smooth(), [(X, DATA[1])], step_fn=step)
    assert {values.get_nowait() for _ in range(values.qsize())} == {wanted}
