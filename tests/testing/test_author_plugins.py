"""Good plug-ins of a third party pass, and each broken one is caught with the reason."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nbdebug import testing
from nbdebug.errors import PluginError
from nbdebug.plugins import (
    CheckContext,
    ControlSpec,
    Outcome,
    Probe,
    Remedy,
    Snapshot,
    Symptom,
    TrainingState,
    example,
)
from tests.plugins import Epsilon, FiniteWeights, HighLoss, WeightNorm


def broken_weights() -> nn.Module:
    model = testing.MLP.model()
    nn.init.constant_(model.get_parameter("0.bias"), torch.nan)
    return model


SICK = replace(testing.MLP, model=broken_weights)


def test_good_plugins_pass() -> None:
    testing.check_rule(HighLoss)
    testing.check_probe(WeightNorm)
    testing.check_control(Epsilon)
    testing.check_check(FiniteWeights, sick=SICK)


def variant(kind: type, documentation: str | None = None, **members: Any) -> type:
    """The class with other members."""
    return type(kind.__name__, (kind,), {"__doc__": documentation or kind.__doc__, **members})


class Undocumented(HighLoss):
    pass


Undocumented.__doc__ = None


class Counting(HighLoss):
    """Answers in another way each time."""

    calls = 0

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        self.calls += 1
        found = super().diagnose(snapshot)
        return found and replace(found, threshold=float(self.calls))


class Impatient(HighLoss):
    """Needs ten steps and does not look whether they are there."""

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        snapshot.series["loss"].last[9]
        return super().diagnose(snapshot)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        return example({"loss": [2.0] * 10}), example({"loss": [0.5] * 10})


def swapped() -> tuple[Snapshot, Snapshot]:
    sick, healthy = HighLoss.examples()
    return healthy, sick


def saying(**fields: Any) -> Any:
    """A `diagnose` whose symptom has other fields."""

    def diagnose(self: Any, snapshot: Snapshot) -> Symptom | None:
        found = HighLoss.diagnose(self, snapshot)
        return found and replace(found, **fields)

    return diagnose


RULES = {
    "has no docstring": Undocumented,
    "must end with": variant(HighLoss, "No end"),
    "lower-case identifier": variant(HighLoss, name="High loss"),
    "another rule with the name": variant(HighLoss, name="overfitting"),
    "source is missing": variant(HighLoss, source=""),
    "severity must be": variant(HighLoss, severity="grave"),
    "does not fire": variant(HighLoss, examples=staticmethod(swapped)),
    "fires on its second": variant(
        HighLoss, examples=staticmethod(lambda: (HighLoss.examples()[0],) * 2)
    ),
    "lacks series": variant(HighLoss, needs=("loss", "grad_norm")),
    "not pure": Counting,
    "raises IndexError": Impatient,
    "sentence": variant(HighLoss, diagnose=saying(seen="Loss")),
    "remedies is empty": variant(HighLoss, diagnose=saying(remedies=())),
    "outside the training": variant(HighLoss, diagnose=saying(since=99)),
    "evidence": variant(HighLoss, diagnose=saying(evidence=(1.0,) * 201)),
    "does not exist": variant(HighLoss, diagnose=saying(remedies=(Remedy("x", {"speed": 1.0}),))),
}


@pytest.mark.parametrize("reason", RULES)
def test_a_broken_rule_is_caught(reason: str) -> None:
    with pytest.raises(PluginError, match=reason):
        testing.check_rule(RULES[reason])


def test_a_remedy_may_set_a_control_of_its_authors_own() -> None:
    own = variant(HighLoss, diagnose=saying(remedies=(Remedy("x", {"speed": 1.0}),)))
    testing.check_rule(own, controls=("speed",))


class Hooking(WeightNorm):
    """Leaves a hook behind: `weight_norm`."""

    def attach(self, session: TrainingState) -> None:
        super().attach(session)
        self.model = session.model

    def begin(self, step: int) -> None:
        self.hook = self.model.register_forward_hook(lambda *_: None)


class HookingOnFailure(Hooking):
    """Removes its hook in `read` alone: `weight_norm`."""

    def read(self, step: int) -> dict[str, torch.Tensor]:
        self.hook.remove()
        return super().read(step)


class Writing(WeightNorm):
    """Moves the weights: `weight_norm`."""

    def before_update(self, step: int) -> None:
        for parameter in self.parameters:
            parameter.data.mul_(0.99)


class Drawing(WeightNorm):
    """Draws from one of the global generators: `weight_norm`."""

    draw = staticmethod(random.random)

    def read(self, step: int) -> dict[str, torch.Tensor]:
        self.draw()
        return super().read(step)


class Raising(WeightNorm):
    """Never gets to its end: `weight_norm`."""

    def read(self, step: int) -> dict[str, torch.Tensor]:
        raise ValueError("no luck")


class Silent(Probe):
    """Measures nothing: `silent`."""

    name = "silent"

    def attach(self, session: TrainingState) -> None:
        pass

    def read(self, step: int) -> dict[str, torch.Tensor]:
        return {}


PROBES = [
    (
        "does not implement attach, read",
        type("Half", (Probe,), {"__doc__": "Half.", "name": "half"}),
    ),
    ("lacks the series", variant(WeightNorm, "Some norm.")),
    ("another probe with the name", variant(WeightNorm, name="grad_norm")),
    ("cost must be", variant(WeightNorm, cost="free")),
    ("every must be", variant(WeightNorm, every=0)),
    ("leaves 1 hooks on the model", Hooking),
    ("after a step that failed", HookingOnFailure),
    ("other weights", Writing),
    ("random numbers", Drawing),
    ("random numbers", variant(Drawing, draw=staticmethod(np.random.rand))),
    ("random numbers", variant(Drawing, draw=staticmethod(lambda: torch.rand(1)))),
    ("ValueError: no luck", Raising),
    ("measured nothing", Silent),
]


@pytest.mark.parametrize(("reason", "kind"), PROBES, ids=lambda value: str(value)[:30])
def test_a_broken_probe_is_caught(reason: str, kind: type[Probe]) -> None:
    with pytest.raises(PluginError, match=reason):
        testing.check_probe(kind)


class OnlyOnce(Epsilon):
    """Undoes nothing: the smallest value ever asked for stays."""

    def apply(self, session: TrainingState, value: float) -> str:
        return super().apply(session, min(value, self.read(session)))


class Adding(Epsilon):
    """Does more with each call."""

    def apply(self, session: TrainingState, value: float) -> str:
        with torch.no_grad():
            next(session.model.parameters()).add_(1.0)
        return super().apply(session, value)


class Hasty(Epsilon):
    """Is in force as soon as it is looked at."""

    def validate(self, session: TrainingState, value: Any) -> float:
        valid = super().validate(session, value)
        self.apply(session, valid)
        return valid


class Careless(Epsilon):
    """Takes everything."""

    def validate(self, session: TrainingState, value: Any) -> float:
        return value


class Curt(Epsilon):
    """Does not say which control refuses."""

    def validate(self, session: TrainingState, value: Any) -> float:
        from nbdebug.errors import ControlValueError

        try:
            return super().validate(session, value)
        except ControlValueError:
            raise ControlValueError("no") from None


class Forgetful(Epsilon):
    """Applies nothing at all."""

    def apply(self, session: TrainingState, value: float) -> str:
        return ""


class Doubling(Epsilon):
    """Puts another value in force."""

    def apply(self, session: TrainingState, value: float) -> str:
        return super().apply(session, 2.0 * value)


class Hidden(Epsilon):
    """Changes what no checkpoint holds."""

    def apply(self, session: Any, value: float) -> str:
        loss = session.loss_fn
        session.loss_fn = lambda *given: 1.5 * loss(*given)
        return super().apply(session, value)


def described(**fields: Any) -> Any:
    """A `spec` with other fields."""

    def spec(self: Epsilon, session: TrainingState) -> ControlSpec:
        return replace(Epsilon.spec(self, session), **fields)

    return spec


CONTROLS = {
    "label is missing": variant(Epsilon, label=""),
    "another control with the name": variant(Epsilon, name="lr"),
    "another name or label": variant(Epsilon, spec=described(label="Eps")),
    "help of the spec": variant(Epsilon, spec=described(help="Eps")),
    "low end": variant(Epsilon, spec=described(low=1.0, high=0.1)),
    "log scale": variant(Epsilon, spec=described(low=0.0)),
    "widget offers": variant(Epsilon, spec=described(high=2.0)),
    "cannot be used": variant(Epsilon, spec=described(unavailable="it is Monday.")),
    "does not undo": OnlyOnce,
    "reads": Doubling,
    "Rewinding over": Hidden,
    "twice is another state": Adding,
    "changes the training": Hasty,
    "takes nan": Careless,
    "does not name it": Curt,
    "changes nothing": Forgetful,
}


@pytest.mark.parametrize("reason", CONTROLS)
def test_a_broken_control_is_caught(reason: str) -> None:
    with pytest.raises(PluginError, match=reason):
        testing.check_control(CONTROLS[reason])


def seeing(outcome: Outcome) -> Any:
    """An `examine` that always gives this outcome."""
    return lambda self, context: outcome


def adding_noise(self: FiniteWeights, context: CheckContext) -> Outcome:
    raise RuntimeError("no luck")


CHECKS = {
    "step must be": variant(FiniteWeights, step=6),
    "why the check matters": variant(FiniteWeights, "Finite weights."),
    "explain itself": variant(FiniteWeights, explains=("finite_weights",)),
    "another check with the name": variant(FiniteWeights, name="shapes"),
    "complains about a healthy": variant(FiniteWeights, examine=seeing(Outcome("fail", "Bad."))),
    "does not see the fault": variant(FiniteWeights, examine=seeing(Outcome("pass", "Fine."))),
    "is no status": variant(FiniteWeights, examine=seeing(Outcome("good", "Fine."))),  # type: ignore[arg-type]
    "what was seen": variant(FiniteWeights, examine=seeing(Outcome("pass", ""))),
    "raises on a healthy": variant(FiniteWeights, examine=adding_noise),
}


@pytest.mark.parametrize("reason", CHECKS)
def test_a_broken_check_is_caught(reason: str) -> None:
    with pytest.raises(PluginError, match=reason):
        testing.check_check(CHECKS[reason], sick=SICK)


def test_a_check_without_a_remedy_is_caught() -> None:
    def examine(self: FiniteWeights, context: CheckContext) -> Outcome:
        return replace(FiniteWeights.examine(self, context), remedy="")

    with pytest.raises(PluginError, match="what to do"):
        testing.check_check(variant(FiniteWeights, examine=examine), sick=SICK)


def test_what_a_check_cannot_put_back_is_caught() -> None:
    """The schedule is not restored, so stepping it stays."""

    def examine(self: FiniteWeights, context: CheckContext) -> Outcome:
        context.subject.schedule.step()
        return FiniteWeights.examine(self, context)

    problem = replace(testing.MLP, settings={"schedule": "cosine"})
    with pytest.raises(PluginError, match="put"):
        testing.check_check(variant(FiniteWeights, examine=examine), problem)
