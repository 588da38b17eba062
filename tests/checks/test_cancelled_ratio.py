"""Ratios of an output with itself, and those of two outputs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Normal
from torch.nn import functional as F  # noqa: N812

import nbdebug as nbd
from nbdebug.core.results.checks.check_result import CheckResult
from tests.checks.result_of import result_of
from tests.checks.watched import watched

DRAW = torch.Generator().manual_seed(0)
N, ACTIONS = 200, 4
X = torch.randn(N, 6, generator=DRAW)
CHOSEN = torch.randint(ACTIONS, (N,), generator=DRAW)
ADVANTAGE = torch.randn(N, generator=DRAW)
DATA = (X, CHOSEN, ADVANTAGE)
Step = Callable[[Any, Any], torch.Tensor]


def policy(kind: str = "mlp") -> nn.Module:
    torch.manual_seed(0)
    body: list[nn.Module] = [nn.Linear(6, 16), nn.Tanh()]
    if kind == "dropout":
        body.append(nn.Dropout(0.5))
    if kind == "convolution":
        body = [nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 4, 3), nn.ReLU(), nn.Flatten()]
    last = nn.Linear(16, ACTIONS)
    if kind == "zeros":
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return nn.Sequential(*body, last)


def chosen(model: Any, batch: Any) -> torch.Tensor:
    return Categorical(logits=model(batch[0])).log_prob(batch[1])


def clipped(ratio: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return -torch.min(ratio * weight, ratio.clamp(0.8, 1.2) * weight).mean()


def twice(model: Any, batch: Any) -> torch.Tensor:
    new, old = chosen(model, batch), chosen(model, batch)
    return clipped(torch.exp(new - old), batch[2])


def once(model: Any, batch: Any) -> torch.Tensor:
    new = chosen(model, batch)
    return clipped((new - new.clone()).exp(), batch[2])


def quotient(model: Any, batch: Any) -> torch.Tensor:
    new, old = (model(batch[0]).softmax(1)[torch.arange(len(batch[1])), batch[1]] for _ in "ab")
    return clipped(new / old, batch[2])


def several(model: Any, batch: Any) -> torch.Tensor:
    """Actions of several numbers, whose log-probabilities are added."""
    new, old = (Normal(model(batch[0]), 1.0).log_prob(torch.ones(ACTIONS)) for _ in "ab")
    return clipped((new - old).sum(1).exp(), batch[2])


def with_value(model: Any, batch: Any) -> torch.Tensor:
    """Beside another term, which learns."""
    return twice(model, batch) + 0.1 * F.cross_entropy(model(batch[0]), batch[1])


def detached(model: Any, batch: Any) -> torch.Tensor:
    new = chosen(model, batch)
    return clipped(torch.exp(new - new.detach()), batch[2])


def under_no_grad(model: Any, batch: Any) -> torch.Tensor:
    with torch.no_grad():
        old = chosen(model, batch)
    return clipped(torch.exp(chosen(model, batch) - old), batch[2])


def ranked(model: Any, batch: Any) -> torch.Tensor:
    """Scores of two inputs, both of which learn."""
    return torch.exp(model(batch[0][::2]) - model(batch[0][1::2])).mean()


def by_hand(model: Any, batch: Any) -> torch.Tensor:
    """A softmax that is computed by hand."""
    out = model(batch[0])
    shifted = (out - out.max(1, keepdim=True).values).exp()
    return -(shifted / shifted.sum(1, keepdim=True)).log()[:, 0].mean()


def last_layer_alone(model: Any, batch: Any) -> torch.Tensor:
    return F.cross_entropy(model[2](model[:2](batch[0]).detach()), batch[1])


def reference() -> Step:
    """Another network of the same weights, which has a graph of its own."""
    other = copy.deepcopy(policy())

    def step(model: Any, batch: Any) -> torch.Tensor:
        return clipped(torch.exp(chosen(model, batch) - chosen(other, batch)), batch[2])

    return step


SICK: dict[str, Step] = {
    "twice": twice, "once": once, "quotient": quotient, "several": several,
    "with a value": with_value,
}  # fmt: skip
HEALTHY: dict[str, Step] = {
    "detached": detached, "under no_grad": under_no_grad, "ranked": ranked, "by hand": by_hand,
    "a reference": reference(),
}  # fmt: skip


def row(step: Step, kind: str = "mlp") -> CheckResult:
    return result_of("cancelled_ratio", policy(kind), DATA, step_fn=step, batch_size=20)


@pytest.mark.parametrize("name", SICK)
@pytest.mark.parametrize("kind", ["mlp", "convolution", "zeros"])
def test_a_ratio_with_itself_is_named(name: str, kind: str) -> None:
    found = row(SICK[name], kind)
    assert found.status == "fail", found.seen
    assert "detach" in found.remedy
    assert "line " in found.seen


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("kind", ["mlp", "convolution", "zeros"])
def test_what_looks_like_it_passes(name: str, kind: str) -> None:
    found = row(HEALTHY[name], kind)
    assert found.status in ("pass", "not_applicable"), found.seen


def test_two_passes_with_dropout_are_two_outputs() -> None:
    assert row(twice, "dropout").status == "pass"


@pytest.mark.parametrize("name", ["twice", "under no_grad"])
def test_loops_do_not_hide_it(name: str) -> None:
    report = watched(("cancelled_ratio",), policy(), DATA, (SICK | HEALTHY)[name])
    assert (report["cancelled_ratio"].status == "fail") is (name in SICK)


@pytest.mark.parametrize("sick", [True, False])
def test_loops_that_cannot_repeat_do_not_hide_it(sick: bool) -> None:
    model = policy()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        dbg.break_when("step >= 60")

        def loop() -> None:
            for _ in range(70):
                with dbg.step():
                    batch = (X, torch.randint(ACTIONS, (N,)), ADVANTAGE)
                    loss = (twice if sick else detached)(model, batch)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()

        dbg.run(loop)
        assert dbg.wait(60)
        found = dbg.check("cancelled_ratio")["cancelled_ratio"]
        assert (found.status == "fail") is sick, found.seen
        causes = [one.name for one in dbg.findings.causes]
        assert ("failed_check" in causes) is sick
        assert "unchanged_parameters" not in causes
        dbg.clear_breakpoints()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=10_000)


def test_a_gradient_of_0_is_not_called_missing() -> None:
    """The rule tells weights that no path reaches from those whose gradient cancels."""
    for step, words in ((twice, "exactly 0"), (last_layer_alone, "No gradient")):
        with nbd.Debugger(policy(), DATA, step_fn=step, batch_size=20, runs=None) as dbg:
            dbg.run(steps=60)
            (found,) = (one for one in dbg.findings if one.name == "unchanged_parameters")
            assert words in found.seen
