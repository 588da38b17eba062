"""Derivatives without a graph that are meant: they make inputs, weigh terms or are targets."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import grad
from torch.func import functional_call
from torch.func import grad as func_grad
from torch.nn import functional as F  # noqa: N812

from nbdebug.examples.setups.base import mlp, regression
from tests.checks.result_of import result_of

Step = Callable[[Any, Any], torch.Tensor]
DATA = regression()


def smooth() -> nn.Module:
    return mlp(out=1, act=nn.Tanh)


def slope(m: Any, b: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs [N, D], outputs [N, 1], and derivatives of the outputs [N, D]."""
    x = b[0].clone().requires_grad_()
    u = m(x)
    return x, u, grad(u.sum(), x, retain_graph=True)[0]


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


def weighed_by_largest(m: Any, b: Any) -> torch.Tensor:
    """A weight that is learning rate annealing's: the largest slope of one by the mean of all."""
    u = m(b[0])
    terms = [F.mse_loss(u, b[1]), F.l1_loss(u, b[1])]
    one, other = (grad(term, list(m.parameters()), retain_graph=True) for term in terms)
    largest = max(each.abs().max() for each in one)
    return terms[0] + largest / torch.stack([each.abs().mean() for each in other]).mean() * terms[1]


def conflicting(m: Any, b: Any) -> torch.Tensor:
    """A weight by the angle between two gradients."""
    u = m(b[0])
    terms = [F.mse_loss(u, b[1]), F.l1_loss(u, b[1])]
    one, other = (grad(term, m[-1].weight, retain_graph=True)[0] for term in terms)
    dot = (one * other).sum()
    return terms[0] * (1 + torch.where(dot < 0, -dot / one.norm() ** 2, 0.0)) + terms[1]


def by_the_size_of_the_gradient(m: Any, b: Any) -> torch.Tensor:
    loss = F.mse_loss(m(b[0]), b[1])
    slopes = grad(loss, list(m.parameters()), retain_graph=True)
    return loss / (torch.stack([one.norm() for one in slopes]).norm() + 1e-6)


def weights_of_a_loss(m: Any, b: Any) -> torch.Tensor:
    u, wanted = m(b[0]), (b[1] > 0).float()
    loss = F.binary_cross_entropy_with_logits(u, wanted, reduction="sum")
    weight = grad(loss, u, retain_graph=True)[0].abs()
    return F.binary_cross_entropy_with_logits(u, wanted, weight=weight)


def elastic(m: Any, b: Any) -> torch.Tensor:
    """Parameters are held by how much they matter."""
    loss, parameters = F.mse_loss(m(b[0]), b[1]), list(m.parameters())
    matters = [one**2 for one in grad(loss, parameters, retain_graph=True)]
    pulls = [(p - 0.1).square() * w for p, w in zip(parameters, matters, strict=True)]
    return loss + sum(one.sum() for one in pulls)


def sharpness_aware(m: Any, b: Any) -> torch.Tensor:
    F.mse_loss(m(b[0]), b[1]).backward()
    pushes = []
    with torch.no_grad():
        for p in m.parameters():
            pushes.append(0.05 * p.grad / (p.grad.norm() + 1e-12))
            p.add_(pushes[-1])
    m.zero_grad()
    return F.mse_loss(m(b[0]), b[1])


def actor(m: Any, b: Any) -> torch.Tensor:
    """The slope of a critic for an action, times the action."""
    action = m[:4](b[0])
    du = grad(m[4:](action).sum(), action, retain_graph=True)[0]
    return -(du * action).sum(1).mean()


def target_of_a_layer(m: Any, b: Any) -> torch.Tensor:
    """Target propagation: a layer learns to make a step along the slope."""
    hidden = m[:4](b[0])
    loss = F.mse_loss(m[4:](hidden), b[1])
    wanted = hidden - 0.5 * grad(loss, hidden, retain_graph=True)[0]
    return loss + F.mse_loss(hidden, wanted)


def drawn(m: Any, b: Any) -> torch.Tensor:
    """Samples of an energy, by steps along its slope with noise."""
    x = torch.randn_like(b[0])
    for _ in range(2):
        x = x.detach().requires_grad_()
        x = x - 0.1 * grad(m(x).sum(), x)[0] + 0.01 * torch.randn_like(x)
    return m(b[0]).mean() - m(x).mean() + 0.1 * m(x).square().mean()


