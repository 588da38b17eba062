"""Checks that rules ask for where the loss will not fall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.checks.check_result import BAD_STATUSES, CheckResult
from nbdebug.core.results.findings import Finding, Remedy, Symptom
from nbdebug.rules.base import Rule

# Causes, not symptoms, that can be seen on a training that has begun.
WHY_NO_PROGRESS = (
    "loss_graph", "broadcast", "ignored_inputs", "sample_independence", "output_activation",
    "loss_optimum", "loss_terms", "shuffling", "sampler_coverage", "paired_transforms",
    "copied_targets", "labels", "label_range", "label_noise", "input_scale", "shared_layers",
    "made_in_forward", "symmetry", "causality", "shifted_targets", "related_targets",
    "paired_rows", "unit_axis", "logit_range", "custom_backward", "detached_gradients",
    "detached_state", "class_numbering", "index_arithmetic", "autocast_rounding",
    "wrapped_integers", "dropped_share", "optimizer_averages", "repeated_tokens",
    "unused_batch", "parted_rows", "other_batch", "attached_advantage", "entropy_sign",
    "peaked_softmax", "contrastive_targets", "cancelled_ratio", "data_in_place",
    "detached_samples",
)  # fmt: skip
# Checks that tell more of a model that was trained.
LATER = frozenset({"related_targets", "class_numbering"})
# Checks that cost nothing, of what comes while the model is trained: at twice the steps each time.
AGAIN = frozenset({"kept_weights"})
NO_CAUSE = (
    "No check found the cause: compare some inputs with their targets, and see if a simpler model "
    "can predict them"
)
SLOW = "Run the checks that train for some seconds: dbg.check(slow=True)"


def wanted_checks(
    found: Sequence[Finding], rules: Mapping[str, Rule], snapshot: Snapshot
) -> tuple[str, ...]:
    """Names of the checks that findings without a cause ask for, and that were not run."""
    asking = (rules[one.name] for one in found if not one.cause and one.name in rules)
    asked = [name for rule in asking for name in rule.asks]
    new = {
        one.name
        for one in snapshot.checks
        if one.status == "not_run"
        or (one.name in LATER and one.status not in BAD_STATUSES and not one.at)
    }
    status = snapshot.status
    again = [
        one.name
        for one in snapshot.checks
        if one.name in AGAIN and one.status not in BAD_STATUSES
        if status.epoch >= 1 and 2 * one.at < status.step
    ]
    new.update(again)
    asked += again
    return tuple(name for name in dict.fromkeys(asked) if name in new)


def look_into(snapshot: Snapshot) -> tuple[Remedy, ...]:
    """The checks that may tell why the loss does not fall, as far as they were not run."""
    known = {one.name: one.status for one in snapshot.checks}
    if any(known.get(name, "not_run") == "not_run" for name in WHY_NO_PROGRESS):
        return (Remedy("Run the checklist: dbg.check()"),)
    return (Remedy(SLOW if "not_run" in known.values() else NO_CAUSE),)


def symptom_of(results: Sequence[CheckResult], others: str) -> Symptom:
    """Symptom of bad results of checks, the first of which is told in full.

    Args:
        others: words before the titles of the rest.
    """
    first = results[0]
    seen = f"{first.title}: {first.seen}; expected: {first.expected}."
    if len(results) > 1:
        seen += f" {others}: {', '.join(one.title for one in results[1:])}."
    remedies = tuple(Remedy(one.remedy) for one in results[:3] if one.remedy)
    return Symptom(float(len(results)), 0.0, first.at, seen, remedies)
