"""The contract of a check, as a check that its author runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import (
    BAD_STATUSES,
    CHECKLIST_STEPS,
    CheckResult,
    Outcome,
    Verdict,
)
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.testing.contract import require, require_class, require_name, require_text
from nbdebug.testing.problem import MLP, AnyProblem
from nbdebug.testing.trainer import Trainer
from nbdebug.training.engine.state_guard import StateGuard

STEPS_BEFORE = 5
STEPS_AFTER = 5
Examine = Callable[[CheckContext], Outcome]


def check_check(
    kind: type[Check], healthy: AnyProblem = MLP, sick: AnyProblem | None = None
) -> None:
    """Check that a check keeps its contract.

    It is documented; it passes on a healthy problem and, where one is given, fails or warns on a
    sick one, with a remedy; all it moves can be put back, so that training goes on to the same
    weights as without it.

    Args:
        kind: the class.
        healthy: a problem that it must not complain about.
        sick: a problem with the fault that it looks for.

    Raises:
        PluginError: names the part that is not kept.
    """
    require_class(kind, Check)
    require_name(kind, "nbdebug.checks", Check)
    require_text(kind, "title", "source")
    require(
        kind.step in CHECKLIST_STEPS,
        f"step must be one of {tuple(CHECKLIST_STEPS)}, got {kind.step!r}.",
    )
    lines = len((kind.__doc__ or "").strip().splitlines())
    require(lines > 1, "The docstring must also say why the check matters.")
    require(kind.name not in kind.explains, "A check cannot explain itself.")
    found = _examined(kind, healthy)
    require(found.status not in BAD_STATUSES, f"It complains about a healthy problem: {found.seen}")
    if sick is not None:
        with Trainer.of(sick, probes=()) as trainer:
            found = trainer.examine(kind())
        require(
            found.status in BAD_STATUSES,
            f"It does not see the fault of the sick problem: {found.seen}",
        )
        require(found.remedy, "Its outcome says what is wrong, but not what to do (remedy).")


def _examined(kind: type[Check], problem: AnyProblem) -> CheckResult:
    """The result on a training that goes on afterwards as if nothing had been looked at."""
    with Trainer.of(problem, probes=()) as bare:
        bare.step(STEPS_BEFORE + STEPS_AFTER)
    with Trainer.of(problem, probes=()) as trainer:
        trainer.step(STEPS_BEFORE)
        before = StateGuard(trainer.session)
        check = kind()
        errors: list[Exception] = []
        vars(check)["examine"] = _remembering(check.examine, errors)
        found = trainer.examine(check)
        moved = before.moved()
        require(not moved, f"It moves {', '.join(moved)}, which cannot be put back.")
        trainer.step(STEPS_AFTER)
    require(found.status in get_args(Verdict), f"{found.status!r} is no status of an outcome.")
    require(not errors and not found.raised, f"It raises on a healthy problem: {found.seen}")
    require(found.seen, "Its outcome does not say what was seen.")
    require(
        bitwise_equal(bare.model.state_dict(), trainer.model.state_dict()),
        "Training after the check ends in other weights than without it.",
    )
    return found


def _remembering(examine: Examine, errors: list[Exception]) -> Examine:
    """The function, which adds an exception to `errors` before it raises it."""

    def wrapper(context: CheckContext) -> Outcome:
        try:
            return examine(context)
        except Exception as error:
            errors.append(error)
            raise

    return wrapper
