"""Plug-ins as third parties write them: only nbdebug.plugins is imported."""

from __future__ import annotations

from typing import Any

import torch

from nbdebug.plugins import (
    Check,
    CheckContext,
    Control,
    ControlSpec,
    Outcome,
    Probe,
    Remedy,
    Rule,
    Snapshot,
    Symptom,
    TrainingState,
    example,
)


class HighLoss(Rule):
    """The loss is above 1.

    It was never taught otherwise.
    """

    name = "high_loss"
    title = "The loss is high"
    source = "made up"
    needs = ("loss",)

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        value = float(snapshot.series["loss"].last[-1])
        remedy = Remedy("Take larger steps", {"lr": 0.1})
        return Symptom(value, 1.0, 0, f"Loss {value:.3g}.", (remedy,)) if value > 1.0 else None

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        return example({"loss": [2.0, 2.0]}), example({"loss": [2.0, 0.5]})


class WeightNorm(Probe):
    """L2 norm of all weights: `weight_norm`."""

    name = "weight_norm"

    def attach(self, session: TrainingState) -> None:
        self.parameters = list(session.model.parameters())

    def read(self, step: int) -> dict[str, torch.Tensor]:
        norms = torch._foreach_norm([p.detach() for p in self.parameters])
        return {"weight_norm": torch.stack(norms).norm()}


class Epsilon(Control):
    """Term that Adam adds to its denominator."""

    name = "epsilon"
    label = "Adam epsilon"
    order = 900

    def spec(self, session: TrainingState) -> ControlSpec:
        text = "Term added to the denominator of Adam. Takes effect at the next step."
        reason = "" if "eps" in self._group(session) else "the optimizer has no epsilon."
        return ControlSpec(
            self.name, self.label, "float", text, 1e-12, 1.0, 0.1, "log", unavailable=reason
        )

    def read(self, session: TrainingState) -> float:
        return float(self._group(session).get("eps", 0.0))

    def validate(self, session: TrainingState, value: Any) -> float:
        from nbdebug.errors import ControlValueError

        if not isinstance(value, float) or not 0.0 < value <= 1.0:
            raise ControlValueError(f"epsilon must be a number in (0, 1], got {value!r}.")
        return value

    def apply(self, session: TrainingState, value: float) -> str:
        for group in session.optimizer.param_groups:
            group["eps"] = value
        return ""

    def _group(self, session: TrainingState) -> dict[str, Any]:
        return session.optimizer.param_groups[0]


class FiniteWeights(Check):
    """All weights are finite.

    One NaN among the weights makes every output NaN.
    """

    name = "finite_weights"
    step = 3
    title = "Weights are finite"
    source = "made up"

    def examine(self, context: CheckContext) -> Outcome:
        broken = [name for name, p in context.model.named_parameters() if not p.isfinite().all()]
        if broken:
            return Outcome("fail", f"NaN or Inf in {broken[0]}.", "none", "Initialise it again.")
        return Outcome("pass", "All are finite.")
