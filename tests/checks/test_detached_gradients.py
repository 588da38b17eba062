"""Derivatives within a loss, with and without a graph of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import grad
from torch.autograd.functional import hessian
from torch.func import functional_call
from torch.func import grad as func_grad
from torch.nn import functional as F  # noqa: N812

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
    """Critic with a gradient penalty between real and made samples."""
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
    """Penalty of the gradient of the loss for the parameters."""
    loss = F.mse_loss(m(b[0]), b[1])
    slopes = grad(loss, list(m.parameters()), retain_graph=True, create_graph=graph)
    return loss + 0.1 * sum(one.square().sum() for one in slopes)


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
}  # fmt: skip
# By torch.autograd.grad, with create_graph.
WITH_GRAPH = [name for name in SICK if name != "read after a backward"]


@pytest.mark.parametrize("name", SICK)
def test_a_derivative_without_a_graph_is_named(name: str) -> None:
    step, line = SICK[name]
    found = result_of("detached_gradients", smooth(), DATA, step_fn=step)
    assert found.status == "warning", found.seen
    assert line in found.seen
    assert "create_graph=True" in found.remedy


@pytest.mark.parametrize("name", WITH_GRAPH)
def test_one_with_a_graph_passes(name: str) -> None:
    def step(m: Any, b: Any) -> torch.Tensor:
        return SICK[name][0](m, b, graph=True)

    found = result_of("detached_gradients", smooth(), DATA, step_fn=step)
    assert found.status == "pass", found.seen


@pytest.mark.parametrize("graph", [False, True])
def test_forces_made_within_the_model(graph: bool) -> None:
    found = result_of("detached_gradients", Forces(graph), DATA, step_fn=forces)
    assert found.status == ("pass" if graph else "warning"), found.seen


def test_a_loss_function_is_followed_too() -> None:
    def loss(outputs: Any, targets: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(outputs[0], targets) + outputs[1].square().mean()

    assert result_of("detached_gradients", Forces(), DATA, loss).status == "warning"
    assert result_of("detached_gradients", Forces(True), DATA, loss).status == "pass"


# Healthy: what a derivative without a graph is for.
def signs(m: Any, b: Any) -> torch.Tensor:
    """Adversarial examples by the sign of the slope."""
    x, u, _ = slope(m, b)
    (du,) = grad(F.mse_loss(u, b[1]), x)
    return F.mse_loss(m((x + 0.1 * du.sign()).detach()), b[1]) + F.mse_loss(m(b[0]), b[1])


def steps_of_a_length(m: Any, b: Any) -> torch.Tensor:
    """Adversarial examples by several steps along the slope."""
    x = b[0]
    for _ in range(2):
        start = x.detach().requires_grad_()
        (du,) = grad(F.mse_loss(m(start), b[1]), start)
        x = start + 0.1 * du / du.norm(dim=1, keepdim=True)
    return F.mse_loss(m(x), b[1])


def virtual(m: Any, b: Any) -> torch.Tensor:
    """Virtual adversarial training."""
    with torch.no_grad():
        wanted = m(b[0])
    push = (0.1 * torch.randn_like(b[0])).requires_grad_()
    (push,) = grad(F.mse_loss(m(b[0] + push), wanted), push)
    push = F.normalize(push, dim=1)
    return F.mse_loss(m(b[0]), b[1]) + F.mse_loss(m(b[0] + push), wanted)


def masked(m: Any, b: Any) -> torch.Tensor:
    """Inputs that matter little are hidden."""
    _, u, du = slope(m, b)
    hidden = b[0] * (du.abs() > du.abs().median())
    return F.mse_loss(u, b[1]) + F.mse_loss(m(hidden), u.detach())


def balanced(m: Any, b: Any) -> torch.Tensor:
    """Terms that are weighed by the norms of their gradients."""
    u = m(b[0])
    terms = [F.mse_loss(u, b[1]), F.l1_loss(u, b[1])]
    norms = [grad(one, m[-1].weight, retain_graph=True)[0].norm() for one in terms]
    return terms[0] + terms[1] * (norms[0] / (norms[1] + 1e-4)).clamp(0, 1e4)


def balanced_by_softmax(m: Any, b: Any) -> torch.Tensor:
    u = m(b[0])
    terms = torch.stack([F.mse_loss(u, b[1]), F.l1_loss(u, b[1])])
    slopes = [grad(one, m[-1].weight, retain_graph=True)[0] for one in terms]
    weights = torch.stack([one.abs().mean() for one in slopes]).softmax(0)
    return (weights * terms).sum()


def weighed_by_row(m: Any, b: Any) -> torch.Tensor:
    _, u, du = slope(m, b)
    return (du.norm(dim=1, keepdim=True) * (u - b[1]).square()).mean()


def logged(m: Any, b: Any) -> torch.Tensor:
    _, u, du = slope(m, b)
    m.seen = du.norm()
    return F.mse_loss(u, b[1])


def first_order(m: Any, b: Any) -> torch.Tensor:
    """Meta-learning of first order."""
    loss = F.mse_loss(m(b[0][:25]), b[1][:25])
    names, values = zip(*m.named_parameters(), strict=True)
    slopes = grad(loss, values)
    fast = {n: p - 0.1 * s for n, p, s in zip(names, values, slopes, strict=True)}
    return F.mse_loss(functional_call(m, fast, (b[0][25:],)), b[1][25:])


def first_order_by_hand(m: Any, b: Any) -> torch.Tensor:
    fast = [m[0].weight, m[0].bias]
    for _ in range(2):
        hidden = (b[0] @ fast[0].T + fast[1]).tanh()
        loss = F.mse_loss(m[2:](hidden), b[1])
        fast = [p - 0.1 * s for p, s in zip(fast, grad(loss, fast), strict=True)]
    return F.mse_loss(m[2:]((b[0] @ fast[0].T + fast[1]).tanh()), b[1])


def differentiable(m: Any, b: Any) -> torch.Tensor:
    du = torch.func.vmap(func_grad(lambda x: m(x).sum()))(b[0])
    return F.mse_loss(m(b[0]), b[1]) + du.square().mean()


def known_function(m: Any, b: Any) -> torch.Tensor:
    """The slope of a function that nothing is learnt of."""
    x = b[0].clone().requires_grad_()
    (wanted,) = grad(x.sin().sum(), x)
    return F.mse_loss(m(b[0]), wanted[:, :1])


HEALTHY = (
    signs, steps_of_a_length, virtual, masked, balanced, balanced_by_softmax, weighed_by_row,
    logged, first_order, first_order_by_hand, differentiable, known_function,
)  # fmt: skip


@pytest.mark.parametrize("step", HEALTHY)
def test_what_needs_no_graph_passes(step: Step) -> None:
    found = result_of("detached_gradients", smooth(), DATA, step_fn=step)
    assert found.status == "pass", found.seen


def test_a_plain_loss_takes_no_derivative() -> None:
    found = result_of("detached_gradients", smooth(), DATA, nn.MSELoss())
    assert found.status == "not_applicable"


@pytest.mark.parametrize("name", ["residual of an equation", "gradient penalty"])
def test_a_watched_loop_does_not_hide_it(name: str) -> None:
    def with_graph(m: Any, b: Any) -> torch.Tensor:
        return SICK[name][0](m, b, graph=True)

    for step, status in ((SICK[name][0], "warning"), (with_graph, "pass")):
        found = watched(("detached_gradients",), smooth(), DATA, step)["detached_gradients"]
        assert found.status == status, found.seen


def test_a_teacher_that_is_not_trained_gives_slopes_to_learn() -> None:
    teacher = smooth()

    def step(m: Any, b: Any) -> torch.Tensor:
        wanted = slope(teacher, b)[2]
        _, u, du = slope(m, b, graph=True)
        return F.mse_loss(u, b[1]) + F.mse_loss(du, wanted)

    assert result_of("detached_gradients", smooth(), DATA, step_fn=step).status == "pass"


def test_the_step_gives_what_it_gives_without_the_check() -> None:
    torch.manual_seed(3)
    wanted = float(residual(smooth(), (X, DATA[1])).detach())
    values: list[float] = []

    def step(m: Any, b: Any) -> torch.Tensor:
        loss = residual(m, b)
        values.append(float(loss.detach()))
        return loss

    result_of("detached_gradients", smooth(), [(X, DATA[1])], step_fn=step)
    assert set(values) == {wanted}
