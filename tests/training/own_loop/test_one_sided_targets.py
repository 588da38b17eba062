"""A discriminator with the same target for real and generated samples is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbdebug as nbd

REAL = torch.randn(320, 2, generator=torch.Generator().manual_seed(2)) + 3
NAME = "one_sided_targets"
Loss = Callable[[torch.Tensor, float], torch.Tensor]


def logits(out: torch.Tensor, to: float) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(out, torch.full_like(out, to))


def squares(out: torch.Tensor, to: float) -> torch.Tensor:
    return functional.mse_loss(out, torch.full_like(out, to))


def shares(out: torch.Tensor, to: float) -> torch.Tensor:
    return functional.binary_cross_entropy(out.sigmoid(), torch.full_like(out, to))


def noisy(out: torch.Tensor, to: float) -> torch.Tensor:
    """Targets that are smoothed at random."""
    targets = (torch.full_like(out, to) - 0.2 * torch.rand_like(out)).abs()
    return functional.binary_cross_entropy_with_logits(out, targets)


def found(
    loss: Loss, fake_to: float, form: str = "sum", wanted: float = 1.0, steps: int = 3
) -> Any:
    """The finding of a loop that trains two networks against each other."""
    torch.manual_seed(0)
    G, D = nn.Linear(4, 2), nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(), nn.Linear(8, 1))
    of_g, of_d = (torch.optim.Adam(net.parameters(), lr=1e-3) for net in (G, D))

    def discriminate(x: torch.Tensor) -> None:
        made = G(torch.randn(len(x), 4))
        made = made if form == "not detached" else made.detach()
        of_d.zero_grad()
        if form == "one call":
            out = D(torch.cat([x, made]))
            real, fake = torch.full((len(x), 1), 1.0), torch.full((len(x), 1), fake_to)
            functional.binary_cross_entropy_with_logits(out, torch.cat([real, fake])).backward()
        elif form == "two passes":
            loss(D(x), 1.0).backward()
            loss(D(made), fake_to).backward()
        elif form == "two updates":
            loss(D(x), 1.0).backward()
            of_d.step()
            of_d.zero_grad()
            loss(D(made), fake_to).backward()
        else:
            (loss(D(x), 1.0) + loss(D(made), fake_to)).backward()
        of_d.step()

    with nbd.watch({"G": G, "D": D}, {"G": of_g, "D": of_d}, runs=None) as dbg:
        for _ in dbg.epochs(steps):
            for x in dbg.batches(list(REAL.split(16))):
                discriminate(x)
                of_g.zero_grad()
                loss(D(G(torch.randn(len(x), 4))), wanted).backward()
                of_g.step()
        return next((one for one in dbg.findings if one.name == NAME), None)


@pytest.mark.parametrize("form", ["sum", "two passes", "two updates", "one call", "not detached"])
def test_the_same_target_for_all_is_named(form: str) -> None:
    one = found(logits, 1.0, form)
    assert one is not None
    assert "updates of D" in one.seen
    assert "test_one_sided_targets.py: " in one.seen


@pytest.mark.parametrize("loss", [squares, shares, noisy])
def test_other_losses_are_judged(loss: Loss) -> None:
    assert found(loss, 1.0) is not None
    assert found(loss, 0.0) is None


@pytest.mark.parametrize("form", ["sum", "two passes", "two updates", "one call", "not detached"])
def test_different_targets_are_healthy(form: str) -> None:
    assert found(logits, 0.0, form) is None
    assert found(logits, 0.1, form) is None


def test_a_generator_has_one_target_for_several_discriminators() -> None:
    torch.manual_seed(0)
    nets = {"G": nn.Linear(4, 2), "one": nn.Linear(2, 1), "two": nn.Linear(2, 1)}
    of = {name: torch.optim.SGD(net.parameters(), lr=1e-3) for name, net in nets.items()}
    with nbd.watch(nets, of, runs=None) as dbg:
        for _ in dbg.epochs(3):
            for x in dbg.batches(list(REAL.split(16))):
                made = nets["G"](torch.randn(len(x), 4))
                judges = nets["one"], nets["two"]
                of["one"].zero_grad()
                of["two"].zero_grad()
                loss = sum(logits(D(x), 1.0) + logits(D(made), 0.0) for D in judges)
                loss.backward(retain_graph=True)  # type: ignore[union-attr]
                of["G"].zero_grad()
                sum(logits(D(made), 1.0) for D in judges).backward()  # type: ignore[union-attr]
                of["one"].step()
                of["two"].step()
                of["G"].step()
        assert [one.name for one in dbg.findings if one.name == NAME] == []


def test_networks_of_their_own_may_have_one_target_each() -> None:
    torch.manual_seed(0)
    nets = {"one": nn.Linear(2, 1), "two": nn.Linear(2, 1)}
    of = {name: torch.optim.SGD(net.parameters(), lr=1e-3) for name, net in nets.items()}
    with nbd.watch(nets, of, runs=None) as dbg:
        for _ in dbg.epochs(3):
            for x in dbg.batches(list(REAL.split(16))):
                for name, net in nets.items():
                    of[name].zero_grad()
                    logits(net(x), 1.0).backward()
                    of[name].step()
        assert [one.name for one in dbg.findings if one.name == NAME] == []
