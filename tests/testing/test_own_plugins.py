"""The plug-ins that come with nbdebug pass the checks that authors run on theirs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from nbdebug import testing
from nbdebug.checks.base import Check
from nbdebug.controls.base import Control
from nbdebug.core.plugins import discover
from nbdebug.probes.base import Probe
from nbdebug.rules.base import Rule

# Samples are set in a table, so there is no slider to take values from.
SAMPLES = {"samples": [(3,), (0, 17)], "relabelled": [{3: 1}, {0: 2, 17: 0}]}


class TinyGru(nn.Module):
    """Reads the features of a sample one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(1, 8, batch_first=True), nn.Linear(8, 4)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.head(self.gru(X.unsqueeze(-1))[0][:, -1])


def problem_for(control: type[Control]) -> testing.Problem:
    """The small MLP, or a GRU or a model in eval mode where the control needs one."""
    models = {"clip_recurrent": TinyGru, "mode": lambda: testing.MLP.model().eval()}
    return replace(testing.MLP, model=models.get(control.name, testing.MLP.model))


def values_for(control: type[Control], problem: testing.Problem) -> list[object]:
    with testing.Trainer.of(problem, probes=()) as trainer:
        if control().spec(trainer.session).kind != "samples":
            return []
    return SAMPLES.get(control.name, SAMPLES["samples"])  # type: ignore[return-value]


@pytest.mark.parametrize("kind", discover("nbdebug.rules", Rule), ids=lambda kind: kind.name)
def test_rules(kind: type[Rule]) -> None:
    testing.check_rule(kind)


# Of copies of the weights, a loss of several terms, embeddings and ranks: the problem has none.
OF_OTHERS = {"average_rate", "data_term", "embedding_spread", "rank_spread", "target_age"}
PROBES = [kind for kind in discover("nbdebug.probes", Probe) if kind.name not in OF_OTHERS]


@pytest.mark.parametrize("kind", PROBES, ids=lambda kind: kind.name)
def test_probes(kind: type[Probe]) -> None:
    testing.check_probe(kind)


@pytest.mark.parametrize("kind", discover("nbdebug.controls", Control), ids=lambda k: k.name)
def test_controls(kind: type[Control]) -> None:
    problem = problem_for(kind)
    testing.check_control(kind, problem, values_for(kind, problem))


@pytest.mark.parametrize("kind", discover("nbdebug.checks", Check), ids=lambda kind: kind.name)
def test_checks(kind: type[Check]) -> None:
    testing.check_check(kind)
