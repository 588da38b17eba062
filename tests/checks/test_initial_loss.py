"""The loss before training: usual losses of untrained networks, wide weights and far biases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.results.checks.check_result import CheckResult
from tests.checks.result_of import result_of

DRAW = torch.Generator().manual_seed(0)
N = 600
X = torch.rand(N, 1, generator=DRAW) * 2 - 1
NOISE = torch.randn(N, 1, generator=DRAW)
WAVE = torch.sin(3 * X) + NOISE * (0.1 + 0.2 * (X + 1))
COUNTS = torch.poisson(torch.exp(0.5 + X), generator=DRAW)
CLASSES = torch.randint(5, (N,), generator=DRAW)
CE = nn.CrossEntropyLoss()
QUANTILES = torch.tensor([0.1, 0.5, 0.9])
Loss = Callable[[Any, Any], torch.Tensor]


def pinball(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    error = targets - outputs
    return torch.maximum(QUANTILES * error, (QUANTILES - 1) * error).mean()


def expectile(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    error = targets - outputs
    return (torch.where(error > 0, 0.9, 0.1) * error.square()).mean()


def log_cosh(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch.log(torch.cosh(outputs - targets)).mean()


def linex(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    error = 0.8 * (targets - outputs)
    return (error.exp() - error - 1).mean()


LOSSES: dict[str, tuple[Loss, int, torch.Tensor]] = {
    "quantiles": (pinball, 3, WAVE),
    "an expectile": (expectile, 1, WAVE),
    "log cosh": (log_cosh, 1, WAVE),
    "linex": (linex, 1, WAVE),
    "huber": (nn.HuberLoss(delta=0.3), 1, WAVE),
    "squares": (nn.MSELoss(), 1, WAVE),
    "counts": (nn.PoissonNLLLoss(full=True), 1, COUNTS),
}


def network(out: int = 1, weights: float = 1.0, bias: float = 0.0, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(1, 64), nn.GELU(), nn.Linear(64, out))
    last = model[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.mul_(weights)
        last.bias.add_(bias)
    return model


def row(model: nn.Module, targets: torch.Tensor, loss: Loss) -> CheckResult:
    return result_of("initial_loss", model, (X, targets), loss, batch_size=64)


KINDS = [("weights", "initial weights of 2"), ("bias", "last bias")]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", LOSSES)
def test_pytorchs_weights_are_no_alarm(name: str, seed: int) -> None:
    loss, out, targets = LOSSES[name]
    found = row(network(out, seed=seed), targets, loss)
    assert found.status in ("pass", "not_applicable"), found.seen


@pytest.mark.parametrize("name", ["quantiles", "huber", "squares"])
@pytest.mark.parametrize(
    ("kind", "words"), [("weights", "initial weights of 2"), ("bias", "last bias")]
)
def test_weights_and_biases_are_told_apart(name: str, kind: str, words: str) -> None:
    loss, out, targets = LOSSES[name]
    model = network(out, weights=30.0) if kind == "weights" else network(out, bias=6.0)
    found = row(model, targets, loss)
    assert found.status == "fail", found.seen
    assert words in found.remedy


@pytest.mark.parametrize(
    ("kind", "words"), [("weights", "initial weights of 2"), ("bias", "last bias")]
)
def test_of_classes_too(kind: str, words: str) -> None:
    model = network(5, weights=100.0)
    if kind == "bias":
        model = network(5)
        with torch.no_grad():
            model[-1].bias[0] += 20.0  # type: ignore[index, union-attr]
    found = row(model, CLASSES, CE)
    assert found.status == "fail", found.seen
    assert words in found.remedy


def test_twice_the_loss_of_chance_is_an_alarm_of_classes_alone() -> None:
    model = network(5, weights=60.0)
    assert row(model, CLASSES, CE).status in ("warning", "fail")


class Tied(nn.Module):
    """Scores of words by the rows of the embedding that reads them."""

    def __init__(self, std: float, name: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.add_module(name, nn.Embedding(40, 128))
        self.name, self.norm, self.out = name, nn.LayerNorm(128), nn.Linear(128, 40, bias=False)
        nn.init.normal_(self.rows.weight, std=std)
        self.out.weight = self.rows.weight

    @property
    def rows(self) -> nn.Embedding:
        return self.get_submodule(self.name)  # type: ignore[return-value]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(self.rows(x).mean(1)))  # type: ignore[no-any-return]


WORDS = torch.randint(40, (300, 5), generator=DRAW)


@pytest.mark.parametrize("name", ["embed", "tokens"])
def test_an_embedding_that_is_the_last_layer_is_named(name: str) -> None:
    targets = WORDS.sum(1) % 40
    found = result_of("initial_loss", Tied(1.0, name), (WORDS, targets), CE, batch_size=64)
    assert found.status == "fail"
    assert f"embedding {name}" in found.remedy
    small = result_of("initial_loss", Tied(0.02, name), (WORDS, targets), CE, batch_size=64)
    assert small.status == "pass"


def test_a_step_before_which_nothing_is_known_changes_nothing() -> None:
    model = network(3, weights=30.0)
    before = [p.detach().clone() for p in model.parameters()]
    with nbd.Debugger(model, (X, WAVE), pinball, runs=None) as dbg:
        assert dbg.check("initial_loss").causes
    assert all(map(torch.equal, before, model.parameters()))


@pytest.mark.parametrize("weights", [1.0, 100.0])
def test_frozen_layers_that_were_trained_have_no_loss_of_chance(weights: float) -> None:
    """A network that is adapted to another task begins with the loss of its first one."""
    model = network(5)
    last = model[-1]
    assert isinstance(last, nn.Linear)
    optimizer = torch.optim.Adam(model.parameters(), 0.005)
    for _ in range(300):
        optimizer.zero_grad()
        CE(model(X), (2.5 * (X[:, 0] + 1)).long().clamp(max=4)).backward()
        optimizer.step()
    last.requires_grad_(False)
    with torch.no_grad():
        last.weight.mul_(weights)
    others = (2.5 * (1 - X[:, 0])).long().clamp(max=4)
    found = row(model, others, CE)
    assert found.status == ("not_applicable" if weights == 1 else "fail"), found.seen


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_weights_that_were_trained_and_loaded_have_no_loss_of_chance(scale: float) -> None:
    """A body from a training, and a new head on its wide features."""
    torch.manual_seed(0)
    trained = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 8))
    with torch.no_grad():
        for one in trained.parameters():
            # Sparse changes, as training makes them.
            one.add_(scale * torch.randn_like(one) * (torch.rand_like(one) < 0.2))
    body = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 8))
    body.load_state_dict(trained.state_dict())
    model = nn.Sequential(body, nn.ReLU(), nn.Linear(8, 5))
    inputs = torch.randn(N, 12, generator=torch.Generator().manual_seed(1))
    found = result_of("initial_loss", model, (inputs, CLASSES), CE, batch_size=64)
    assert found.status == "not_applicable"
    assert "trained before, and loaded" in found.seen


def test_values_that_an_operation_between_layers_multiplies_are_located() -> None:
    class Summing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second, self.last = (
                nn.Linear(a, b) for a, b in ((12, 16), (16, 16), (16, 5))
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = 30 * torch.relu(self.first(x))
            return self.last(30 * torch.relu(self.second(h)))  # type: ignore[no-any-return]

    inputs = torch.randn(N, 12, generator=torch.Generator().manual_seed(1))
    found = result_of("initial_loss", Summing(), (inputs, CLASSES), CE, batch_size=64)
    assert found.status == "fail"
    assert "between first and second the values grow" in found.remedy