def pushed_and_rebuilt(m: Any, b: Any) -> torch.Tensor:
    x, _, du = slope(m, b)
    pushed = x.detach() + 0.1 * F.normalize(du, dim=1)
    return F.mse_loss(m(pushed).expand_as(pushed), pushed)


HEALTHY = (
    signs, steps_of_a_length, virtual, masked, balanced, balanced_by_softmax, weighed_by_row,
    logged, first_order, first_order_by_hand, differentiable, known_function,
    weighed_by_largest, conflicting, by_the_size_of_the_gradient, weights_of_a_loss, elastic,
    sharpness_aware, actor, target_of_a_layer, drawn, pushed_and_rebuilt,
)  # fmt: skip


@pytest.mark.parametrize("step", HEALTHY)
def test_what_needs_no_graph_passes(step: Step) -> None:
    found = result_of("detached_gradients", smooth(), DATA, step_fn=step)
    assert found.status == "pass", found.seen


def test_a_network_of_matrices_takes_pushed_inputs() -> None:
    """Without modules: a derivative that is multiplied by weights is an input."""

    class Matrices(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Parameter(0.3 * torch.randn(DATA[0].shape[1], 8))
            self.last = nn.Parameter(0.3 * torch.randn(8, 1))

    def of(m: Any, x: torch.Tensor) -> torch.Tensor:
        return (x @ m.first).tanh() @ m.last

    def step(m: Any, b: Any) -> torch.Tensor:
        x = b[0].clone().requires_grad_()
        (du,) = grad(F.mse_loss(of(m, x), b[1]), x)
        return F.mse_loss(of(m, b[0] + F.normalize(du, dim=1)), b[1])

    found = result_of("detached_gradients", Matrices(), DATA, step_fn=step)
    assert found.status == "pass", found.seen


def test_a_network_that_predicts_gradients_has_them_as_targets() -> None:
    def step(m: Any, b: Any) -> torch.Tensor:
        hidden = m["body"](b[0])
        loss = F.mse_loss(m["head"](hidden), b[1])
        return loss + F.mse_loss(m["guess"](b[0]), grad(loss, hidden, retain_graph=True)[0])

    model = nn.ModuleDict({"body": mlp(out=8), "guess": mlp(out=8), "head": nn.Linear(8, 1)})
    found = result_of("detached_gradients", model, DATA, step_fn=step)
    assert found.status == "pass", found.seen


def test_a_teacher_that_is_not_trained_gives_slopes_to_learn() -> None:
    teacher = smooth()

    def step(m: Any, b: Any) -> torch.Tensor:
        wanted = slope(teacher, b)[2]
        x, u, _ = slope(m, b)
        (du,) = grad(u.sum(), x, create_graph=True)
        return F.mse_loss(u, b[1]) + F.mse_loss(du, wanted)

    assert result_of("detached_gradients", smooth(), DATA, step_fn=step).status == "pass"


class Guarded(torch.Tensor):
    """A tensor that refuses all that a step does not ask for."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in ("equal", "numel", "dim", "is_floating_point"):
            raise TypeError(f"{name} is refused")
        return super().__torch_function__(func, types, args, kwargs or {})


def test_tensors_that_refuse_to_be_looked_at_do_not_end_the_step() -> None:
    reached = queue.SimpleQueue[type]()

    def step(m: Any, b: Any) -> torch.Tensor:
        x = b[0].clone().as_subclass(Guarded).requires_grad_()
        u = m(x)
        loss = F.mse_loss(u, b[1]) + (u * grad(u.sum(), x, retain_graph=True)[0]).mean()
        reached.put(type(loss))
        return loss.as_subclass(torch.Tensor)

    found = result_of("detached_gradients", smooth(), DATA, step_fn=step)
    kinds = [reached.get_nowait() for _ in range(reached.qsize())]
    assert kinds[-1] is Guarded
    assert not found.raised


def test_an_error_of_the_step_is_told_as_it_is() -> None:
    def step(m: Any, b: Any) -> torch.Tensor:
        _, u, du = slope(m, b)
        return F.mse_loss(u, b[1]) + grad(du.sum(), b[0])[0].sum()

    found = result_of("detached_gradients", smooth(), DATA, step_fn=step)
    assert found.raised
    assert "grad" in found.seen
